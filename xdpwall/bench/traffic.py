# SPDX-License-Identifier: Apache-2.0
"""What the bench sends: one frame, whose source ``bpf/bench/gun.c`` changes from packet to packet."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from xdpwall.dataplane.interface import Flow
from xdpwall.lab.network import Link
from xdpwall.model import Prefix

Family = Literal[4, 6]

_UDP, _TCP = 17, 6
PORT, _PEER_PORT = 443, 40_000
_SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a\x01\x02\x03\x04\0\0\0\0\x01\x03\x03\x07"
"""Segment size, SACK, time stamp, window scale."""
_SHORTEST = 60
"""Bytes of Ethernet's shortest frame, without its check sum: small packets are what hurts."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets of one kind.

    Args:
        family: IP version.
        sources: length of the list of sources; 0: every packet has a random one.
        listed: share of packets whose source is of the list, the others have a random one.
        tcp: TCP with ACK; UDP otherwise.
        syn: with ``tcp``: requests for a connection, with the options that Linux sends.
    """

    family: Family
    sources: int = 0
    listed: float = 1.0
    tcp: bool = False
    syn: bool = False

    @property
    def listed_of_65536(self) -> int:
        """``plan.listed`` of the C."""
        return round(self.listed * 65_536) if self.sources else 0


def sources(family: Family, count: int) -> list[Prefix]:
    """The list of sources, as ``list_address4`` and ``list_address6`` of ``bpf/bench/gun.c`` compute it."""
    if family == 4:
        return [
            Prefix((0x20000000 | (n * 0x9E3779B1 & 0x1FFFFFFF)).to_bytes(4, "big"), 32) for n in range(count)
        ]
    return [
        Prefix((0x2A00 << 48 | (n * 0x9E3779B97F4A7C15 & 0x7FFFFFFFFFFF)).to_bytes(8, "big") + bytes(8), 64)
        for n in range(count)
    ]


def flows(link: Link, family: Family, count: int) -> list[Flow]:
    """The connections that :class:`Frame` with TCP would belong to, of the first sources of the list."""
    local = socket.inet_pton(socket.AF_INET6, link.host.v6) if family == 6 else socket.inet_aton(link.host.v4)
    low = socket.inet_pton(socket.AF_INET6, link.net.v6)[8:] if family == 6 else b""
    return [
        Flow(_TCP, local, PORT, source.packed[: 8 if low else 4] + low, _PEER_PORT)
        for source in sources(family, count)
    ]


@dataclass(frozen=True)
class Frame:
    """The frame that a run starts from, addressed to the receiving end of a link.

    Args:
        link: from ``link.net`` to ``link.host``.
        traffic: which kind.
    """

    link: Link
    traffic: Traffic

    @cached_property
    def data(self) -> bytes:
        """The whole frame; its source is the sending end's address."""
        ethernet = _mac(self.link.host.mac) + _mac(self.link.net.mac)
        if self.traffic.family == 6:
            return (ethernet + b"\x86\xdd" + self._ipv6() + self._transport).ljust(_SHORTEST, b"\0")
        return (ethernet + b"\x08\x00" + self._ipv4() + self._transport).ljust(_SHORTEST, b"\0")

    @property
    def sum(self) -> int:
        """``plan.sum`` of the C: the IPv4 header's words but check sum and source, as they lie in memory."""
        if self.traffic.family == 6:
            return 0
        header = bytearray(self._ipv4())
        header[10:16] = bytes(6)
        total: int = sum(struct.unpack("<10H", header))
        return (total & 0xFFFF) + (total >> 16)

    @property
    def _transport(self) -> bytes:
        if self.traffic.syn:
            words = len(_SYN_OPTIONS) // 4 + 5
            return (
                struct.pack(">HHIIHHHH", _PEER_PORT, PORT, 1, 0, words << 12 | 0x02, 64_240, 0, 0)
                + _SYN_OPTIONS
            )
        if self.traffic.tcp:
            return struct.pack(">HHIIHHHH", _PEER_PORT, PORT, 1, 1, 5 << 12 | 0x10, 64_240, 0, 0)
        # No check sum: IPv4 allows it, and for IPv6 nobody on the way looks.
        return struct.pack(">HHHH", _PEER_PORT, PORT, 8, 0)

    def _ipv4(self) -> bytes:
        length = 20 + len(self._transport)
        protocol = _TCP if self.traffic.tcp else _UDP
        addresses = [socket.inet_aton(side.v4) for side in (self.link.net, self.link.host)]
        return struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 57, protocol, 0, *addresses)

    def _ipv6(self) -> bytes:
        protocol = _TCP if self.traffic.tcp else _UDP
        addresses = [socket.inet_pton(socket.AF_INET6, side.v6) for side in (self.link.net, self.link.host)]
        return struct.pack(">IHBB16s16s", 6 << 28, len(self._transport), protocol, 57, *addresses)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
