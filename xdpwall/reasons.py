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
    LANE_SYN = 24
    LANE_TCP = 25
    LANE_UDP = 26
    LANE_ICMP = 27
    LANE_FRAGMENT = 28
    LANE_OTHER = 29
    CLOSED_TCP = 30
    CLOSED_UDP = 31
    COOKIE_SENT = 32
    FINGERPRINT = 33
    PASS_FLOW = 34
    PASS_SOLICITED = 35
    PASS_PROVEN = 36
    PASS_HANDSHAKE = 37

    @property
    def label(self) -> str:
        """The name people and JSON see, for example ``banned_source``."""
        return self.name.lower()

    @property
    def drops(self) -> bool:
        """Whether a packet with this reason is dropped under ``policy = "enforce"``."""
        return self not in PASSES

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return MEANINGS[self]


PASSES = frozenset(
    {
        Reason.PASS,
        Reason.PASS_ALLOWED,
        Reason.PASS_LINK,
        Reason.PASS_NOT_IP,
        Reason.PASS_FLOW,
        Reason.PASS_SOLICITED,
        Reason.PASS_PROVEN,
        Reason.PASS_HANDSHAKE,
    }
)

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
    Reason.LANE_SYN: "connection requests are over budget, and it could not be answered with a cookie",
    Reason.LANE_TCP: "TCP is over budget, and it belongs to no known connection",
    Reason.LANE_UDP: "UDP is over budget, and it answers nothing that we asked",
    Reason.LANE_ICMP: "ICMP is over budget, and we did not provoke it",
    Reason.LANE_FRAGMENT: "fragments are over budget, and it continues no packet that passed",
    Reason.LANE_OTHER: "other protocols are over budget, and we do not talk to its source",
    Reason.CLOSED_TCP: "over budget, and nobody listens on its port",
    Reason.CLOSED_UDP: "over budget, and nobody listens on its port",
    Reason.COOKIE_SENT: "a connection request over budget: the wall answered it with a SYN cookie",
    Reason.FINGERPRINT: "it looks like the attack's packets, by a rule made from them",
    Reason.PASS_FLOW: "its lane is busy, and it belongs to a known flow",
    Reason.PASS_SOLICITED: "over budget, and it belongs to a packet that passed or to one that we sent",
    Reason.PASS_PROVEN: "over budget, and its source completed a handshake lately",
    Reason.PASS_HANDSHAKE: "its lane is busy, and it completes a handshake",
}
