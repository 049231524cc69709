# SPDX-License-Identifier: Apache-2.0
"""DNS in the lab: a server in the clients' network, and the questions that the protected host asks it."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import cast

from dpkt import dns

PORT = 53
_LARGE = 3_000
_PIECE = 240
_EDNS = dns.DNS.RR(name="", type=41, cls=4096, rlen=0, rdata=b"")
ADDRESS = bytes([192, 0, 2, 80])
"""What every name stands for."""


class Resolver(asyncio.DatagramProtocol):
    """Answers every question: A with one address, TXT with 3,000 bytes, which the network carries in fragments."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Answer; what is no question is left alone."""
        try:
            question = dns.DNS(data)
        except (dns.dpkt.Error, ValueError, IndexError):
            return
        if question.qr == dns.DNS_Q and question.qd:
            self._transport.sendto(answer(question), addr)  # type: ignore[arg-type]


def answer(question: dns.DNS) -> bytes:
    """The whole answer to a question."""
    asked = question.qd[0]
    if asked.type == dns.DNS_TXT:
        pieces = [b"x" * _PIECE] * (_LARGE // (_PIECE + 1) + 1)
        record = dns.DNS.RR(name=asked.name, type=dns.DNS_TXT, ttl=60, text=pieces)
    else:
        record = dns.DNS.RR(name=asked.name, type=dns.DNS_A, ttl=60, ip=ADDRESS)
    return bytes(dns.DNS(id=question.id, op=0x8180, qd=[asked], an=[record], ar=[_EDNS]))


async def serve(addresses: list[str]) -> None:
    """Listen on these addresses as long as the loop runs."""
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_datagram_endpoint(Resolver, local_addr=(address, PORT))


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, name: str, number: int, kind: int) -> None:
        self._name = name
        self._number = number
        self._kind = kind
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take the answer, if it is one to the question that was asked; a resolver ignores all else."""
        del addr
        try:
            found = dns.DNS(data)
        except (dns.dpkt.Error, ValueError, IndexError):
            return
        asked = found.qd[0] if found.qd else None
        if found.id != self._number or asked is None or asked.name != self._name or self.done.done():
            return
        if not self._complete(found):
            self.done.set_exception(ValueError("the answer is not the one that the server sent"))
        else:
            self.done.set_result(None)

    def _complete(self, found: dns.DNS) -> bool:
        if self._kind == dns.DNS_A:
            return [record.ip for record in found.an] == [ADDRESS]
        return len(found.an) == 1 and sum(map(len, found.an[0].text)) >= _LARGE

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, or an ICMP error came that was accepted."""
        if not self.done.done():
            self.done.set_exception(exc)


async def ask(address: str, *, large: bool) -> None:
    """One question from a socket of its own, on a random port; returns with the right answer.

    Raises:
        OSError: an error came back.
        ValueError: the answer is damaged.
    """
    number = random.getrandbits(16)
    name = f"{number:04x}-{random.getrandbits(32):08x}.example"
    kind = dns.DNS_TXT if large else dns.DNS_A
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(
        lambda: _Asking(name, number, kind), remote_addr=(address, PORT), family=family
    )
    try:
        question = dns.DNS(id=number, op=0x0100, qd=[dns.DNS.Q(name=name, type=kind)], ar=[_EDNS])
        transport.sendto(bytes(question))
        await asking.done
    finally:
        transport.close()
