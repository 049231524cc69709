# SPDX-License-Identifier: Apache-2.0
"""What a config turns off is off, and nothing else is: observe, checks, meters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.packets import SYN, TCP, VLAN, ethernet, frame4, frame6, routing, tcp
from tests.bpf.scene import DROP, PASS, Probe, config, loaded
from tests.bpf.test_meters import Reading, source
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

ONE_OF_EACH = {
    Reason.PASS: frame4(source="10.0.0.1"),
    Reason.PASS_ALLOWED: frame4(source="10.0.1.1"),
    Reason.PASS_LINK: frame4(target="224.0.0.1"),
    Reason.PASS_NOT_IP: ethernet(bytes(46), 0x0806),
    Reason.BANNED_SOURCE: frame4(source="10.0.2.1"),
    Reason.BANNED_PREFIX: frame6(source="2001:db8:3::1"),
    Reason.TRUNCATED: frame4()[:33],
    Reason.VLAN_DEPTH: frame4(vlans=[VLAN] * 3),
    Reason.IP_HEADER: frame4().replace(b"\x08\x00\x45", b"\x08\x00\x44"),
    Reason.IP_LENGTH: frame4()[:34],
    Reason.SOURCE_IMPOSSIBLE: frame4(source="127.0.0.1"),
    Reason.SOURCE_OWN: frame4(source="10.0.4.1"),
    Reason.EXTENSION_CHAIN: frame6(extensions=[routing(0)]),
    Reason.FRAGMENT: frame4(bytes(7), 17, offset=8, flags=1),
    Reason.TCP_HEADER: frame4(tcp(SYN, sport=0), TCP),
    Reason.TCP_FLAGS: frame4(tcp(0), TCP),
    Reason.UDP_LENGTH: frame4(b"\x01\x00\x01\x00\x00\x07\x00\x00", 17),
    Reason.ICMP_HEADER: frame4(b"\x08", 1),
}
LIMITS = {r for r in Reason if r.label.split("_")[-1] in ("pps", "bps", "syn")}
"""Drops that no packet earns alone; test_limits has them."""


def fill(probe: Probe) -> Probe:
    """Lists that give each packet of the table its reason."""
    wall = probe.wall
    wall.allow.put(Prefix.parse("10.0.1.0/24"))
    wall.bans.put_many([(Prefix.parse("10.0.2.1"), None), (Prefix.parse("2001:db8:3::/48"), None)])
    wall.set_own_addresses([Prefix.parse("10.0.4.1")])
    return probe


def test_every_reason_has_its_packet(lists: Probe) -> None:
    """The table is whole, and right on a wall with every check."""
    assert ONE_OF_EACH.keys() | LIMITS | {r for r in Reason if r >= Reason.LANE_SYN} == set(Reason)
    fill(lists)
    for reason, packet in ONE_OF_EACH.items():
        assert lists.run(packet) == (DROP if reason.drops else PASS, reason)


@pytest.fixture(scope="module")
def observing() -> Iterator[Probe]:
    """policy = "observe"."""
    with loaded(config(policy="observe")) as probe:
        yield fill(probe)


@pytest.mark.parametrize("reason", ONE_OF_EACH, ids=lambda reason: reason.label)
def test_observe_counts_and_drops_nothing(observing: Probe, reason: Reason) -> None:
    """The same counters as under enforce, and every packet passes."""
    assert observing.run(ONE_OF_EACH[reason], repeat=3) == (PASS, reason)


def test_observe_says_so(observing: Probe) -> None:
    assert observing.wall.info.policy == "observe"


def test_observe_counts_bans_and_meters_as_enforce_does(observing: Probe, lists: Probe) -> None:
    counts = []
    for probe in (observing, fill(lists)):
        probe.wall.bans.put(Prefix.parse("100.100.1.2"), None)
        probe.push(frame4(source="100.100.1.2"), 5)
        probe.push(frame4(tcp(0), TCP, source="100.100.1.3"), 5)
        held = probe.wall.bans.get(Prefix.parse("100.100.1.2"))
        assert held is not None
        counts.append((held.packets, held.bytes, source(probe, "100.100.1.2"), source(probe, "100.100.1.3")))
    assert counts[0] == counts[1]
    assert counts[0][0] == 5
    assert counts[0][3].drops == 5


@pytest.fixture(scope="module")
def unchecked() -> Iterator[Probe]:
    """checks.malformed = false, checks.own_source = false."""
    with loaded(config(checks={"malformed": False, "own_source": False})) as probe:
        yield fill(probe)


@pytest.mark.parametrize("reason", ONE_OF_EACH, ids=lambda reason: reason.label)
def test_without_checks_only_bans_drop(unchecked: Probe, reason: Reason) -> None:
    wanted = reason
    if reason.drops and reason not in (Reason.BANNED_SOURCE, Reason.BANNED_PREFIX):
        wanted = Reason.PASS
    assert unchecked.run(ONE_OF_EACH[reason]) == (DROP if wanted.drops else PASS, wanted)


@pytest.mark.parametrize(
    "packet",
    [
        frame4(tcp(0), TCP, source="10.0.2.1"),
        frame4(tcp(0), TCP, source="10.0.2.1", options=bytes(40), vlans=[VLAN, VLAN]),
        frame4(source="10.0.2.1").replace(b"\x08\x00\x45", b"\x08\x00\x44"),
        frame4(source="10.0.2.1")[:34],
        frame4(b"", 17, source="10.0.2.1"),
        frame4(bytes(7), 17, source="10.0.2.1", offset=8, flags=1),
        frame6(source="2001:db8:3::1", extensions=[routing(0)]),
        frame6(source="2001:db8:3::1")[:54],
    ],
    ids=["flags", "deep", "header", "cut", "no udp", "fragment", "chain", "cut 6"],
)
def test_without_checks_a_malformed_packet_does_not_slip_past_a_ban(unchecked: Probe, packet: bytes) -> None:
    """The source can be read, so it is looked up."""
    assert unchecked.run(packet).reason in (Reason.BANNED_SOURCE, Reason.BANNED_PREFIX)


def test_without_checks_no_ipv6_packet_is_taken_for_ipv4(unchecked: Probe) -> None:
    """ffff:0:a00:201:: has the very bytes of the key of 10.0.2.1, which is banned, and of 100.100.2.1."""
    assert unchecked.run(frame6(source="ffff:0:a00:201::")) == (PASS, Reason.PASS)
    assert unchecked.run(frame6(source="ffff:0:6464:201::"), repeat=10) == (PASS, Reason.PASS)
    assert source(unchecked, "100.100.2.1") == Reading()


def test_each_check_is_a_switch_of_its_own() -> None:
    with loaded(config(checks={"malformed": False})) as probe:
        fill(probe)
        assert probe.run(ONE_OF_EACH[Reason.TCP_FLAGS]) == (PASS, Reason.PASS)
        assert probe.run(ONE_OF_EACH[Reason.SOURCE_OWN]) == (DROP, Reason.SOURCE_OWN)


def test_without_meters_everything_else_works() -> None:
    with loaded(config(meters={"enabled": False})) as probe:
        fill(probe)
        for reason, packet in ONE_OF_EACH.items():
            assert probe.run(packet, repeat=5) == (DROP if reason.drops else PASS, reason)
        assert not probe.wall.sources().slots["packets"].any()
        assert not probe.wall.prefixes().slots["packets"].any()
