# SPDX-License-Identifier: Apache-2.0
"""UDP as floods and reflectors send it. What reflectors answer is what the real protocols' servers answer."""

from __future__ import annotations

import random
import struct

from xdpwall.lab.shapes import answers
from xdpwall.lab.shapes.datagram import UDP, Datagram, Shape, Vary

_SUM_AT = 6
_SOURCE_PORT = Vary(0, low=1024, span=64_512)
_ANY_PORT = Vary(2, low=1024, span=64_512)
_ID = Vary(8)
"""The first two bytes of the payload: an id in many protocols."""


def flood(port: int | None, lengths: tuple[int, ...] = (32, 128, 512, 1_024)) -> Shape:
    """Random bytes for one port, or for random ones (None)."""
    chosen = random.Random(port or 0)
    vary = (_SOURCE_PORT, _ID, Vary(10), Vary(12)) + (() if port else (_ANY_PORT,))
    return tuple(_datagram(chosen.randbytes(length), port=port or 0, vary=vary) for length in lengths)


def dns() -> Shape:
    """Answers to ANY questions that open resolvers were asked in our name, of 500 to 1,400 bytes."""
    vary = (_ANY_PORT, _ID)
    return tuple(_datagram(answers.dns(records), source=53, vary=vary) for records in (2, 3, 4))


def dns_fragmented() -> Shape:
    """Signed answers of some 4,000 bytes, as resolvers give them to who asks for so much: in three fragments."""
    vary = (_ANY_PORT, _ID)
    return tuple(_datagram(answers.dns(records), source=53, vary=vary) for records in (12, 13))


def ntp() -> Shape:
    """The list of last clients (monlist), 440 bytes a packet."""
    return tuple(_datagram(answers.ntp_monlist(number), source=123, vary=(_ANY_PORT,)) for number in range(4))


def memcached() -> Shape:
    """Pieces of a large value, 1,400 bytes a packet."""
    return tuple(
        _datagram(answers.memcached(number), source=11_211, vary=(_ANY_PORT, _ID)) for number in range(4)
    )


def cldap() -> Shape:
    """The root of a directory, as Active Directory servers tell it: some 3,000 bytes, in fragments."""
    return (
        _datagram(answers.cldap(1_400), source=389, vary=(_ANY_PORT,)),
        _datagram(answers.cldap(3_000), source=389, vary=(_ANY_PORT,), weight=3.0),
    )


def ssdp() -> Shape:
    """What home devices say of themselves, one packet for each service they have."""
    return tuple(
        _datagram(answers.ssdp(number), source=1900, vary=(_ANY_PORT,)) for number in range(len(answers.SSDP))
    )


def _datagram(
    payload: bytes, *, vary: tuple[Vary, ...], port: int = 0, source: int = 0, weight: float = 1.0
) -> Datagram:
    header = struct.pack(">HHHH", source, port, 8 + len(payload), 0)
    return Datagram(UDP, header + payload, "udp", _SUM_AT, vary, weight)
