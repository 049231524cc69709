# SPDX-License-Identifier: Apache-2.0
"""Pings, through the kernel's own ping sockets (icmp(7)), so that only answers to our own come back."""

from __future__ import annotations

import asyncio
import socket
import struct

_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_DATA = bytes(range(56))


class Pinger:
    """Pings to one address.

    ``net.ipv4.ping_group_range`` must let this process's group have such sockets; the lab sets it.

    Args:
        address: IPv4 or IPv6.
    """

    def __init__(self, address: str) -> None:
        six = ":" in address
        self._family = socket.AF_INET6 if six else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        self._socket = socket.socket(self._family, socket.SOCK_DGRAM, protocol)
        self._socket.setblocking(False)
        self._socket.connect((address, 0))
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    async def ping(self, _number: int) -> None:
        """One echo request; returns with its reply.

        Raises:
            OSError: it could not be sent.
        """
        self._number = (self._number + 1) & 0xFFFF
        number = self._number
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            # The kernel fills in the check sum, and the id by which it knows this socket.
            self._socket.send(struct.pack(">BBHHH", _REQUEST[self._family], 0, 0, 0, number) + _DATA)
            await waiting
        finally:
            del self._waiting[number]

    def _read(self) -> None:
        """Wake whoever waits for the reply that has come."""
        try:
            data = self._socket.recv(2_048)
        except OSError:
            return  # an ICMP error for one of ours; which one is not known: it will time out
        if len(data) < 8 or data[0] != _REPLY[self._family] or data[8:] != _DATA:
            return
        waiting = self._waiting.get(int.from_bytes(data[6:8], "big"))
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
