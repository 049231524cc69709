# SPDX-License-Identifier: Apache-2.0
"""The append-only list of reasons for a verdict.

The numbers are a contract: they index the verdict counters in the kernel, stand in the database and in JSON. Never
renumber or reuse one; add at the end. ``bpf/reasons.h`` is the same list for C, and a test holds the two together.
"""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why a packet was passed or dropped."""

    PASS = 0
    PASS_ALLOWED = 1
    PASS_LINK = 2
    PASS_NOT_IP = 3
    BANNED_SOURCE = 4
    BANNED_PREFIX = 5
    TRUNCATED = 6
    VLAN_DEPTH = 7
    IP_HEADER = 8
    IP_LENGTH = 9
    SOURCE_IMPOSSIBLE = 10
    SOURCE_OWN = 11
    EXTENSION_CHAIN = 12
    FRAGMENT = 13
    TCP_HEADER = 14
    TCP_FLAGS = 15
    UDP_LENGTH = 16
    ICMP_HEADER = 17
    SOURCE_PPS = 18
    SOURCE_BPS = 19
    SOURCE_SYN = 20
    PREFIX_PPS = 21
    PREFIX_BPS = 22
    PREFIX_SYN = 23

    @property
    def label(self) -> str:
        """The name people and JSON see, for example ``banned_source``."""
        return self.name.lower()

    @property
    def drops(self) -> bool:
        """Whether a packet with this reason is dropped under ``policy = "enforce"``."""
        return self >= Reason.BANNED_SOURCE

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return MEANINGS[self]


MEANINGS: dict[Reason, str] = {
    Reason.PASS: "nothing speaks against it",
    Reason.PASS_ALLOWED: "its source is on the allowlist",
    Reason.PASS_LINK: "it keeps the link alive: neighbour discovery, multicast listeners, DHCP",
    Reason.PASS_NOT_IP: "not IPv4 or IPv6: ARP, LLDP, LACP, spanning tree and the like",
    Reason.BANNED_SOURCE: "its source is banned",
    Reason.BANNED_PREFIX: "its source lies in a banned prefix",
    Reason.TRUNCATED: "it ends before its headers do",
    Reason.VLAN_DEPTH: "more than two VLAN tags",
    Reason.IP_HEADER: "impossible IP version or header length",
    Reason.IP_LENGTH: "its IP length is shorter than its headers or longer than the frame",
    Reason.SOURCE_IMPOSSIBLE: "no host sends from here: broadcast, multicast, loopback, unspecified, its own target",
    Reason.SOURCE_OWN: "its source is an address of this host",
    Reason.EXTENSION_CHAIN: "IPv6 extension headers: too many, out of order, or a deprecated routing header",
    Reason.FRAGMENT: "a fragment that cannot be real: tiny, overlapping its header, or past the longest packet",
    Reason.TCP_HEADER: "impossible TCP header length, or a port of zero",
    Reason.TCP_FLAGS: "TCP flags that no stack sends together",
    Reason.UDP_LENGTH: "its UDP length is impossible",
    Reason.ICMP_HEADER: "ICMP of the wrong family, or cut off",
    Reason.SOURCE_PPS: "its source sends more packets than limits.source.pps lets pass",
    Reason.SOURCE_BPS: "its source sends more bytes than limits.source.bps lets pass",
    Reason.SOURCE_SYN: "its source opens more connections than limits.source.syn lets pass",
    Reason.PREFIX_PPS: "its /24 or /48 sends more packets than limits.prefix.pps lets pass",
    Reason.PREFIX_BPS: "its /24 or /48 sends more bytes than limits.prefix.bps lets pass",
    Reason.PREFIX_SYN: "its /24 or /48 opens more connections than limits.prefix.syn lets pass",
}
