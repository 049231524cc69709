# SPDX-License-Identifier: Apache-2.0
"""Sources that no packet from outside can have, and the host's own addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.packets import (
    ACK,
    IPV4,
    IPV6,
    TARGET4,
    TARGET6,
    TCP,
    UDP,
    ethernet,
    fragment,
    frame4,
    frame6,
    frame_from,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.bpf.scene import DROP, PASS, Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

IMPOSSIBLE = (
    "127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255",  # loopback
    "224.0.0.0", "224.0.0.1", "232.1.2.3", "239.255.255.255",  # multicast
    "255.255.255.255",  # broadcast
    "0.0.0.0", "0.0.0.1", "0.1.2.3", "0.255.255.255",  # this network
    TARGET4,  # its own target: the LAND attack
    "::", "::1", "::2", "::192.0.2.7", "::ffff:192.0.2.7", "::ffff:0:0",  # unspecified, loopback, IPv4 in disguise
    "ff00::", "ff02::1", "ff0e::1", "ffff:0:c000:207::", "ffff::1",  # multicast
    TARGET6,
)  # fmt: skip
POSSIBLE = (
    "1.0.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "240.0.0.1", "255.255.255.254",
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1",
    "0:0:0:1::", "1::", "fe80::1", "fc00::1", "fec0::1", "64:ff9b::192.0.2.7", "2002:c000:207::1", "100::1",
)  # fmt: skip


def sources_table() -> Iterator[Row]:
    """Each as the source of a packet that is right otherwise."""
    for source in IMPOSSIBLE:
        yield drops(f"udp from {source}", frame_from(source), Reason.SOURCE_IMPOSSIBLE)
        syn = frame_from(source, tcp(ACK), TCP)
        yield drops(f"tcp from {source}", syn, Reason.SOURCE_IMPOSSIBLE)
    for source in POSSIBLE:
        yield passes(f"from {source}", frame_from(source))
    yield passes("same network as its target", frame4(source="198.51.100.2"))
    yield passes("same /64 as its target", frame6(source=TARGET6[:-1] + "2"))
    yield passes("same last half as its target", frame6(source="2001:db8:2::1"))


@rows(sources_table())
def test_sources(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def to_the_link_table() -> Iterator[Row]:
    """To link-scope multicast only the unspecified address may send besides real ones: it has no other yet."""
    for source in IMPOSSIBLE:
        build, group = (frame6, "ff02::1") if ":" in source else (frame4, "224.0.0.1")
        packet = build(source=source, target=group)
        if source in ("::", "0.0.0.0") or source in (TARGET4, TARGET6):
            yield passes(f"from {source}", packet, Reason.PASS_LINK)
        else:
            yield drops(f"from {source}", packet, Reason.SOURCE_IMPOSSIBLE)
    yield drops(
        "from the group itself", frame4(source="224.0.0.1", target="224.0.0.1"), Reason.SOURCE_IMPOSSIBLE
    )
    yield drops(
        "from the ipv6 group itself", frame6(source="ff02::1", target="ff02::1"), Reason.SOURCE_IMPOSSIBLE
    )


@rows(to_the_link_table())
def test_sources_to_the_link(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


BOOTP = udp(bytes(300), sport=68, dport=67)


def dhcp_table() -> Iterator[Row]:
    """0.0.0.0 may ask for an address, and nothing else."""
    everyone = "255.255.255.255"
    yield passes("discover", frame4(BOOTP, source="0.0.0.0", target=everyone), Reason.PASS_LINK)
    yield passes(
        "discover, options",
        frame4(BOOTP, source="0.0.0.0", target=everyone, options=bytes(8)),
        Reason.PASS_LINK,
    )
    yield passes("renewal from an address", frame4(BOOTP))
    yield passes("offer", frame4(udp(bytes(300), sport=67, dport=68), target=everyone))
    bad = Reason.SOURCE_IMPOSSIBLE
    yield drops(
        "the wrong way round", frame4(udp(b"x", sport=67, dport=68), source="0.0.0.0", target=everyone), bad
    )
    yield drops("to one address, as anybody could send it", frame4(BOOTP, source="0.0.0.0"), bad)
    yield drops("to a network's broadcast", frame4(BOOTP, source="0.0.0.0", target="198.51.100.255"), bad)
    yield drops("another port", frame4(udp(b"x", sport=68, dport=69), source="0.0.0.0", target=everyone), bad)
    yield drops("another source", frame4(BOOTP, source="0.0.0.1", target=everyone), bad)
    yield drops("tcp with these ports", frame4(tcp(ACK, sport=68, dport=67), TCP, source="0.0.0.0"), bad)
    yield drops("cut before the ports", frame4(BOOTP[:7], source="0.0.0.0", target=everyone), bad)
    yield drops("ports in the padding", ethernet(ipv4(b"", source="0.0.0.0") + BOOTP, IPV4), bad)
    yield drops("a later fragment", frame4(BOOTP[:16], source="0.0.0.0", offset=1480), bad)


@rows(dhcp_table())
def test_dhcp(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("198.51.100.1", "198.51.100.2"),
        ("198.51.100.255", "198.51.100.254"),
        ("2001:db8:1::1", "2001:db8:1::2"),
        ("fd00::1", "fd00:0:0:1::1"),
    ],
)
def test_an_own_address_cannot_come_from_outside(lists: Probe, own: str, other: str) -> None:
    """Only the very address: its neighbours in the same /16 and the same /64 pass."""
    target = "192.0.2.9" if "." in own else "2001:db8:9::9"
    build = frame4 if "." in own else frame6
    lists.wall.set_own_addresses([Prefix.parse(own)])
    assert lists.run(build(source=own, target=target)) == (DROP, Reason.SOURCE_OWN)
    assert lists.run(build(source=other, target=target)) == (PASS, Reason.PASS)


def test_own_addresses_beat_allowlist_and_bans(lists: Probe) -> None:
    """Who claims to be us is nobody that an operator allowed."""
    own = Prefix.parse("203.0.113.5")
    assert lists.wall.set_own_addresses([own])
    assert not lists.wall.set_own_addresses([own])
    lists.wall.allow.put(Prefix.parse("203.0.113.0/24"))
    lists.wall.bans.put(own, None)
    assert lists.run(frame4(source="203.0.113.5")) == (DROP, Reason.SOURCE_OWN)
    assert lists.run(frame4(source="203.0.113.6")) == (PASS, Reason.PASS_ALLOWED)
    assert lists.wall.set_own_addresses([])
    assert lists.run(frame4(source="203.0.113.5")) == (PASS, Reason.PASS_ALLOWED)


def test_own_addresses_of_both_families_do_not_meet(lists: Probe) -> None:
    """An IPv4 address is kept in mapped form, which no IPv6 packet can claim."""
    lists.wall.set_own_addresses([Prefix.parse("203.0.113.5")])
    assert lists.run(frame6(source="::ffff:203.0.113.5")) == (DROP, Reason.SOURCE_IMPOSSIBLE)
    assert lists.run(frame6(source="2001:db8::ffff:cb00:7105")) == (PASS, Reason.PASS)


def test_the_source_is_read_at_the_right_place(lists: Probe) -> None:
    """Behind tags, options and extension headers too: not the target, not in another order."""
    lists.wall.bans.put(Prefix.parse("1.2.3.4"), None)
    lists.wall.bans.put(Prefix.parse("2001:db8:a:b::/64"), None)
    for vlans in ((), (0x8100,), (0x88A8, 0x8100)):
        for options in (b"", bytes(4), bytes(40)):
            packet = frame4(source="1.2.3.4", options=options, vlans=vlans)
            assert lists.run(packet) == (DROP, Reason.BANNED_SOURCE)
            swapped = frame4(source="4.3.2.1", target="1.2.3.4", options=options, vlans=vlans)
            assert lists.run(swapped) == (PASS, Reason.PASS)
        for extensions in ((), (fragment(),)):
            packet = frame6(source="2001:db8:a:b::1", extensions=extensions, vlans=vlans)
            assert lists.run(packet) == (DROP, Reason.BANNED_SOURCE)
            swapped = frame6(target="2001:db8:a:b::1", extensions=extensions, vlans=vlans)
            assert lists.run(swapped) == (PASS, Reason.PASS)
    assert lists.run(ethernet(ipv6(udp(b"x"), UDP, source="b:a:db8:2001::"), IPV6)) == (PASS, Reason.PASS)
