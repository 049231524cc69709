# SPDX-License-Identifier: Apache-2.0
"""The face of the rules, held against the real table and the one in memory that control is tested on."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.bpf.scene import Probe
from xdpwall.clock import ManualClock
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.rule_map import RuleMap
from xdpwall.errors import KernelError
from xdpwall.fingerprint import SIZE, TTL, Pattern, Rule
from xdpwall.lanes import Lane

ROUNDING_MS = 600
"""The kernel's ends are whole steps of 64 jiffies, rounded up."""


@dataclass
class Place:
    """A rule map, and how to let time pass on it."""

    rules: RuleMap
    wait: Callable[[int], None]


@pytest.fixture(params=["real", "fake"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        clock = ManualClock()
        yield Place(FakeWall(clock).rules, clock.advance_ms)
        return
    probe: Probe = request.getfixturevalue("lists")
    probe.wall.rules.clear()
    yield Place(probe.wall.rules, lambda milliseconds: time.sleep(milliseconds / 1000))
    probe.wall.rules.clear()


def pattern(lane: Lane = Lane.UDP, ttl: int = 64) -> Pattern:
    mask, value = bytearray(SIZE), bytearray(SIZE)
    mask[TTL], value[TTL] = 0xFF, ttl
    return Pattern(lane, bytes(mask), bytes(value), length=(28, 1500), source_port=(0, 1023))


def test_rules_come_and_go(place: Place) -> None:
    rules = place.rules
    assert rules.entries() == []
    made = [
        Rule(rules.next_id(), pattern(lane), lane is Lane.UDP, 1_700_000_000_000, 0.5, 0.25, 60, 8)
        for lane in (Lane.SYN, Lane.UDP, Lane.OTHER)
    ]
    for rule in made:
        rules.put(rule, 60_000)
    held = rules.entries()
    assert [one.rule for one in held] == made
    assert all(59_000 < one.remaining_ms <= 60_000 + ROUNDING_MS for one in held)
    assert {(one.matched, one.proven) for one in held} == {(Count(), Count())}
    assert rules.remove(made[1].id)
    assert not rules.remove(made[1].id)
    assert [one.rule.id for one in rules.entries()] == [made[0].id, made[2].id]
    assert rules.clear() == 2
    assert rules.clear() == 0


def test_numbers_are_never_given_twice(place: Place) -> None:
    first = place.rules.next_id()
    place.rules.put(Rule(first, pattern()), 60_000)
    place.rules.clear()
    assert place.rules.next_id() > first >= 1


def test_a_rule_is_changed_in_place(place: Place) -> None:
    rules = place.rules
    rule = Rule(rules.next_id(), pattern())
    rules.put(rule, 60_000)
    assert rules.observe(rule.id, True)
    assert rules.entries()[0].rule.observe
    assert rules.observe(rule.id, False)
    assert rules.entries()[0].rule == rule
    assert rules.prolong(rule.id, 600_000)
    assert rules.entries()[0].remaining_ms > 590_000
    assert not rules.observe(rule.id + 1, True)
    assert not rules.prolong(rule.id + 1, 1_000)


def test_a_lane_holds_eight(place: Place) -> None:
    rules = place.rules
    for ttl in range(8):
        rules.put(Rule(rules.next_id(), pattern(ttl=ttl)), 60_000)
    with pytest.raises(KernelError) as full:
        rules.put(Rule(rules.next_id(), pattern(ttl=8)), 60_000)
    assert full.value.errno == errno.ENOSPC
    rules.put(Rule(rules.next_id(), pattern(Lane.SYN)), 60_000)
    rules.remove(rules.entries()[3].rule.id)
    rules.put(Rule(rules.next_id(), pattern(ttl=8)), 60_000)
    assert len(rules.entries()) == 9


def test_one_that_lapsed_is_gone(place: Place) -> None:
    rules = place.rules
    rule = Rule(rules.next_id(), pattern())
    rules.put(rule, 200)
    assert rules.entries()
    place.wait(200 + 2 * ROUNDING_MS)
    assert rules.entries() == []
    assert not rules.prolong(rule.id, 60_000)
    assert not rules.observe(rule.id, True)
    assert not rules.remove(rule.id)
