# SPDX-License-Identifier: Apache-2.0
"""The kernel is held to the record, whatever happened to either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.control.conftest import Rig, prefix
from xdpwall.clock import ManualClock
from xdpwall.control.reconcile import DRIFT_MS
from xdpwall.dataplane.fake import FakeWall
from xdpwall.model import Origin

A, B, C = prefix("203.0.113.1"), prefix("203.0.113.2"), prefix("198.51.100.0/24")


def scan(rig: Rig) -> None:
    """Long enough for a whole comparison."""
    rig.ticks(rig.config.tick.reconcile_ms // 100 + 10)


def test_what_was_lifted_behind_our_back_is_put_back(rig: Rig, wall: FakeWall) -> None:
    rig.ban(str(A), str(C))
    wall.bans.remove_many([A, C])
    scan(rig)
    assert {ban.prefix for ban in wall.bans.entries()} == {A, C}
    assert ("repair", None) in rig.history()


def test_what_was_banned_behind_our_back_is_lifted(rig: Rig, wall: FakeWall) -> None:
    wall.bans.put(B, 600_000)
    scan(rig)
    assert list(wall.bans.entries()) == []


def test_an_end_that_is_off_is_corrected(rig: Rig, wall: FakeWall, clock: ManualClock) -> None:
    rig.ban(str(A), for_ms=600_000)
    rig.ban(str(B), for_ms=None)
    wall.bans.put(A, None)
    wall.bans.put(B, 5_000)
    scan(rig)
    a, b = wall.bans.get(A), wall.bans.get(B)
    assert a is not None
    assert b is not None
    assert b.remaining_ms is None
    left = rig.engine.desk.ban_test(str(A))["ban"]
    assert left is not None
    assert left["remaining_ms"] == a.remaining_ms


def test_a_small_difference_is_the_kernels_rounding(rig: Rig, wall: FakeWall) -> None:
    rig.ban(str(A), for_ms=600_000)
    wall.bans.put(A, 600_000 + DRIFT_MS - 100)
    writes = wall.bans.writes
    scan(rig)
    assert wall.bans.writes == writes


def test_the_allowlist_is_held_too(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(allow={"prefixes": ["192.0.2.0/24"]})
    wall.allow.remove(prefix("192.0.2.0/24"))
    wall.allow.put(prefix("0.0.0.0/0"))
    scan(rig)
    assert list(wall.allow.entries()) == [prefix("192.0.2.0/24")]


def test_at_start_bans_that_nobody_knows_are_taken_over(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    wall.bans.put(A, 60_000)
    wall.bans.put(B, None)
    wall.bans.put(prefix("192.0.2.9"), None)
    rig = make_rig(allow={"prefixes": ["192.0.2.0/24"]})
    ban = rig.engine.book.get(A)
    assert ban is not None
    assert ban.origin is Origin.KERNEL
    assert ban.remaining_ms(rig.clock.wall_ms()) == 60_000
    assert {held.prefix for held in wall.bans.entries()} == {A, B}  # the allowlisted one is not
    assert ("adopt", str(A)) in rig.history()


def test_after_a_restart_everything_stands_as_before(
    make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock
) -> None:
    rig = make_rig()
    rig.ban(str(A), for_ms=60_000, reason="first")
    rig.ban(str(B), for_ms=None)
    rig.ban(str(C), for_ms=1_000)
    rig.engine.desk.allow_add(["192.0.2.0/24"], "partner")
    wall.bans.count_drop(A, 7, 700)
    _, changes = rig.engine.desk.allow_add(["192.0.2.9"], "partner")
    rig.engine.commit(changes)
    rig.settle()
    clock.advance_ms(10_000)  # nobody looks meanwhile
    rig = make_rig()
    ban = rig.engine.book.get(A)
    assert ban is not None
    assert (ban.reason, ban.remaining_ms(clock.wall_ms())) == ("first", 50_000)
    assert rig.engine.book.get(B) is not None
    assert rig.engine.book.get(C) is None
    assert rig.engine.guard.allowed_by(prefix("192.0.2.9")) is not None
    held = wall.bans.get(A)
    assert held is not None
    assert held.packets == 7
    assert ("expire", str(C)) in rig.history()


def test_after_a_reboot_the_record_fills_the_new_wall(
    make_rig: Callable[..., Rig], clock: ManualClock
) -> None:
    rig = make_rig()
    rig.ban(*(f"203.0.{n // 250}.{n % 250 + 1}" for n in range(7_000)))
    rig = make_rig(started=False)
    rig.wall = FakeWall(clock)
    mended = rig.engine.start()
    assert mended.put_back == 7_000
    assert len(rig.wall.bans) == 7_000


def test_thousands_are_compared_a_piece_at_a_time(rig: Rig, wall: FakeWall) -> None:
    bots = [f"203.0.{n // 250}.{n % 250 + 1}" for n in range(3_000)]
    rig.ban(*bots)
    wall.bans.remove_many([prefix(bot) for bot in bots[::2]])
    scan(rig)
    assert len(wall.bans) == 3_000


def test_a_kernel_that_cannot_be_written_is_told(rig: Rig, wall: FakeWall) -> None:
    rig.ban(str(A))
    wall.bans.remove(A)
    wall.bans.fail_errno = 1
    scan(rig)
    assert any("not taken" in what or "repair" in what for what, _ in rig.history())
    wall.bans.fail_errno = 0
    scan(rig)
    assert wall.bans.get(A) is not None


def test_a_flush_in_mid_comparison_is_no_drift(
    rig: Rig, wall: FakeWall, caplog: pytest.LogCaptureFixture
) -> None:
    rig.ban(*(f"203.0.{n // 250}.{n % 250 + 1}" for n in range(3_000)))
    rig.ticks(rig.config.tick.reconcile_ms // 100 + 1)  # the comparison has just begun
    _, changes = rig.engine.desk.ban_flush()
    rig.engine.commit(changes)
    rig.ticks(20)
    assert len(wall.bans) == 0
    assert "unknown" not in caplog.text
    assert not any(event == "repair" for event, _ in rig.history())
