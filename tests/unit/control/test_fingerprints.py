# SPDX-License-Identifier: Apache-2.0
"""The life of rules, on a wall in memory: made within half a second, prolonged, withdrawn, left to lapse."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.control.conftest import Rig, config
from tests.unit.detection import packets
from tests.unit.detection.packets import Make, many
from xdpwall.control import rulebook
from xdpwall.control.fingerprints import BLOCKED_MS, STILL_MATCHES
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.rule_map import HeldRule
from xdpwall.errors import NotFoundError
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

A_TICK = 60
"""Samples of dropped packets that a flood leaves in a tick."""


def attack(
    wall: FakeWall, make: Make = packets.ntp, lane: Lane = Lane.UDP, count: int = A_TICK
) -> Callable[[], None]:
    """What each tick of a flood leaves; other packets each time."""
    seeds = iter(range(1, 100_000))
    return lambda: wall.sampled.extend(many(make, count, lane, seed=next(seeds)))


def rules(wall: FakeWall) -> list[Any]:
    return wall.rules.entries()


def events(rig: Rig) -> list[str]:
    return [event for event, _ in rig.history() if event.startswith("rule")]


def details(rig: Rig) -> list[str]:
    rows = rig.store.read(lambda database: database.history(1_000)).result(10)
    return [row[4] for row in reversed(rows) if row[1].startswith("rule")]


def test_a_flood_has_a_rule_within_half_a_second(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(5, each=attack(wall))
    (held,) = rules(wall)
    assert held.rule.pattern.lane is Lane.UDP
    assert held.rule.cover >= 0.95
    assert not held.rule.observe
    assert 0 < held.remaining_ms <= rig.config.fingerprints.time_ms
    assert events(rig) == ["rule"]
    assert "udp from port 123" in details(rig)[0]


def test_the_rule_is_made_once(rig: Rig, wall: FakeWall) -> None:
    """Samples of before it stood, and what an observing rule leaves to the budget, make no second one."""
    rig.ticks(40, each=attack(wall))
    assert len(rules(wall)) == 1


def test_what_a_rule_leaves_may_have_one_of_its_own(rig: Rig, wall: FakeWall) -> None:
    first, second = attack(wall), attack(wall, packets.memcached)
    rig.ticks(5, each=first)
    rig.ticks(20, each=second)
    assert len(rules(wall)) == 2


def test_quiet_packets_are_no_attack(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(50, each=lambda: wall.sampled.extend(many(packets.ntp, 60, Lane.UDP, Reason.PASS)))
    assert rules(wall) == []


def test_what_passed_in_quiet_times_is_spared(rig: Rig, wall: FakeWall) -> None:
    """Clients of a game ask what the attack asks: with them known, no rule."""
    calm = iter(range(1, 1_000))
    rig.ticks(
        60,
        each=lambda: wall.sampled.extend(many(packets.game_query, 5, Lane.UDP, Reason.PASS, seed=next(calm))),
    )
    rig.ticks(20, each=attack(wall, packets.game_query))
    assert rules(wall) == []


def test_an_attacks_first_packets_are_not_taken_for_good(rig: Rig, wall: FakeWall) -> None:
    """They pass, for there is budget left; the drops come a moment later."""
    first = iter(range(1, 1_000))
    rig.ticks(
        10, each=lambda: wall.sampled.extend(many(packets.ntp, 30, Lane.UDP, Reason.PASS, seed=next(first)))
    )
    rig.ticks(10, each=attack(wall))
    assert len(rules(wall)) == 1


def test_a_rule_lives_as_long_as_it_matches(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(fingerprints={"time": "10s"})
    rig.ticks(5, each=attack(wall))
    ident = rules(wall)[0].rule.id
    rig.ticks(300, each=lambda: wall.rules.count(ident, STILL_MATCHES))
    assert [held.rule.id for held in rules(wall)] == [ident]
    rig.ticks(120)
    assert rules(wall) == []
    assert events(rig) == ["rule", "rule_end"]
    assert "lapsed" in details(rig)[-1]


@pytest.mark.parametrize("how", ["samples", "kernel"])
def test_a_rule_that_harms_is_withdrawn_and_stays_away(rig: Rig, wall: FakeWall, how: str) -> None:
    rig.ticks(5, each=attack(wall))
    ident = rules(wall)[0].rule.id
    if how == "kernel":
        wall.rules.count(ident, 1_000, proven=200)
    else:
        wall.sampled += many(packets.ntp, 5, Lane.UDP, Reason.PASS_PROVEN)
    rig.ticks(11)
    assert rules(wall) == []
    assert "withdrawn" in details(rig)[-1]
    if how == "kernel":  # nothing but the count says so; the samples of the attack are as they were
        rig.ticks(30, each=attack(wall))
        assert rules(wall) == []
        rig.clock.advance_ms(BLOCKED_MS)
        rig.ticks(30, each=attack(wall))
        assert len(rules(wall)) == 1


def test_a_few_proven_packets_are_no_harm(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(5, each=attack(wall))
    wall.rules.count(rules(wall)[0].rule.id, 1_000_000, proven=200)
    rig.ticks(30)
    assert len(rules(wall)) == 1


def test_observe_makes_rules_that_only_count(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(fingerprints={"policy": "observe"})
    rig.ticks(30, each=attack(wall))
    (held,) = rules(wall)
    assert held.rule.observe
    assert "only observes" in details(rig)[0]


def test_off_makes_none(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(fingerprints={"policy": "off"})
    rig.ticks(30, each=attack(wall))
    assert rules(wall) == []


def test_turned_off_takes_back_what_stands(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(5, each=attack(wall))
    rig.engine.configure(config(fingerprints={"policy": "off"}))
    rig.ticks(11)
    assert rules(wall) == []
    assert "off" in details(rig)[-1]


def test_a_lane_full_of_rules_is_told_and_nothing_breaks(
    rig: Rig, wall: FakeWall, caplog: pytest.LogCaptureFixture
) -> None:
    wall.rules.fail_errno = errno.ENOSPC
    rig.ticks(20, each=attack(wall))
    assert rules(wall) == []
    assert "no room for another rule in lane udp" in caplog.text
    wall.rules.fail_errno = errno.EIO
    rig.ticks(60, each=attack(wall))
    assert "rule in the fake wall" in caplog.text
    wall.rules.fail_errno = 0
    rig.ticks(60, each=attack(wall))
    assert len(rules(wall)) == 1


def test_the_next_controller_goes_on_with_the_rules(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(fingerprints={"time": "10s"})
    rig.ticks(5, each=attack(wall))
    ident = rules(wall)[0].rule.id
    rig = make_rig(fingerprints={"time": "10s"})
    rig.ticks(300, each=lambda: wall.rules.count(ident, STILL_MATCHES))
    assert [held.rule.id for held in rules(wall)] == [ident]
    wall.rules.count(ident, 1_000, proven=900)
    rig.ticks(11)
    assert rules(wall) == []


def test_at_rest_nothing_is_asked(rig: Rig, wall: FakeWall, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    entries = wall.rules.entries

    def counted() -> list[HeldRule]:
        asked.append(1)
        return entries()

    monkeypatch.setattr(wall.rules, "entries", counted)
    rig.ticks(100)
    assert len(asked) <= 2 * 11  # the upkeep of each second


# --- what people ask ---


def ask(rig: Rig, wall: FakeWall, op: str, ident: int) -> dict[str, Any]:
    result, rule, changes = rulebook.change(wall.rules, op, ident, rig.clock.wall_ms())
    if op == "rules.del":
        rig.engine.fingerprints.removed(rule, rig.clock.mono_ns())
    rig.engine.commit(changes).result(10)
    return dict(result)


def test_people_see_what_was_measured(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(5, each=attack(wall))
    ident = rules(wall)[0].rule.id
    wall.rules.count(ident, 5_000, proven=3)
    rig.ticks(10)
    (row,) = rulebook.list_rules(
        rules(wall), rig.clock.wall_ms(), rig.engine.fingerprints.collateral, rig.engine.fingerprints.rates
    )["rules"]
    assert row["policy"] == "enforce"
    assert (row["packets"], row["proven_packets"], row["pps"]) == (5_000, 3, 5_000)
    assert row["cover"] >= 0.95
    assert (row["collateral"], row["good"]) == (0.0, 0)
    assert "udp from port 123" in row["text"]
    assert row["expires_ms"] == rig.clock.wall_ms() + row["remaining_ms"]


def test_observe_enforce_and_delete(rig: Rig, wall: FakeWall) -> None:
    flood = attack(wall)
    rig.ticks(5, each=flood)
    ident = rules(wall)[0].rule.id
    assert ask(rig, wall, "rules.observe", ident)["policy"] == "observe"
    assert rules(wall)[0].rule.observe
    assert ask(rig, wall, "rules.enforce", ident)["policy"] == "enforce"
    assert not rules(wall)[0].rule.observe
    assert ask(rig, wall, "rules.del", ident)["policy"] is None
    rig.ticks(30, each=flood)
    assert rules(wall) == []  # it does not come back the next moment
    assert events(rig) == ["rule", "rule", "rule", "rule_end"]
    with pytest.raises(NotFoundError) as missing:
        ask(rig, wall, "rules.del", ident)
    assert "xdpwall rules" in (missing.value.hint or "")
