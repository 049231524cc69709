# SPDX-License-Identifier: Apache-2.0
"""Gives an IP packet another destination and mends the check sums that cover it. Pure functions over bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xdpwall.lab import sums
from xdpwall.lab.botnet import Target

UDP, SYN, TCP, OTHER = 0, 1, 2, 3
"""What the tallies of ``bpf/lab/frames.c`` tell apart."""

_IPV4 = 0x0800
_TCP, _UDP, _ICMP6 = 6, 17, 58
_HOP, _ROUTING, _FRAGMENT, _AH, _OPTIONS = 0, 43, 44, 51, 60
# Where the check sum lies in each header.
_CHECKSUM_AT = {_TCP: 16, _UDP: 6, _ICMP6: 2}


class Unusable(Exception):  # noqa: N818 - it is a verdict on one packet, not an error of the program
    """This packet cannot be sent; the text says why."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A packet with its new destination.

    Args:
        data: from the EtherType on.
        kind: ``UDP``, ``SYN``, ``TCP`` or ``OTHER``.
        source, target: the addresses it had, 4 or 16 bytes.
        filled: whether zeros were added because the capture had cut it short.
        local: protocol and destination port, like ``"udp/53"``; empty when it has none.
    """

    data: bytes
    kind: int
    source: bytes
    target: bytes
    filled: bool
    local: str


@dataclass(frozen=True, slots=True)
class _Upper:
    """Where the L4 header begins, which it is, and whether the packet holds all of it (not a fragment)."""

    at: int
    protocol: int
    whole: bool
    first: bool


def readdress(packet: bytes, target: Target) -> Addressed:
    """Send it to ``target`` instead.

    Args:
        packet: from its EtherType (or first VLAN tag) on, IPv4 or IPv6 inside.
        target: the new destination.

    Raises:
        Unusable: too short to hold an IP header, or of another IP version than its EtherType says.
    """
    at = 0
    while int.from_bytes(packet[at : at + 2], "big") not in (_IPV4, 0x86DD):
        at += 4
    head, body = packet[: at + 2], bytearray(packet[at + 2 :])
    if int.from_bytes(head[at:], "big") == _IPV4:
        return _four(head, body, target)
    return _six(head, body, target)


def _four(head: bytes, body: bytearray, target: Target) -> Addressed:
    header = (body[0] & 15) * 4 if body else 0
    if header < 20 or len(body) < header or body[0] >> 4 != 4:
        raise Unusable("broken IP header")
    length, _, fragment = struct.unpack_from(">HHH", body, 2)
    filled = _fit(body, length, header)
    source, old = bytes(body[12:16]), bytes(body[16:20])
    body[16:20] = target.v4
    body[10:12] = bytes(2)
    body[10:12] = sums.checksum(sums.words(bytes(body[:header])))
    first = fragment & 0x1FFF == 0
    upper = _Upper(header, body[9], whole=first and not fragment & 0x2000, first=first)
    _mend(body, upper, source, old, target.v4)
    return Addressed(bytes(head) + bytes(body), _kind(body, upper), source, old, filled, _local(body, upper))


def _six(head: bytes, body: bytearray, target: Target) -> Addressed:
    if len(body) < 40 or body[0] >> 4 != 6:
        raise Unusable("broken IP header")
    (length,) = struct.unpack_from(">H", body, 4)
    filled = _fit(body, length + 40, 40)
    source, old = bytes(body[8:24]), bytes(body[24:40])
    body[24:40] = target.v6
    upper = _walk(body)
    _mend(body, upper, source, old, target.v6)
    return Addressed(bytes(head) + bytes(body), _kind(body, upper), source, old, filled, _local(body, upper))


def _fit(body: bytearray, length: int, header: int) -> bool:
    """Cut the link's padding off, or fill up what the capture cut off. A length that cannot be is left as it is."""
    if length < header:
        return False
    missing = length - len(body)
    if missing > 0:
        body.extend(bytes(missing))
        return True
    del body[length:]
    return False


def _walk(body: bytearray) -> _Upper:
    """Go through IPv6 extension headers."""
    protocol, at = body[6], 40
    whole = first = True
    while protocol in (_HOP, _ROUTING, _FRAGMENT, _AH, _OPTIONS) and len(body) >= at + 8:
        following = body[at]
        if protocol == _FRAGMENT:
            (fragment,) = struct.unpack_from(">H", body, at + 2)
            whole, first = fragment & 0xFFF9 == 0, fragment & 0xFFF8 == 0
            at += 8
        elif protocol == _AH:
            at += (body[at + 1] + 2) * 4
        else:
            at += (body[at + 1] + 1) * 8
        protocol = following
        if not first:
            break
    return _Upper(at, protocol, whole, first)


def _mend(body: bytearray, upper: _Upper, source: bytes, old: bytes, new: bytes) -> None:
    """Make the L4 check sum right for the new destination.

    A whole packet gets it computed afresh. Of a first fragment only a part is here: its sum is corrected by the
    difference (RFC 1624), right if it was right before.
    """
    place = _CHECKSUM_AT.get(upper.protocol)
    if place is None or (upper.protocol == _ICMP6 and len(new) == 4) or not upper.first:
        return
    at = upper.at + place
    if len(body) < at + 2 or (upper.protocol == _UDP and len(new) == 4 and body[at : at + 2] == bytes(2)):
        return  # no room for one, or UDP over IPv4 that carries none
    if upper.whole:
        body[at : at + 2] = bytes(2)
        segment = bytes(body[upper.at :])
        pseudo = source + new + struct.pack(">II", len(segment), upper.protocol)
        value = sums.checksum(sums.words(pseudo) + sums.words(segment))
    else:
        inverted = bytes(byte ^ 0xFF for byte in body[at : at + 2] + old)
        value = sums.checksum(sums.words(inverted) + sums.words(new))
    if upper.protocol == _UDP and value == bytes(2):
        value = b"\xff\xff"
    body[at : at + 2] = value


def _local(body: bytearray, upper: _Upper) -> str:
    name = {_UDP: "udp", _TCP: "tcp"}.get(upper.protocol)
    if name is None or not upper.first or len(body) < upper.at + 4:
        return ""
    return f"{name}/{int.from_bytes(body[upper.at + 2 : upper.at + 4], 'big')}"


def _kind(body: bytearray, upper: _Upper) -> int:
    if upper.protocol == _UDP:
        return UDP
    if upper.protocol == _TCP:
        flags = body[upper.at + 13] if upper.first and len(body) > upper.at + 13 else 0
        return SYN if flags & 0x12 == 0x02 else TCP
    return OTHER
