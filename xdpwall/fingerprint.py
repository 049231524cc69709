# SPDX-License-Identifier: Apache-2.0
"""What a packet looks like, as 64 bytes, and patterns over them. The same as in ``bpf/fingerprints.h``.

A leaf without numpy: the kernel's rule table, the search for rules and the command line all speak of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.lanes import Lane
from xdpwall.sample import FIRST_FRAGMENT, LATER_FRAGMENT, Sample

SIZE = 64
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_MORE_FRAGMENTS = 0x2000

PROTOCOL, VERSION, SERVICE, TTL = 0, 1, 2, 3
"""Offsets of the features, one byte each."""
ID, FRAGMENT, SOURCE_PORT, TARGET_PORT = 4, 6, 8, 10
"""Two bytes each, in network order. Of ICMP its type and code stand where the source port does."""
FLAGS, DATA_OFFSET, WINDOW = 12, 13, 14
SEQUENCE, ACKNOWLEDGEMENT = 16, 20
LENGTH, IP_HEADER, URGENT = 24, 26, 28
TAIL = 32
"""What follows the transport header; of TCP its options."""
DATA = 56
"""Of TCP: the first eight bytes of its data. Of all others the tail goes on here."""
PORTS_ANY = (0, 0xFFFF)


def features(sample: Sample) -> bytes:
    """The 64 bytes of a packet, as the kernel reads them; 0 for what the sample lacks (:attr:`Sample.is_cut`)."""
    out = bytearray(SIZE)
    l3, l4 = sample.l3, sample.l4
    head = sample.head.ljust(l4 + 2 * SIZE, b"\0")
    out[PROTOCOL], out[VERSION], out[TTL] = sample.protocol, sample.version, sample.hop_limit
    length = sample.ip_length
    out[LENGTH : LENGTH + 2] = (length & 0xFFFF).to_bytes(2, "big")
    if sample.version == 4:
        out[SERVICE], out[IP_HEADER] = head[l3 + 1], head[l3]
        out[ID : FRAGMENT + 2] = head[l3 + 4 : l3 + 8]
    else:
        out[SERVICE], out[IP_HEADER] = int.from_bytes(head[l3 : l3 + 2], "big") >> 4 & 0xFF, 0x60
        if sample.fragment == FIRST_FRAGMENT:
            out[FRAGMENT : FRAGMENT + 2] = _MORE_FRAGMENTS.to_bytes(2, "big")
        elif sample.fragment == LATER_FRAGMENT:
            out[FRAGMENT : FRAGMENT + 2] = head[l4 - 6 : l4 - 4]
    _transport(out, sample, head, length - (l4 - l3))
    return bytes(out)


def _transport(out: bytearray, sample: Sample, head: bytes, left: int) -> None:
    at, header = sample.l4, 0
    if sample.fragment == LATER_FRAGMENT:
        pass
    elif sample.protocol == _TCP:
        out[SOURCE_PORT : TARGET_PORT + 2] = head[at : at + 4]
        out[FLAGS], out[DATA_OFFSET] = head[at + 13], head[at + 12]
        out[WINDOW : WINDOW + 2] = head[at + 14 : at + 16]
        out[SEQUENCE : ACKNOWLEDGEMENT + 4] = head[at + 4 : at + 12]
        out[URGENT : URGENT + 2] = head[at + 18 : at + 20]
        header = (head[at + 12] >> 4) * 4
        if 20 <= header <= left:
            _copy(out, TAIL, head, at + 20, min(header - 20, DATA - TAIL))
            _copy(out, DATA, head, at + header, min(left - header, SIZE - DATA))
        return
    elif sample.protocol == _UDP:
        out[SOURCE_PORT : TARGET_PORT + 2] = head[at : at + 4]
        header = 8
    elif sample.protocol in (_ICMP, _ICMPV6):
        out[SOURCE_PORT : SOURCE_PORT + 2] = head[at : at + 2]
        out[SEQUENCE : SEQUENCE + 4] = head[at + 4 : at + 8]
        header = 8
    _copy(out, TAIL, head, at + header, min(left - header, SIZE - TAIL))


def _copy(out: bytearray, to: int, head: bytes, at: int, count: int) -> None:
    piece = head[at : at + max(0, count)]
    out[to : to + len(piece)] = piece


@dataclass(frozen=True, slots=True)
class Pattern:
    """A mask and a value over the features, and ranges.

    Args:
        lane: only packets of this lane are asked.
        mask: 64 bytes; only these bits are compared.
        value: 64 bytes, within the mask.
        ttl, length, source_port: lowest and highest value that matches, or None for any.
    """

    lane: Lane
    mask: bytes
    value: bytes
    ttl: tuple[int, int] | None = None
    length: tuple[int, int] | None = None
    source_port: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.mask) != SIZE or len(self.value) != SIZE:
            raise ValueError(f"a pattern has {SIZE} bytes of mask and of value")
        if any(value & ~mask & 0xFF for mask, value in zip(self.mask, self.value, strict=True)):
            raise ValueError("a pattern's value has bits outside of its mask")

    def matches(self, packet: bytes) -> bool:
        """Whether the features of a packet of this lane match."""
        mask, value = int.from_bytes(self.mask, "big"), int.from_bytes(self.value, "big")
        if int.from_bytes(packet, "big") & mask != value:
            return False
        for limits, number in (
            (self.ttl, packet[TTL]),
            (self.length, int.from_bytes(packet[LENGTH : LENGTH + 2], "big")),
            (self.source_port, int.from_bytes(packet[SOURCE_PORT : SOURCE_PORT + 2], "big")),
        ):
            if limits is not None and not limits[0] <= number <= limits[1]:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern in force, and what was known when it was made.

    Args:
        id: for people; never used twice within one wall's life.
        pattern: what it matches.
        observe: it only counts.
        created_ms: Unix milliseconds.
        cover: the share of the attack's samples that it matched, 0 to 1.
        collateral: the share of known-good samples that it matched.
        support: how many of the attack's samples it was made from.
        good: how many known-good samples it was held against.
    """

    id: int
    pattern: Pattern
    observe: bool = False
    created_ms: int = 0
    cover: float = 0.0
    collateral: float = 0.0
    support: int = 0
    good: int = 0
