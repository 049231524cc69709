# SPDX-License-Identifier: Apache-2.0
"""TCP segments as attack tools and reflectors send them."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from xdpwall.lab.shapes.datagram import TCP, Datagram, Kind, Shape, Vary

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_SUM_AT = 16
_SOURCE_PORT = Vary(0, low=1024, span=64_512)
_SEQUENCE = (Vary(4), Vary(6))
_ACKNOWLEDGED = (Vary(8), Vary(10))
_WINDOW = Vary(14, low=1024, span=63_000)

_MSS = bytes.fromhex("020405b4")
_LINUX = _MSS + bytes.fromhex("0402080a0000000000000000") + bytes.fromhex("01030307")
_WINDOWS = _MSS + bytes.fromhex("010303080101") + bytes.fromhex("0402")
_SYN_OPTIONS = ((b"", 3.0), (_MSS, 2.0), (_LINUX, 1.0), (_WINDOWS, 1.0))
"""Most tools send no options or the MSS alone; some copy what a real stack sends. With how often."""


def syn(port: int) -> Shape:
    """Connection requests for one port; nothing but port and flags is alike in them."""
    shape = []
    for options, weight in _SYN_OPTIONS:
        vary: tuple[Vary, ...] = (_SOURCE_PORT, *_SEQUENCE, _WINDOW)
        if options is _LINUX:
            # The low half of the timestamp: after the MSS (4), SACK permitted (2), kind and length (2).
            vary += (Vary(20 + 4 + 2 + 2 + 2),)
        shape.append(_segment(port=port, flags=SYN, options=options, vary=vary, weight=weight))
    return tuple(shape)


def syn_ack(ports: Sequence[int] = (80, 443, 22, 25, 8080)) -> Shape:
    """Answers of servers that were sent requests in our name: from service ports to wherever the request came from."""
    return tuple(
        _segment(
            source=port,
            flags=SYN | ACK,
            options=options,
            vary=(Vary(2, low=1024, span=64_512), *_SEQUENCE, *_ACKNOWLEDGED, _WINDOW),
        )
        for port in ports
        for options in (_MSS, _WINDOWS)
    )


def ack(port: int) -> Shape:
    """Acknowledgements of connections that there are not; some carry data."""
    data = random.Random(1).randbytes(512)
    vary = (_SOURCE_PORT, *_SEQUENCE, *_ACKNOWLEDGED, _WINDOW)
    return (
        _segment(port=port, flags=ACK, vary=vary, weight=3.0),
        _segment(port=port, flags=ACK | PSH, payload=data[:64], vary=vary),
        _segment(port=port, flags=ACK | PSH, payload=data, vary=vary),
    )


def rst(port: int) -> Shape:
    """Resets, of both kinds that stacks send."""
    return (
        _segment(port=port, flags=RST, vary=(_SOURCE_PORT, *_SEQUENCE)),
        _segment(port=port, flags=RST | ACK, vary=(_SOURCE_PORT, *_SEQUENCE, *_ACKNOWLEDGED)),
    )


def fin(port: int) -> Shape:
    """Ends of connections that there are not."""
    return (_segment(port=port, flags=FIN | ACK, vary=(_SOURCE_PORT, *_SEQUENCE, *_ACKNOWLEDGED, _WINDOW)),)


def _segment(
    *,
    flags: int,
    vary: tuple[Vary, ...],
    port: int = 0,
    source: int = 0,
    options: bytes = b"",
    payload: bytes = b"",
    weight: float = 1.0,
) -> Datagram:
    offset_flags = (20 + len(options)) // 4 << 12 | flags
    header = struct.pack(">HHIIHHHH", source, port, 0, 0, offset_flags, 0, 0, 0)
    kind: Kind = "syn" if flags == SYN else "tcp"
    return Datagram(TCP, header + options + payload, kind, _SUM_AT, vary, weight, dont_fragment=True)
