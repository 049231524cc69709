# SPDX-License-Identifier: Apache-2.0
"""ICMP, fragments of packets that never were, and protocols without ports."""

from __future__ import annotations

import random
import struct

from xdpwall.lab.shapes.datagram import ICMP, ICMP6, UDP, Datagram, Shape, Vary

GRE = 47

_SUM_AT = 2
_ID_AND_NUMBER = (Vary(4), Vary(6))


def ping(version: int = 4) -> Shape:
    """Echo requests of several sizes, and echo replies that nobody asked for."""
    request, reply, protocol = (8, 0, ICMP) if version == 4 else (128, 129, ICMP6)
    data = bytes(number & 0xFF for number in range(1_024))
    return tuple(
        Datagram(
            protocol,
            struct.pack(">BBHHH", type_, 0, 0, 0, 0) + data[:length],
            "icmp",
            _SUM_AT,
            _ID_AND_NUMBER,
            weight,
        )
        for type_, length, weight in ((request, 56, 3.0), (request, 1_024, 1.0), (reply, 56, 1.0))
    )


def unreachable() -> Shape:
    """Errors (port unreachable) for packets that this host never sent."""
    # The packet that the error is about: ours, to somebody's port 53. Its addresses are not looked at by a flood.
    inner = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 60, 7, 0, 60, 17, 0, bytes(4), bytes(4))
    inner += struct.pack(">HHHH", 0, 53, 40, 0)
    return (Datagram(ICMP, struct.pack(">BBHI", 3, 3, 0, 0) + inner, "icmp", _SUM_AT, (Vary(8 + 20),)),)


def fragments() -> Shape:
    """Pieces out of the middle and the end of UDP packets whose beginning never comes."""
    chosen = random.Random(3)
    middle = Vary(6, low=0x2000 | 64, span=4_096)
    end = Vary(6, low=64, span=4_096)
    return tuple(
        Datagram(UDP, chosen.randbytes(length), "fragment", scrap=scrap)
        for length, scrap in ((1_448, middle), (512, middle), (24, middle), (777, end))
    )


def gre() -> Shape:
    """GRE with IPv4 inside, as the Mirai family sends it."""
    inner = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 540, 0, 0, 64, 17, 0, bytes(4), bytes(4))
    inner += struct.pack(">HHHH", 0, 0, 520, 0) + random.Random(4).randbytes(512)
    head = struct.pack(">HH", 0, 0x0800)
    return (
        Datagram(GRE, head + inner, "other", vary=(Vary(4 + 12), Vary(4 + 14), Vary(4 + 16), Vary(4 + 18))),
    )
