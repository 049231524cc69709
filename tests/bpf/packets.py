# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes, built by hand: a test must be able to set every field, the impossible ones most of all.

Checksums are left at zero; the wall does not look at them. ``None`` for a length means "what is right".
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

IPV4, IPV6 = 0x0800, 0x86DD
VLAN, QINQ, QINQ_OLD = 0x8100, 0x88A8, 0x9100
HOP_BY_HOP, ICMP, TCP, UDP, ROUTING, FRAGMENT, ESP, AH = 0, 1, 6, 17, 43, 44, 50, 51
ICMPV6, NO_NEXT, DEST_OPTIONS = 58, 59, 60
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

SOURCE4, TARGET4 = "192.0.2.7", "198.51.100.1"
SOURCE6, TARGET6 = "2001:db8:7::7", "2001:db8:1::1"
_OUR_MAC, _THEIR_MAC = bytes.fromhex("027877000001"), bytes.fromhex("027877000002")


def packed(address: str) -> bytes:
    """An address in network order."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ethernet(payload: bytes, kind: int, *, vlans: Sequence[int] = (), target: bytes = _OUR_MAC) -> bytes:
    """A frame. ``vlans``: the types of its tags, outermost first. ``kind`` may be an 802.3 length."""
    tags = b"".join(tpid.to_bytes(2, "big") + bytes([0x20, 100 + n]) for n, tpid in enumerate(vlans))
    return target + _THEIR_MAC + tags + kind.to_bytes(2, "big") + payload


def ipv4(
    payload: bytes = b"",
    protocol: int = UDP,
    *,
    source: str = SOURCE4,
    target: str = TARGET4,
    options: bytes = b"",
    ttl: int = 64,
    version: int = 4,
    words: int | None = None,
    total: int | None = None,
    offset: int = 0,
    flags: int = 0,
) -> bytes:
    """An IPv4 packet.

    Args:
        payload: what follows the header.
        protocol: its protocol.
        source: address.
        target: address.
        options: a multiple of 4 bytes, 40 at most.
        ttl: time to live.
        version: 4, or a fault.
        words: the header length field, in units of 4 bytes.
        total: the total length field, bytes.
        offset: of the fragment, in bytes; a multiple of 8.
        flags: 1 for more fragments, 2 for don't fragment.
    """
    header = 20 + len(options)
    assert len(options) % 4 == 0
    assert offset % 8 == 0
    return (
        bytes([version << 4 | (header // 4 if words is None else words), 0])
        + (header + len(payload) if total is None else total).to_bytes(2, "big")
        + b"\x12\x34"
        + (flags << 13 | offset // 8).to_bytes(2, "big")
        + bytes([ttl, protocol, 0, 0])
        + packed(source)
        + packed(target)
        + options
        + payload
    )


@dataclass(frozen=True)
class Extension:
    """An IPv6 extension header; ``build`` makes it from the next header's number."""

    kind: int
    build: Callable[[int], bytes]


def options_header(kind: int, *, units: int = 0, length: int | None = None) -> Extension:
    """Hop-by-hop or destination options, filled with one PadN; ``length`` overrides the field."""
    padding = 8 + units * 8 - 4

    def build(following: int) -> bytes:
        fields = bytes([following, units if length is None else length, 1, padding % 256])
        return fields + bytes(padding)

    return Extension(kind, build)


def routing(kind: int, *, units: int = 0) -> Extension:
    """A routing header of a type."""
    return Extension(ROUTING, lambda following: bytes([following, units, kind, 0]) + bytes(4 + units * 8))


def authentication(*, length: int = 4) -> Extension:
    """AH; ``length`` is its field: units of 4 bytes less 2 (RFC 4302). 4 is an ICV of 12 bytes."""
    return Extension(AH, lambda following: bytes([following, length, 0, 0]) + bytes(4 + length * 4))


def fragment(offset: int = 0, *, more: bool = False, reserved: int = 0) -> Extension:
    """A fragment header; ``offset`` in bytes, a multiple of 8."""
    assert offset % 8 == 0
    field = (offset | reserved << 1 | more).to_bytes(2, "big")
    return Extension(FRAGMENT, lambda following: bytes([following, 0]) + field + b"\0\0\x12\x34")


def ipv6(
    payload: bytes = b"",
    protocol: int = UDP,
    *,
    extensions: Sequence[Extension] = (),
    source: str = SOURCE6,
    target: str = TARGET6,
    hop_limit: int = 64,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; ``protocol`` is that of the payload, behind the extension headers."""
    body, following = payload, protocol
    for extension in reversed(extensions):
        body, following = extension.build(following) + body, extension.kind
    return (
        bytes([version << 4, 0, 0, 0])
        + (len(body) if length is None else length).to_bytes(2, "big")
        + bytes([following, hop_limit])
        + packed(source)
        + packed(target)
        + body
    )


def tcp(
    flags: int = ACK,
    data: bytes = b"",
    *,
    sport: int = 40000,
    dport: int = 443,
    options: bytes = b"",
    words: int | None = None,
    sequence: int = 0,
    acknowledgement: int = 0,
) -> bytes:
    """A TCP segment; ``words`` is the data offset field."""
    length = (20 + len(options)) // 4 if words is None else words
    return (
        sport.to_bytes(2, "big")
        + dport.to_bytes(2, "big")
        + sequence.to_bytes(4, "big")
        + acknowledgement.to_bytes(4, "big")
        + bytes([length << 4, flags, 0xFF, 0xFF, 0, 0, 0, 0])
        + options
        + data
    )


def udp(data: bytes = b"", *, sport: int = 40000, dport: int = 53, length: int | None = None) -> bytes:
    """A UDP datagram."""
    size = 8 + len(data) if length is None else length
    return sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + size.to_bytes(2, "big") + b"\0\0" + data


def icmp(kind: int = 8, data: bytes = b"ping", *, code: int = 0, ident: int = 0) -> bytes:
    """An ICMP or ICMPv6 message; ``ident`` is the identifier of an echo."""
    return bytes([kind, code, 0, 0]) + ident.to_bytes(2, "big") + bytes(2) + data


def frame4(
    payload: bytes = udp(b"hello"),
    protocol: int = UDP,
    *,
    vlans: Sequence[int] = (),
    source: str = SOURCE4,
    target: str = TARGET4,
    options: bytes = b"",
    offset: int = 0,
    flags: int = 0,
) -> bytes:
    """An IPv4 packet in a frame; see :func:`ipv4`, which has the rarer fields."""
    packet = ipv4(
        payload, protocol, source=source, target=target, options=options, offset=offset, flags=flags
    )
    return ethernet(packet, IPV4, vlans=vlans)


def frame6(
    payload: bytes = udp(b"hello"),
    protocol: int = UDP,
    *,
    vlans: Sequence[int] = (),
    extensions: Sequence[Extension] = (),
    source: str = SOURCE6,
    target: str = TARGET6,
    hop_limit: int = 64,
) -> bytes:
    """An IPv6 packet in a frame; see :func:`ipv6`."""
    packet = ipv6(payload, protocol, extensions=extensions, source=source, target=target, hop_limit=hop_limit)
    return ethernet(packet, IPV6, vlans=vlans)


def frame_from(source: str, payload: bytes = udp(b"hello"), protocol: int = UDP) -> bytes:
    """A packet of either family from this source."""
    return (frame6 if ":" in source else frame4)(payload, protocol, source=source)
