# SPDX-License-Identifier: Apache-2.0
"""Parts of the wall that only observe: they count what they would drop, and hide nothing from what is enforced."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.bpf.packets import ACK, ICMP, SYN, TCP, UDP, frame4, icmp, tcp, udp
from tests.bpf.scene import DROP, NO_LIMITS, PASS, Probe, config, lean, loaded, scene
from tests.bpf.talk import LANES as ALL_LANES
from tests.bpf.talk import STRANGER4, Talk, talking
from tests.bpf.test_limits import METERS, OFF, outcomes
from tests.bpf.test_switches import ONE_OF_EACH, fill
from xdpwall.config import Config
from xdpwall.dataplane import defines, source
from xdpwall.dataplane.compiler import compile_source
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.module import CompiledModule
from xdpwall.fingerprint import SIZE, Pattern, Rule
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.observe import ALL, PART_OF, PARTS, bits, parts_of
from xdpwall.reasons import Reason

EARLY = ("checks.malformed", "checks.own_source", "bans.source", "bans.prefix")
LANES = {
    "lanes.syn": (tcp(SYN), TCP, Reason.LANE_SYN),
    "lanes.tcp": (tcp(ACK), TCP, Reason.LANE_TCP),
    "lanes.udp": (udp(dport=53), UDP, Reason.LANE_UDP),
    "lanes.icmp": (icmp(), ICMP, Reason.LANE_ICMP),
    "lanes.other": (bytes(8), 47, Reason.LANE_OTHER),
    "lanes.closed": (udp(dport=9), UDP, Reason.CLOSED_UDP),
}


def would(probe: Probe) -> dict[Reason, Count]:
    return dict(probe.wall.observed()[probe.interface])


def test_every_drop_belongs_to_a_part() -> None:
    assert set(PART_OF) == {reason for reason in Reason if reason.drops}
    assert parts_of(ALL) == tuple(PARTS)
    for part in PARTS:
        assert parts_of(bits([part])) == (part,)


@pytest.fixture(scope="module", params=EARLY)
def trial(request: pytest.FixtureRequest) -> Iterator[tuple[str, Probe]]:
    """A wall on which one part observes."""
    with loaded(config(observe=[request.param], **{"bans": {"capacity": 1024}})) as probe:
        yield request.param, fill(probe)


@pytest.mark.parametrize("reason", ONE_OF_EACH, ids=lambda reason: reason.label)
def test_one_part_observes_and_no_other(trial: tuple[str, Probe], reason: Reason) -> None:
    part, probe = trial
    before = would(probe).get(reason, Count()).packets
    observed = reason in PARTS[part]
    expected = DROP if reason.drops and not observed else PASS
    assert probe.run(ONE_OF_EACH[reason], repeat=3) == (expected, reason)
    assert would(probe).get(reason, Count()).packets - before == (3 if observed else 0)


def test_it_says_so(trial: tuple[str, Probe]) -> None:
    part, probe = trial
    info = probe.wall.info
    assert info.policy == "enforce"
    assert set(info.observed) == set(PARTS[part])
    assert info.observed_since_ms == info.loaded_ms


LISTED = {
    Reason.BANNED_SOURCE: frame4(source="10.0.2.1"),
    Reason.BANNED_PREFIX: frame4(source="10.0.3.1"),
    Reason.SOURCE_OWN: frame4(source="10.0.4.1"),
    Reason.TCP_FLAGS: frame4(tcp(0), TCP, source="10.0.5.1"),
}


@pytest.mark.parametrize("reason", LISTED, ids=lambda reason: reason.label)
def test_limits_hold_for_what_an_observed_part_would_have_dropped(reason: Reason) -> None:
    """Within its limit it passes, and is counted; what is beyond is dropped for the limit."""
    limits = {"source": {**OFF, "pps": 50}, "prefix": OFF}
    with loaded(lean(observe=list(EARLY), meters=METERS, limits=limits)) as probe:
        probe.wall.bans.put_many([(Prefix.parse("10.0.2.1"), None), (Prefix.parse("10.0.3.0/24"), None)])
        probe.wall.set_own_addresses([Prefix.parse("10.0.4.1")])
        counts, seconds = outcomes(probe, [(LISTED[reason], 1000)])
        assert set(counts) == {reason, Reason.SOURCE_PPS}
        assert counts.total() == 1000, "each packet is counted once"
        assert 50 <= counts[reason] <= 51 + 50 * seconds
        assert would(probe)[reason].packets == counts[reason]
        assert Reason.SOURCE_PPS not in would(probe)


def test_an_allowed_source_is_still_told_of_what_comes_before(trial: tuple[str, Probe]) -> None:
    """Malformed comes before the allowlist, bans after it."""
    part, probe = trial
    probe.wall.bans.put(Prefix.parse("10.0.1.9"), None)
    assert probe.run(frame4(source="10.0.1.9")) == (PASS, Reason.PASS_ALLOWED)
    outcome = probe.run(frame4(tcp(0), TCP, source="10.0.1.9"))
    assert outcome == (PASS if part == "checks.malformed" else DROP, Reason.TCP_FLAGS)


def test_an_observed_limit_of_sources_leaves_that_of_prefixes() -> None:
    limits = {"source": {**OFF, "pps": 50}, "prefix": {**OFF, "pps": 200}}
    with loaded(lean(observe=["limits.source"], meters=METERS, limits=limits)) as probe:
        counts, seconds = outcomes(probe, [(frame4(source="198.18.1.1"), 1000)])
        assert counts.total() == 1000
        assert set(counts) == {Reason.PASS, Reason.SOURCE_PPS, Reason.PREFIX_PPS}
        within = counts[Reason.PASS] + counts[Reason.SOURCE_PPS]
        assert 200 <= within <= 202 + 200 * seconds
        assert set(would(probe)) == {Reason.SOURCE_PPS}
        assert would(probe)[Reason.SOURCE_PPS].packets == counts[Reason.SOURCE_PPS]


def test_an_observed_limit_of_prefixes_leaves_that_of_sources() -> None:
    limits = {"source": {**OFF, "pps": 100}, "prefix": {**OFF, "pps": 100}}
    with loaded(lean(observe=["limits.prefix"], meters=METERS, limits=limits)) as probe:
        outcomes(probe, [(frame4(source=f"198.18.1.{n}"), 50) for n in range(1, 5)])
        counts, _ = outcomes(probe, [(frame4(source="198.18.1.1"), 1000)])
        assert counts[Reason.SOURCE_PPS] > 800, "dropped by its own limit"
        assert set(would(probe)) == {Reason.PREFIX_PPS}


@pytest.fixture(scope="module")
def free() -> Iterator[Talk]:
    """All lanes observe."""
    with talking(lanes_observe(*(part for part in PARTS if part.startswith("lanes.")))) as talk:
        yield talk


def lanes_observe(*parts: str, **tables: object) -> Config:
    """Budgets that are all but nothing, and parts that observe."""
    lanes = {lane: {"pps": 1, "bps": 0} for lane in ALL_LANES}
    return Config.from_mapping({"limits": NO_LIMITS, "observe": list(parts), "lanes": lanes, **tables})


@pytest.mark.parametrize("part", LANES)
def test_a_lane_that_observes_lets_its_excess_pass(free: Talk, part: str) -> None:
    free.reset()
    free.wall.set_ports({80, 443}, {53})
    payload, protocol, reason = LANES[part]
    before = would(free.probe).get(reason, Count()).packets
    assert free.exhaust(payload, protocol) == (PASS, reason)
    assert would(free.probe)[reason].packets - before == 1


def test_one_lane_observes_and_the_others_do_not() -> None:
    with talking(lanes_observe("lanes.udp")) as talk:
        for part, (payload, protocol, reason) in LANES.items():
            talk.reset()
            talk.wall.set_ports({80, 443}, {53})
            assert talk.exhaust(payload, protocol) == (PASS if part == "lanes.udp" else DROP, reason)


def test_an_observed_ban_is_judged_by_its_lane_and_spends_once() -> None:
    with talking(lanes_observe("bans.source", "bans.prefix")) as talk:
        talk.wall.set_ports({80, 443}, {53})
        talk.wall.bans.put(Prefix.parse(STRANGER4), None)
        banned = [talk.hear(udp(dport=53), UDP, stranger=True) for _ in range(20)]
        passed = sum(outcome == (PASS, Reason.BANNED_SOURCE) for outcome in banned)
        assert 1 <= passed <= 6, "as many as of anybody: see test_lanes"
        assert banned[-1] == (DROP, Reason.LANE_UDP)
        assert set(banned) == {(PASS, Reason.BANNED_SOURCE), (DROP, Reason.LANE_UDP)}
        assert would(talk.probe) == {
            Reason.BANNED_SOURCE: Count(passed, passed * len(talk.frame_in(udp(dport=53), UDP)))
        }


def test_rules_observe_all_together() -> None:
    with talking(lanes_observe("fingerprints")) as talk:
        talk.wall.set_ports({80, 443}, {53})
        nothing = bytes(SIZE)
        rule = Rule(talk.wall.rules.next_id(), Pattern(Lane.UDP, nothing, nothing), False, 0, 1.0, 0.0, 1, 0)
        talk.wall.rules.put(rule, 60_000)
        assert talk.hear(udp(dport=53), UDP, stranger=True) == (PASS, Reason.FINGERPRINT)
        assert talk.exhaust(udp(dport=53), UDP) == (DROP, Reason.LANE_UDP)
        assert talk.hear(tcp(ACK), stranger=True).reason is not Reason.FINGERPRINT
        assert would(talk.probe)[Reason.FINGERPRINT].packets == 1


def test_what_would_be_dropped_is_shown() -> None:
    """Samples of it come at any tick, with a mark: by them good sources are found."""
    with talking(lanes_observe("bans.source")) as talk:
        talk.wall.set_ports({80, 443}, {53})
        talk.wall.samples()
        talk.wall.bans.put(Prefix.parse(STRANGER4), None)
        talk.wall.set_budgets(Config().lanes, Config().proof)
        for _ in range(5):
            talk.hear(udp(dport=53), UDP, stranger=True)
        shown = [sample for sample in talk.wall.samples() if sample.would_drop]
        assert shown
        assert {(s.reason, s.source) for s in shown} == {(Reason.BANNED_SOURCE, bytes([203, 0, 113, 9]))}
        assert talk.exhaust(udp(dport=53), UDP) == (DROP, Reason.LANE_UDP)
        (last,) = talk.wall.samples()[-1:]
        assert (last.reason, last.would_drop) == (Reason.LANE_UDP, False)


def test_under_the_policy_observe_all_drops_are_would_drops() -> None:
    with loaded(lean(policy="observe")) as probe:
        fill(probe)
        for reason, packet in ONE_OF_EACH.items():
            assert probe.run(packet) == (PASS, reason)
        assert {reason for reason, count in would(probe).items() if count.packets == 1} == {
            reason for reason in ONE_OF_EACH if reason.drops
        }


def test_counts_begin_with_the_trial_and_real_drops_stay() -> None:
    packet = frame4(source="10.0.2.1")
    with scene() as place:

        def step(observe: list[str]) -> tuple[int, int, int]:
            place.load(lean(observe=observe))
            with place.open() as wall, closing(Probe(wall, "wt0")) as probe:
                wall.bans.put(Prefix.parse("10.0.2.1"), None)
                probe.push(packet, 10)
                counted = wall.verdicts()["wt0"][Reason.BANNED_SOURCE].packets
                info = wall.info
                return (
                    counted,
                    would(probe).get(Reason.BANNED_SOURCE, Count()).packets,
                    info.observed_since_ms,
                )

        assert step([])[:2] == (10, 0)
        first = step(["bans.source"])
        assert first[:2] == (20, 10)
        second = step(["bans.source"])
        assert second == (30, 20, first[2]), "the same trial goes on"
        third = step(["bans.source", "bans.prefix"])
        assert third[:2] == (20, 10), "another trial: what was seen before is not its own"
        assert third[2] > first[2]
        assert step([])[:2] == (30, 10), "what was observed stays on record"


def references(module: CompiledModule, program: str, table: str) -> bool:
    """Whether a program uses a map, or knows its value's address."""
    code, fd = module.program(program), module.map_fd(table)
    return any(
        code[at] == 0x18 and code[at + 1] >> 4 in (1, 2) and struct.unpack_from("<i", code, at + 4)[0] == fd
        for at in range(0, len(code), 8)
    )


@pytest.mark.parametrize(("parts", "costs"), [((), False), (("bans.source",), True)])
def test_it_costs_nothing_while_nothing_is_observed(parts: tuple[str, ...], costs: bool) -> None:
    using = lean(observe=list(parts))
    shape = defines.sizes(using, 2)
    module = compile_source(source.bpf_folder() / "wall.c", defines.defines(using, shape, 1))
    try:
        assert references(module, "wall", "would_drop") is costs
        assert references(module, "wall", "verdicts")
    finally:
        module.close()
