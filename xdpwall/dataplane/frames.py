# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes: made to ask the wall about, and read to say what one is. Pure.

Check sums of made packets are left at zero: the wall does not look at them.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
_FRAGMENT, _ECHO, _ECHO6 = 44, 8, 128
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = frozenset({0x8100, 0x88A8, 0x9100})
_MACS = bytes.fromhex("027877000001027877000002")
_NAMES = {
    TCP: "TCP",
    UDP: "UDP",
    ICMP: "ICMP",
    ICMPV6: "ICMPv6",
    2: "IGMP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    132: "SCTP",
}
_EXTENSIONS = frozenset({0, 43, 60, 135})
_FLAGS = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"), (URG, "URG"))


def text(address: bytes) -> str:
    """A packed address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def tcp(flags: int, port: int, *, source_port: int = 40_000) -> bytes:
    """A TCP header without options, window 65,535."""
    acknowledgement = 1 if flags & ACK else 0
    return struct.pack(">HHIIBBHHH", source_port, port, 1, acknowledgement, 5 << 4, flags, 65_535, 0, 0)


def udp(port: int, data: bytes = b"xdpwall?", *, source_port: int = 40_000) -> bytes:
    """A UDP header and its data."""
    return struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data


def echo(version: int) -> bytes:
    """An ICMP or ICMPv6 echo request: a ping."""
    return struct.pack(">BBHHH", _ECHO if version == 4 else _ECHO6, 0, 0, 7, 1) + bytes(56)


def frame(
    source: bytes, target: bytes, protocol: int, payload: bytes, *, later_fragment: bool = False
) -> bytes:
    """An Ethernet frame with an IP packet, at least 60 bytes long.

    Args:
        source: packed address.
        target: packed address of the same family.
        protocol: of the payload.
        payload: what follows the IP header.
        later_fragment: the payload is from the middle of a longer packet.
    """
    if len(source) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
        if later_fragment:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x2000 | 185, 64, protocol, 0)
        packet = head + source + target + payload
        kind = _IPV4
    else:
        if later_fragment:
            payload = struct.pack(">BBHI", protocol, 0, 185 << 3 | 1, 1) + payload
            protocol = _FRAGMENT
        packet = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + source + target + payload
        kind = _IPV6
    return (_MACS + kind.to_bytes(2, "big") + packet).ljust(60, b"\0")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a frame is, as far as it can be read, in words. ``source`` is packed, None where there is none."""

    source: bytes | None
    what: str


def read(data: bytes) -> Seen:
    """Say what a frame is. Never fails: what cannot be read is said to be unreadable."""
    at = 12
    while int.from_bytes(data[at : at + 2], "big") in _VLANS and len(data) >= at + 4:
        at += 4
    kind = int.from_bytes(data[at : at + 2], "big")
    body = data[at + 2 :]
    if kind == _IPV4:
        return _read4(body)
    if kind == _IPV6:
        return _read6(body)
    return Seen(
        None, f"not IP (EtherType {kind:#06x})" if len(data) >= at + 2 else "no whole Ethernet header"
    )


def _read4(body: bytes) -> Seen:
    if len(body) < 20:
        return Seen(None, "IPv4, cut off in its header")
    source, target = body[12:16], body[16:20]
    offset = int.from_bytes(body[6:8], "big")
    header = (body[0] & 15) * 4
    return _read_payload(
        source, target, body[9], body[header:], later=bool(offset & 0x1FFF), first=bool(offset & 0x2000)
    )


def _read6(body: bytes) -> Seen:
    if len(body) < 40:
        return Seen(None, "IPv6, cut off in its header")
    source, target, protocol, at = body[8:24], body[24:40], body[6], 40
    later = first = False
    for _ in range(8):
        if protocol in _EXTENSIONS and len(body) >= at + 8:
            protocol, at = body[at], at + 8 + body[at + 1] * 8
        elif protocol == _FRAGMENT and len(body) >= at + 8:
            offset = int.from_bytes(body[at + 2 : at + 4], "big")
            later, first = bool(offset >> 3), bool(offset & 1)
            protocol, at = body[at], at + 8
        else:
            break
    return _read_payload(source, target, protocol, body[at:], later=later, first=first)


def _read_payload(
    source: bytes, target: bytes, protocol: int, payload: bytes, *, later: bool, first: bool
) -> Seen:
    name = _NAMES.get(protocol, f"protocol {protocol}")
    here, there = text(source), text(target)
    if later:
        return Seen(source, f"{name} later fragment {here} > {there}")
    tail = ", first fragment" if first else ""
    if protocol in (TCP, UDP) and len(payload) >= 4:
        local, remote = struct.unpack_from(">HH", payload)
        if protocol == TCP and len(payload) >= 14:
            flags = [word for bit, word in _FLAGS if payload[13] & bit]
            name = f"TCP {'+'.join(flags) or 'no flags'}"
        return Seen(source, f"{name} {_end(here, local)} > {_end(there, remote)}{tail}")
    if protocol in (ICMP, ICMPV6) and len(payload) >= 2:
        name = f"{name} type {payload[0]} code {payload[1]}"
    return Seen(source, f"{name} {here} > {there}{tail}")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
