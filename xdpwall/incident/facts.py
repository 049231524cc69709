# SPDX-License-Identifier: Apache-2.0
"""What the head of a sampled packet says: addresses, ports, flags, the first bytes of its payload.

Reads no further than the bytes that are there, and says None where they end.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from xdpwall.lanes import Lane

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
_VLAN = frozenset({0x8100, 0x88A8})
_V6_OPTIONS = frozenset({0, 43, 60, 135})
_V6_FRAGMENT = 44


@dataclass(frozen=True, slots=True)
class Facts:
    """One packet. Ports are numbers, addresses packed in network order (4 or 16 bytes).

    ``flags``: TCP flags, 0 otherwise. ``kind``: ICMP type, None otherwise. ``later_fragment``: not the first part of a
    packet, so it has no ports. ``payload``: what follows UDP or TCP, cut where the sample ends.
    """

    source: bytes
    target: bytes
    protocol: int
    source_port: int | None = None
    target_port: int | None = None
    flags: int = 0
    kind: int | None = None
    fragment: bool = False
    later_fragment: bool = False
    ttl: int = 0
    payload: bytes = b""

    @property
    def lane(self) -> Lane:
        """The lane it belongs to, by the rules of ``bpf/lanes.h``."""
        if self.later_fragment:
            return Lane.FRAGMENT
        if self.protocol == TCP:
            return Lane.SYN if self.flags & SYN and not self.flags & ACK else Lane.TCP
        if self.protocol == UDP:
            return Lane.UDP
        return Lane.ICMP if self.protocol in (ICMP, ICMP6) else Lane.OTHER


def text(address: bytes) -> str:
    """An address as people write it; an IPv4 address within IPv6 as the IPv4 address."""
    if len(address) == 16 and address.startswith(bytes(10) + b"\xff\xff"):
        address = address[12:]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def protocol_name(protocol: int) -> str:
    """``tcp``, ``udp``, ``icmp`` or ``other``."""
    return {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}.get(protocol, "other")


def read_frame(head: bytes) -> Facts | None:
    """Read an Ethernet frame's head; None when it is no IP packet, or too short to say whose it is."""
    at = 12
    while len(head) >= at + 2:
        kind = int.from_bytes(head[at : at + 2], "big")
        at += 2
        if kind in _VLAN:
            at += 2
        elif kind == 0x0800:
            return _read_v4(head[at:])
        elif kind == 0x86DD:
            return _read_v6(head[at:])
        else:
            return None
    return None


def _read_v4(head: bytes) -> Facts | None:
    if len(head) < 20:
        return None
    length = (head[0] & 15) * 4
    fragment = int.from_bytes(head[6:8], "big") & 0x3FFF
    return _read_transport(
        head[12:16],
        head[16:20],
        head[9],
        head[length:] if length >= 20 else b"",
        offset=fragment & 0x1FFF,
        fragment=bool(fragment),
        ttl=head[8],
    )


def _read_v6(head: bytes) -> Facts | None:
    if len(head) < 40:
        return None
    following, at = head[6], 40
    fragment, offset = False, 0
    for _ in range(8):
        if len(head) < at + 8 or following not in _V6_OPTIONS | {_V6_FRAGMENT}:
            break
        if following == _V6_FRAGMENT:
            fragment, offset = True, int.from_bytes(head[at + 2 : at + 4], "big") >> 3
            length = 8
        else:
            length = (head[at + 1] + 1) * 8
        following, at = head[at], at + length
    return _read_transport(
        head[8:24], head[24:40], following, head[at:], offset=offset, fragment=fragment, ttl=head[7]
    )


def _read_transport(
    source: bytes, target: bytes, protocol: int, rest: bytes, *, offset: int, fragment: bool, ttl: int
) -> Facts:
    ports: tuple[int | None, int | None] = (None, None)
    flags, kind, payload = 0, None, b""
    if not offset:
        if protocol in (TCP, UDP) and len(rest) >= 4:
            ports = struct.unpack_from("!HH", rest)
        if protocol == UDP:
            payload = rest[8:]
        elif protocol == TCP and len(rest) >= 14:
            flags = rest[13] & 0x3F
            payload = rest[max(20, (rest[12] >> 4) * 4) :]
        elif protocol in (ICMP, ICMP6) and rest:
            kind, payload = rest[0], rest[8:]
    return Facts(
        source,
        target,
        protocol,
        *ports,
        flags=flags,
        kind=kind,
        fragment=fragment,
        later_fragment=offset > 0,
        ttl=ttl,
        payload=payload,
    )
