# SPDX-License-Identifier: Apache-2.0
"""What keeps the link alive passes whoever sends it; what only looks like it does not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bpf.packets import (
    HOP_BY_HOP,
    ICMPV6,
    TARGET6,
    UDP,
    VLAN,
    fragment,
    frame4,
    frame6,
    icmp,
    options_header,
    udp,
)
from tests.bpf.scene import DROP, PASS, Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

ROUTER = "fe80::1"
DISCOVERY = {133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
             136: "neighbour advertisement", 137: "redirect"}  # fmt: skip
SOLICITED = "ff02::1:ff00:1"


def discovery(kind: int, *, source: str = ROUTER, target: str = TARGET6, hop_limit: int = 255) -> bytes:
    """A neighbour discovery message in a frame."""
    return frame6(icmp(kind, bytes(24)), ICMPV6, source=source, target=target, hop_limit=hop_limit)


def link_table() -> Iterator[Row]:
    """One of each."""
    link = Reason.PASS_LINK
    for kind, name in DISCOVERY.items():
        yield passes(f"{name} to us", discovery(kind), link)
        yield passes(f"{name} to a group", discovery(kind, target=SOLICITED), link)
        yield passes(f"{name} from a global address", discovery(kind, source="2001:db8:7::7"), link)
        tagged = frame6(icmp(kind, bytes(24)), ICMPV6, source=ROUTER, hop_limit=255, vlans=[VLAN])
        yield passes(f"{name} in a VLAN", tagged, link)
    yield passes("duplicate address detection", discovery(135, source="::", target=SOLICITED), link)
    listener = [options_header(HOP_BY_HOP)]
    for kind in (130, 131, 132, 143):
        report = frame6(
            icmp(kind, bytes(20)), ICMPV6, extensions=listener, source=ROUTER, target="ff02::16", hop_limit=1
        )
        yield passes(f"multicast listener, type {kind}", report, link)
    first = frame6(
        icmp(143, bytes(20)), ICMPV6, extensions=listener, source="::", target="ff02::16", hop_limit=1
    )
    yield passes("multicast listener, no address yet", first, link)
    for name, protocol, group in (
        ("igmp query", 2, "224.0.0.1"),
        ("igmp report", 2, "224.0.0.22"),
        ("vrrp", 112, "224.0.0.18"),
        ("ospf", 89, "224.0.0.5"),
        ("eigrp", 88, "224.0.0.10"),
        ("pim", 103, "224.0.0.13"),
    ):
        yield passes(name, frame4(bytes(24), protocol, target=group, options=b"\x94\x04\0\0"), link)
    yield passes(
        "igmp query from no address", frame4(bytes(8), 2, source="0.0.0.0", target="224.0.0.1"), link
    )
    yield passes("mdns", frame4(udp(bytes(40), sport=5353, dport=5353), target="224.0.0.251"), link)
    yield passes("mdns in ipv6", frame6(udp(bytes(40), sport=5353, dport=5353), target="ff02::fb"), link)
    yield passes("dhcpv6 solicit", frame6(udp(bytes(60), sport=546, dport=547), target="ff02::1:2"), link)
    yield passes("ospf in ipv6", frame6(bytes(24), 89, source=ROUTER, target="ff02::5", hop_limit=1), link)
    yield passes("a transient group of link scope", frame6(target="ff12::1"), link)


@rows(link_table())
def test_passes_from_anybody(lists: Probe, row: Row) -> None:
    """Also when all the world is banned, exactly and by prefix."""
    assert lists.run(row.packet) == (row.verdict, row.reason)
    lists.wall.bans.put_many([(Prefix.parse(p), None) for p in BANNED])
    assert lists.run(row.packet) == (row.verdict, row.reason)


BANNED = ("192.0.2.7", "192.0.2.0/24", "fe80::/64", "fe80::/10", "2001:db8:7::/64", "2001:db8::/32")


def not_link_table() -> Iterator[Row]:
    """What only looks like it is banned like anything else."""
    banned = Reason.BANNED_SOURCE
    for kind, name in DISCOVERY.items():
        for hops in (0, 1, 64, 254):
            yield drops(f"{name} with hop limit {hops}", discovery(kind, hop_limit=hops), banned)
    for kind in (1, 128, 129, 130, 132, 138, 143):
        yield drops(f"icmpv6 type {kind} with hop limit 255", discovery(kind), banned)
    yield drops("udp with hop limit 255", frame6(source=ROUTER, hop_limit=255), banned)
    split = frame6(
        icmp(135, bytes(24)), ICMPV6, extensions=[fragment(more=True)], source=ROUTER, hop_limit=255
    )
    yield drops("discovery in a first fragment (RFC 6980)", split, banned)
    later = frame6(icmp(135, bytes(24)), ICMPV6, extensions=[fragment(1480)], source=ROUTER, hop_limit=255)
    yield drops("discovery in a later fragment", later, banned)
    for group in ("224.0.1.1", "224.1.0.0", "225.0.0.0", "239.255.255.250", "255.255.255.255"):
        yield drops(f"to {group}", frame4(target=group), banned)
    for group in ("ff01::1", "ff05::2", "ff0e::1", "ff08::1"):
        yield drops(f"to {group}", frame6(target=group), banned)


@rows(not_link_table())
def test_is_banned_like_anything_else(lists: Probe, row: Row) -> None:
    assert lists.run(row.packet) == (PASS, Reason.PASS)
    lists.wall.bans.put_many([(Prefix.parse(p), None) for p in BANNED])
    assert lists.run(row.packet) == (row.verdict, row.reason)


def test_a_broken_discovery_message_is_no_link(probe: Probe) -> None:
    """The header must be whole before it is believed."""
    cut = frame6(icmp(135)[:7], ICMPV6, source=ROUTER, hop_limit=255)
    assert probe.run(cut) == (DROP, Reason.ICMP_HEADER)


def test_a_bad_fragment_to_the_link_is_dropped(probe: Probe) -> None:
    """Link scope forgives no fragment that cannot be real."""
    assert probe.run(frame4(bytes(7), UDP, target="224.0.0.1", offset=8, flags=1)) == (DROP, Reason.FRAGMENT)
