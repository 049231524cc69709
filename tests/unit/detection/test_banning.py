# SPDX-License-Identifier: Apache-2.0
"""How long, how many a minute, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import prefix, v4
from xdpwall.detection.banning import BanPolicy, BanRules, Decision, Refusal
from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import source_of
from xdpwall.detection.limits import Kind
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.strikes import StrikeBook
from xdpwall.model import Ban, Origin

NOW = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
RULES = BanRules(time_ms=10 * MINUTE, growth=2.0, time_max_ms=3 * HOUR, forget_ms=24 * HOUR, per_minute=0)


def source(number: int, rate: int = 500) -> Finding:
    """A finding on 0.0.0.number and so on."""
    return Finding(Scope.SOURCE, source_of(v4(number)), v4(number), Kind.SYN, rate, 100, 0)


def net(text: str, rate: int = 500) -> Finding:
    return Finding(Scope.PREFIX, prefix(text), 0, Kind.SYN, rate, 100, 0)


def policy(rules: BanRules = RULES, *spared: str, **bounds: int) -> BanPolicy:
    return BanPolicy(rules, spared=PrefixSet(prefix(text) for text in spared), **bounds)


def test_a_first_ban() -> None:
    (decision,) = policy().decide([source(1)], NOW).bans
    assert decision == Decision(source_of(v4(1)), 10 * MINUTE, 1, "syn 500/s over 100/s", source(1))
    assert decision.ban(NOW) == Ban(
        source_of(v4(1)), NOW, NOW + 10 * MINUTE, "syn 500/s over 100/s", Origin.AUTO, 1
    )


def test_repeat_offenders_stay_longer_up_to_a_cap() -> None:
    judge, now, lengths = policy(), NOW, []
    for strike in range(1, 8):
        (decision,) = judge.decide([source(1)], now).bans
        assert decision.strikes == strike
        assert decision.for_ms is not None
        lengths.append(decision.for_ms // MINUTE)
        now += decision.for_ms + 1
    assert lengths == [10, 20, 40, 80, 160, 180, 180]


def test_strikes_are_forgotten_after_a_quiet_time_that_begins_when_the_ban_ends() -> None:
    judge = policy()
    ends = NOW + 10 * MINUTE
    judge.decide([source(1), source(2)], NOW)
    assert judge.decide([source(1)], ends + 24 * HOUR).bans[0].strikes == 2
    assert judge.decide([source(2)], ends + 24 * HOUR + 1).bans[0].strikes == 1


def test_a_long_ban_does_not_forget_itself() -> None:
    judge = policy(replace(RULES, time_ms=48 * HOUR, time_max_ms=None))
    judge.decide([source(1)], NOW)
    assert judge.decide([source(1)], NOW + 48 * HOUR + 1).bans[0].strikes == 2


def test_a_pardon_and_an_early_end() -> None:
    judge = policy()
    judge.decide([source(1), source(2)], NOW)
    judge.pardon(source(1).prefix)
    judge.ban_ended(source(2).prefix, NOW + 1)
    judge.ban_ended(source(3).prefix, NOW + 1)
    assert judge.decide([source(1)], NOW + 2).bans[0].strikes == 1
    assert judge.decide([source(2)], NOW + 24 * HOUR + 2).bans[0].strikes == 1


def test_for_ever() -> None:
    assert (
        policy(replace(RULES, time_ms=None, time_max_ms=None)).decide([source(1)], NOW).bans[0].for_ms is None
    )
    assert policy(replace(RULES, time_ms=None)).decide([source(1)], NOW).bans[0].for_ms == 3 * HOUR
    judge = policy(replace(RULES, time_ms=None, time_max_ms=None))
    judge.decide([source(1)], NOW)
    assert judge.decide([source(1)], NOW + 10**15).bans[0].strikes == 2  # it never ended by itself


@given(st.integers(1, 10**6), st.floats(1, 1e6), st.integers(1, 10_000))
def test_length_is_capped_and_never_falls(strikes: int, growth: float, further: int) -> None:
    """No overflow either, however often somebody comes back."""
    rules = replace(RULES, growth=growth)
    first, second = rules.length_ms(strikes), rules.length_ms(strikes + further)
    assert first is not None
    assert second is not None
    assert 10 * MINUTE <= first <= second <= 3 * HOUR
    endless = replace(rules, time_max_ms=None).length_ms(strikes)
    assert endless is None or endless >= first


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 20_000), st.lists(st.integers(101, 10_000), max_size=15)), max_size=40),
)
def test_the_cap_is_never_exceeded(cap: int, steps: list[tuple[int, list[int]]]) -> None:
    """In any sixty seconds; and no finding is lost: each is banned, held, or given up."""
    judge = policy(replace(RULES, per_minute=cap))
    now, number, given_at, told, gone = NOW, 0, [], 0, 0
    for wait, rates in steps:
        now += wait
        findings = [source(number := number + 1, rate) for rate in rates]
        told += len(findings)
        decisions = judge.decide(findings, now)
        given_at += [now] * len(decisions.bans)
        gone += len(decisions.given_up)
        assert sum(at > now - MINUTE for at in given_at) <= cap
        assert len(given_at) + gone + decisions.held == told
        assert decisions.refused == []
        if decisions.held:
            assert sum(at > now - MINUTE for at in given_at) == cap


def test_the_worst_get_through_and_the_others_wait_their_turn() -> None:
    judge = policy(replace(RULES, per_minute=2))
    first = judge.decide([source(1, 200), source(2, 900), source(3, 400)], NOW)
    assert [d.finding for d in first.bans] == [source(2, 900), source(3, 400)]
    assert first.held == 1
    second = judge.decide([source(4, 150)], NOW + 30_000)
    assert (second.bans, second.held) == ([], 2)
    third = judge.decide([], NOW + MINUTE)
    assert [d.finding for d in third.bans] == [source(1, 200), source(4, 150)]
    assert third.held == 0


def test_who_waits_for_more_than_a_minute_is_given_up() -> None:
    judge = policy(replace(RULES, per_minute=1))
    judge.decide([source(1, 900), source(2)], NOW)
    judge.decide([source(3, 900)], NOW + MINUTE)
    decisions = judge.decide([], NOW + MINUTE + 1)
    assert (decisions.given_up, decisions.held) == ([source(2)], 0)


def test_the_queue_is_bounded_and_keeps_the_worst() -> None:
    judge = policy(replace(RULES, per_minute=1), max_held=3)
    decisions = judge.decide([source(number, 100 * number) for number in range(1, 11)], NOW)
    assert [d.finding for d in decisions.bans] == [source(10, 1_000)]
    assert {f.rate for f in decisions.given_up} == {100, 200, 300, 400, 500, 600}
    assert decisions.held == 3


def test_a_finding_that_waits_is_not_there_twice() -> None:
    judge = policy(replace(RULES, per_minute=1))
    judge.decide([source(1, 900)], NOW)
    judge.decide([source(2, 300)], NOW + 1)
    assert judge.decide([source(2, 400), source(2, 200)], NOW + 2).held == 1
    assert judge.decide([], NOW + MINUTE).bans[0].finding == source(2, 400)


def test_a_pardon_reaches_the_queue() -> None:
    judge = policy(replace(RULES, per_minute=1))
    judge.decide([source(1, 900), source(2)], NOW)
    judge.pardon(source(2).prefix)
    decisions = judge.decide([], NOW + MINUTE)
    assert (decisions.bans, decisions.held) == ([], 0)


def test_a_clock_that_jumps_back_does_not_stop_the_bans() -> None:
    judge = policy(replace(RULES, per_minute=1))
    judge.decide([source(1)], NOW)
    past = NOW - 24 * HOUR
    assert judge.decide([source(2)], past).held == 1
    assert len(judge.decide([], past + MINUTE).bans) == 1


def test_prefixes_come_first_and_cover_their_sources() -> None:
    found = [source(0xC0000201, 9_000), source(0xC6336401, 300), net("192.0.2.0/24", 200)]
    decisions = policy().decide(found, NOW)
    assert [str(d.prefix) for d in decisions.bans] == ["192.0.2.0/24", "198.51.100.1"]
    assert decisions.held == 0


def test_the_spared_are_refused() -> None:
    judge = policy(RULES, "192.0.2.7", "198.51.100.0/24", "2001:db8::1")
    found = [net("192.0.2.0/24"), source(0xC6336401), source(0xC0000208), net("2001:db8::/48")]
    decisions = judge.decide(found, NOW)
    assert [str(d.prefix) for d in decisions.bans] == ["192.0.2.8"]
    assert {str(r.prefix) for r in decisions.refused} == {"192.0.2.0/24", "198.51.100.1", "2001:db8::/48"}
    assert {r.why for r in decisions.refused} == {"allowlisted or protected"}


def test_what_is_spared_while_it_waits_is_refused_too() -> None:
    spared = PrefixSet()
    judge = BanPolicy(replace(RULES, per_minute=1), spared=spared)
    judge.decide([source(1, 900), source(2)], NOW)
    spared.add([source(2).prefix])
    decisions = judge.decide([], NOW + MINUTE)
    assert (decisions.bans, [r.finding for r in decisions.refused]) == ([], [source(2)])


def test_prefixes_that_are_too_wide_are_refused() -> None:
    judge = policy(replace(RULES, min_prefix_v4=25, min_prefix_v6=48))
    assert [r.why for r in judge.decide([net("192.0.2.0/24")], NOW).refused] == ["wider than /25"]
    assert len(judge.decide([net("2001:db8::/48")], NOW).bans) == 1
    assert judge.decide_prefix(prefix("2001:db8::/32"), "", NOW) == Refusal(
        prefix("2001:db8::/32"), "wider than /48", None
    )


def test_a_collapse_counts_in_the_minute_but_does_not_wait() -> None:
    judge = policy(replace(RULES, per_minute=1))
    judge.decide([source(1)], NOW)
    decision = judge.decide_prefix(prefix("192.0.2.0/24"), "40 banned sources within", NOW)
    assert isinstance(decision, Decision)
    assert (decision.strikes, decision.for_ms, decision.finding) == (1, 10 * MINUTE, None)
    assert judge.decide([source(2)], NOW + MINUTE - 1).held == 1
    assert len(judge.decide([], NOW + MINUTE).bans) == 1


def test_strikes_survive_a_restart() -> None:
    judge = policy()
    victim = source(1).prefix
    judge.recall(
        [
            Ban(victim, NOW - 3 * HOUR, NOW - 2 * HOUR, strikes=3),
            Ban(victim, NOW - 9 * HOUR, NOW - 8 * HOUR, strikes=1),
            Ban(source(2).prefix, NOW - 99 * HOUR, NOW - 98 * HOUR, strikes=5),
            Ban(source(3).prefix, NOW, None, strikes=2),
        ]
    )
    bans = judge.decide([source(1), source(2), source(3)], NOW).bans
    assert {d.prefix.packed[-1]: d.strikes for d in bans} == {1: 4, 2: 1, 3: 3}


def test_other_rules() -> None:
    judge = policy()
    judge.decide([source(1)], NOW)
    judge.set_rules(replace(RULES, time_ms=MINUTE, growth=3.0))
    assert judge.decide([source(1)], NOW + HOUR).bans[0].for_ms == 3 * MINUTE


@given(st.integers(1, 20), st.lists(st.integers(0, 40), max_size=120))
def test_the_strike_book_is_bounded(capacity: int, order: list[int]) -> None:
    """And keeps those whose bans ended last."""
    book = StrikeBook(capacity)
    for moment, number in enumerate(order):
        book.strike(source_of(v4(number)), 1, NOW + moment)
        assert len(book) <= capacity
        assert book.count(source_of(v4(number)), NOW, HOUR) == 1


@pytest.mark.parametrize(
    "bad",
    [{"growth": 0.5}, {"growth": float("nan")}, {"growth": float("inf")}, {"time_ms": 0}, {"time_max_ms": -1},
     {"forget_ms": -1}, {"per_minute": -1}],
)  # fmt: skip
def test_rules_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BanRules(**bad)
