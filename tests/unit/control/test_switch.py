# SPDX-License-Identifier: Apache-2.0
"""The controller follows the switch: says so, keeps the record, ends what has an end; and learns nothing meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.control.conftest import Rig
from tests.unit.control.test_incidents import quiet, seconds, syn_flood
from xdpwall.control import switch, switch_verbs, views
from xdpwall.control.views import off_result
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import OffState

SECOND_NS = 1_000_000_000


def state(rig: Rig) -> str:
    """What people are shown."""
    return rig.engine.state


def is_off(wall: FakeWall) -> bool:
    """Whether the kernel passes everything."""
    return wall.turned_off is not None


def off(rig: Rig, seconds: int | None = None, reason: str = "a trial") -> OffState:
    now = rig.clock.wall_ms()
    until = None if seconds is None else now + seconds * 1000
    mono = None if seconds is None else rig.clock.mono_ns() + seconds * SECOND_NS
    return OffState(now, until, mono, "alice (root)", reason)


def events(rig: Rig) -> list[str]:
    rig.settle()
    return [event for event, _ in rig.history() if event in ("off", "on")]


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    made = make_rig()
    made.engine.second()
    return made


def test_it_is_told_loudly_and_written_down_once(rig: Rig, wall: FakeWall) -> None:
    wall.turned_off = off(rig)
    for _ in range(3):
        rig.engine.second()
    assert state(rig) == "OFF"
    (problem,) = [text for text in rig.engine.health.problems if "OFF" in text]
    assert "by alice (root) (a trial)" in problem
    assert "`xdpwall on`" in problem
    wall.turned_off = None
    rig.engine.second()
    assert state(rig) != "OFF"
    assert not [text for text in rig.engine.health.problems if "OFF" in text]
    assert events(rig) == ["off", "on"]


def test_another_end_is_another_line(rig: Rig, wall: FakeWall) -> None:
    wall.turned_off = off(rig)
    rig.engine.second()
    wall.turned_off = off(rig, 60)
    rig.engine.second()
    assert events(rig) == ["off", "off"]
    assert "until" in "".join(rig.engine.health.problems)


def test_it_ends_by_itself(rig: Rig, wall: FakeWall) -> None:
    wall.turned_off = off(rig, 5)
    rig.engine.second()
    rig.clock.advance_ms(4_900)
    rig.engine.second()
    assert state(rig) == "OFF"
    rig.clock.advance_ms(200)
    rig.engine.second()
    assert not is_off(wall), "the wall itself is back in its place"
    assert state(rig) != "OFF"
    assert events(rig) == ["off", "on"]


def test_the_wall_clock_does_not_end_it(rig: Rig, wall: FakeWall) -> None:
    wall.turned_off = off(rig, 60)
    rig.clock.jump_wall_ms(3_600_000)
    rig.engine.second()
    assert state(rig) == "OFF"


def test_a_controller_that_begins_anew_finds_it_so(
    make_rig: Callable[..., Rig], rig: Rig, wall: FakeWall
) -> None:
    wall.turned_off = off(rig)
    rig.engine.second()
    second = make_rig()
    second.engine.second()
    assert second.engine.state == "OFF"
    assert events(second) == ["off"], "not told twice"
    wall.turned_off = None
    second.engine.second()
    assert events(second) == ["off", "on"]


def test_one_that_ended_while_nobody_looked_is_told(
    make_rig: Callable[..., Rig], rig: Rig, wall: FakeWall
) -> None:
    wall.turned_off = off(rig, 5)
    rig.clock.advance_ms(10_000)
    second = make_rig()
    second.engine.second()
    assert not is_off(wall)
    assert events(second) == ["on"]


def test_an_open_incident_does_not_end_while_nothing_is_counted(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 30, quiet(wall))
    seconds(rig, 10, syn_flood(wall))
    assert rig.engine.incidents.open
    wall.turned_off = off(rig)
    seconds(rig, 600)
    assert rig.engine.incidents.open, "silence is not peace"
    record = rig.engine.incidents.current
    assert record is not None
    assert "off" in [action.what for action in record.actions]
    wall.turned_off = None
    seconds(rig, 200, quiet(wall))
    assert not rig.engine.incidents.open


def test_status_says_who_and_since_when(rig: Rig, wall: FakeWall) -> None:
    wall.turned_off = off(rig, 60)
    moment = views.Moment.of(wall, rig.clock)
    assert moment.off == {
        "since_ms": wall.turned_off.since_ms,
        "until_ms": wall.turned_off.until_ms,
        "by": "alice (root)",
        "reason": "a trial",
    }
    assert off_result(wall.turned_off, rig.clock.mono_ns() + 60 * SECOND_NS) is None
    assert off_result(None, 0) is None


def test_who() -> None:
    assert switch_verbs.who({"SUDO_USER": "alice"}).startswith("alice (")
    assert switch_verbs.who({}) == switch_verbs.who({"SUDO_USER": switch_verbs.who({})})


def test_detail() -> None:
    assert switch.detail(OffState(1_000, 61_000, 1, "alice", "why")) == "by alice, for 1m, why"
    assert switch.detail(OffState(1_000)) == ""
