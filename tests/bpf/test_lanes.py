# SPDX-License-Identifier: Apache-2.0
"""Budgets: how much passes without proof, and who shares it with whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.packets import ACK, ICMP, IPV4, SYN, TCP, UDP, ethernet, frame4, icmp, ipv4, tcp, udp
from tests.bpf.scene import DROP, NO_LIMITS, PASS, loaded
from tests.bpf.talk import Talk, talking, tight
from tests.bpf.test_limits import outcomes
from xdpwall.config import Config
from xdpwall.dataplane.interface import Count
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

GRE = 47


@pytest.fixture(scope="module")
def wall() -> Iterator[Talk]:
    """A packet a second for each lane, 1,000 for one port."""
    with talking(tight(ports=[{"port": "udp/5353", "pps": 1000}])) as made:
        yield made


@pytest.fixture
def talk(wall: Talk) -> Talk:
    """Budgets full, some ports open."""
    wall.reset()
    wall.wall.set_budgets(tight(ports=[{"port": "udp/5353", "pps": 1000}]).lanes, Config().proof)
    wall.wall.set_ports({443, 80}, {53, 123, 5353})
    return wall


def passed(talk: Talk, payload: bytes, protocol: int = TCP, *, target: str = "", tries: int = 100) -> int:
    """How many of so many packets of strangers pass."""
    count = 0
    for _ in range(tries):
        frame = talk.frame_in(payload, protocol, stranger=True)
        if target:
            frame = ethernet(ipv4(payload, protocol, source="203.0.113.9", target=target), IPV4)
        count += talk.probe.run(frame).verdict == PASS
    return count


@pytest.mark.parametrize(
    ("lane", "payload", "protocol", "reason"),
    [
        (Lane.SYN, tcp(SYN), TCP, Reason.LANE_SYN),
        (Lane.TCP, tcp(ACK), TCP, Reason.LANE_TCP),
        (Lane.UDP, udp(dport=53), UDP, Reason.LANE_UDP),
        (Lane.ICMP, icmp(), ICMP, Reason.LANE_ICMP),
        (Lane.OTHER, bytes(8), GRE, Reason.LANE_OTHER),
    ],
    ids=lambda value: value.label if isinstance(value, Lane) else "",
)
def test_each_lane_has_its_budget(
    talk: Talk, lane: Lane, payload: bytes, protocol: int, reason: Reason
) -> None:
    """A handful passes, then nothing; the other lanes have lost nothing by it."""
    before = talk.wall.lanes()[lane]
    assert 1 <= passed(talk, payload, protocol) <= 5
    assert talk.hear(payload, protocol, stranger=True) == (DROP, reason)
    counts = talk.wall.lanes()[lane]
    assert counts.seen.packets - before.seen.packets == 101
    assert 96 <= counts.over.packets == counts.dropped.packets <= 100
    others = [(tcp(SYN), TCP), (tcp(ACK), TCP), (udp(dport=53), UDP), (icmp(), ICMP), (bytes(8), GRE)]
    for other, kind in others:
        if other != payload:
            assert talk.hear(other, kind, stranger=True) == (PASS, Reason.PASS)


def test_later_fragments_have_a_lane_of_their_own(talk: Talk) -> None:
    later = frame4(bytes(8), TCP, offset=1480, source="203.0.113.9")
    outcomes = [talk.probe.run(later).reason for _ in range(250)]
    assert outcomes[0] is Reason.PASS
    assert outcomes[-1] is Reason.LANE_FRAGMENT
    assert talk.wall.lanes()[Lane.FRAGMENT].seen == Count(250, 250 * len(later))
    assert outcomes.count(Reason.PASS) >= 45, "the pieces of one whole packet"


def test_first_fragments_of_strangers_come_under_the_budget_of_fragments(talk: Talk) -> None:
    """Whatever their port: each takes the stack's memory until the rest comes."""
    first = frame4(udp(bytes(64), dport=53, length=200), UDP, flags=1, source="203.0.113.9")
    outcomes = [talk.probe.run(first).reason for _ in range(250)]
    assert outcomes[0] is Reason.PASS
    assert outcomes[-1] is Reason.LANE_FRAGMENT
    assert talk.hear(udp(dport=53), UDP, stranger=True) == (PASS, Reason.PASS)


def test_closed_ports_have_a_budget_of_their_own(talk: Talk) -> None:
    """A flood of them takes nothing from ports where somebody listens; and never more than their own budget."""
    assert passed(talk, udp(dport=9), UDP) <= 6
    assert talk.hear(udp(dport=9), UDP, stranger=True) == (DROP, Reason.CLOSED_UDP)
    assert talk.hear(tcp(SYN, dport=9), stranger=True).reason in {Reason.CLOSED_TCP, Reason.PASS}
    assert talk.hear(udp(dport=53), UDP, stranger=True) == (PASS, Reason.PASS)
    assert talk.hear(tcp(SYN), stranger=True) == (PASS, Reason.PASS)


def test_an_attacked_port_leaves_the_others_theirs(talk: Talk) -> None:
    """Twice over: UDP 53 takes what it can, and 123 finds its share."""
    passed(talk, udp(dport=53), UDP)
    assert talk.hear(udp(dport=53), UDP, stranger=True).reason is Reason.LANE_UDP
    assert talk.hear(udp(dport=123), UDP, stranger=True).reason is Reason.PASS


def test_so_does_an_attacked_address(talk: Talk) -> None:
    assert passed(talk, icmp(), ICMP, target="198.51.100.1") < 100
    assert passed(talk, icmp(), ICMP, target="198.51.100.2", tries=1) == 1


def test_many_targets_together_get_no_more_than_twice_the_burst(talk: Talk) -> None:
    """Carpet bombing: each of 250 addresses is far below its share, and still the lane's budget holds."""
    before = talk.wall._clock.now()
    through = sum(passed(talk, icmp(), ICMP, target=f"198.51.100.{n}", tries=2) for n in range(1, 251))
    seconds = (talk.wall._clock.now() - before) / talk.wall.info.tick_hz
    assert through <= 12 + 2 * seconds


def test_a_port_with_a_budget_of_its_own(talk: Talk) -> None:
    assert talk.exhaust(udp(dport=53), UDP).reason is Reason.LANE_UDP
    pools = talk.wall._array("pools").words
    pools[8 * 8] = 0
    frame = talk.frame_in(udp(dport=5353), UDP, stranger=True)
    assert outcomes(talk.probe, [(frame, 50)])[0] == {Reason.PASS: 50}
    seen, seconds = outcomes(talk.probe, [(frame, 3_000)])
    assert 40 <= seen[Reason.PASS] <= 200 + 2_000 * seconds
    assert set(seen) == {Reason.PASS, Reason.LANE_UDP}


def test_bytes_are_budgeted_too(talk: Talk) -> None:
    config = Config.from_mapping({"lanes": {"udp": {"pps": 0, "bps": 80_000}, "burst": "100ms"}})
    talk.wall.set_budgets(config.lanes, config.proof)
    assert talk.wall.info.cpus >= 1
    big = udp(bytes(1200), dport=53)
    assert passed(talk, big, UDP, tries=60) <= 8
    assert talk.hear(big, UDP, stranger=True).reason is Reason.LANE_UDP


def test_without_budgets_everything_passes(talk: Talk) -> None:
    off = {
        lane: {"pps": 0, "bps": 0} for lane in ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")
    }
    config = Config.from_mapping({"lanes": off})
    talk.wall.set_budgets(config.lanes, config.proof)
    for payload, protocol in ((tcp(SYN), TCP), (tcp(ACK), TCP), (udp(dport=9), UDP), (icmp(), ICMP)):
        assert passed(talk, payload, protocol, tries=300) == 300


def test_a_gate_that_was_idle_is_full_again(talk: Talk) -> None:
    """Spending lies in the past after an idle time, however long; here it is set back instead of waiting."""
    passed(talk, icmp(), ICMP)
    for name, at, step in (("pools", 0, 8), ("lane_cpus", 6, 8), ("classes", 0, 2)):
        words = talk.wall._array(name).words
        for place in range(at, len(words), step):
            words[place] = 5
    assert talk.hear(icmp(), ICMP, stranger=True) == (PASS, Reason.PASS)
    assert 1 <= passed(talk, icmp(), ICMP) <= 5


def test_allowed_sources_need_no_budget(talk: Talk) -> None:
    talk.exhaust(udp(dport=53), UDP)
    talk.wall.allow.put(Prefix.parse("203.0.113.9"))
    try:
        assert talk.hear(udp(dport=53), UDP, stranger=True) == (PASS, Reason.PASS_ALLOWED)
    finally:
        talk.wall.allow.remove(Prefix.parse("203.0.113.9"))


def test_lanes_that_are_off_are_not_there() -> None:
    with loaded(Config.from_mapping({"limits": NO_LIMITS, "lanes": {"enabled": False}})) as probe:
        for _ in range(300):
            assert probe.run(frame4(udp(dport=9), UDP)) == (PASS, Reason.PASS)
        assert all(count.seen == Count() for count in probe.wall.lanes().values())
