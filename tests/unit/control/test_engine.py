# SPDX-License-Identifier: Apache-2.0
"""Attacks from the first packet to the ban's end, in ticks."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

from tests.unit.control.conftest import Rig, prefix
from xdpwall.clock import ManualClock
from xdpwall.dataplane.fake import FakeWall, default_info
from xdpwall.model import Origin
from xdpwall.reasons import Reason

BOT = "203.0.113.9"


def flood(wall: FakeWall, source: str = BOT, packets: int = 5_000, kind: str = "udp") -> Callable[[], None]:
    return lambda: wall.feed(source, packets, kind=kind)


def test_a_source_over_its_limit_is_banned_and_let_go(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(10, each=flood(wall))
    ban = rig.engine.book.get(prefix(BOT))
    assert ban is not None
    assert ban.origin is Origin.AUTO
    assert "over" in ban.reason
    assert wall.bans.dropping(prefix(BOT))
    assert rig.engine.state == "UNDER_ATTACK"
    rig.clock.advance_ms(rig.config.bans.time_ms)
    rig.ticks(2)
    assert rig.engine.book.get(prefix(BOT)) is None
    assert [event for event, what in rig.history() if what == BOT] == ["ban", "expire"]


def test_a_quiet_source_is_left_alone(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(100, each=lambda: wall.feed("198.51.100.7", 4, kind="syn"))
    assert len(rig.engine.book) == 0
    assert rig.engine.state != "UNDER_ATTACK"


def test_at_rest_the_meters_are_hardly_ever_copied(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(100)
    assert wall.snapshots <= 2  # the first baseline
    rig.ticks(100, each=lambda: wall.feed("198.51.100.7", 1))
    assert wall.snapshots <= 2 * 6  # a baseline of both tables every two seconds


def test_an_attack_after_a_long_rest_is_seen_at_once(rig: Rig, wall: FakeWall) -> None:
    rig.ticks(600, each=lambda: wall.feed("198.51.100.7", 1))
    rig.ticks(2, each=flood(wall, packets=20_000))
    assert rig.engine.book.get(prefix(BOT)) is not None


def test_an_allowlisted_source_is_never_banned(rig: Rig, wall: FakeWall) -> None:
    _, changes = rig.engine.desk.allow_add([BOT], "partner")
    rig.engine.commit(changes)
    rig.ticks(20, each=flood(wall))
    assert len(rig.engine.book) == 0


def test_a_protected_source_is_never_banned(rig: Rig, wall: FakeWall) -> None:
    rig.engine.set_addresses([prefix("192.0.2.1")], [BOT])
    rig.ticks(20, each=flood(wall))
    assert len(rig.engine.book) == 0
    assert wall.own == {prefix("192.0.2.1")}


def test_ban_time_grows_with_each_strike(rig: Rig, wall: FakeWall, clock: ManualClock) -> None:
    lengths = []
    for _ in range(3):
        rig.ticks(10, each=flood(wall))
        ban = rig.engine.book.get(prefix(BOT))
        assert ban is not None
        assert ban.expires_ms is not None
        lengths.append(ban.expires_ms - ban.created_ms)
        clock.advance_ms(lengths[-1])
        rig.ticks(1)
    assert lengths == [600_000, 1_200_000, 2_400_000]


def test_strikes_outlive_a_restart(make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock) -> None:
    rig = make_rig()
    rig.ticks(10, each=flood(wall))
    clock.advance_ms(rig.config.bans.time_ms)
    rig.ticks(1)
    rig = make_rig()
    rig.ticks(10, each=flood(wall))
    ban = rig.engine.book.get(prefix(BOT))
    assert ban is not None
    assert ban.strikes == 2


def test_many_bans_of_one_network_become_one(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(bans={"collapse_sources": 8}, limits={"prefix": {"udp": 0, "pps": 0}})
    rig.ban("203.0.113.200", reason="mine")
    bots = [f"203.0.113.{n}" for n in range(1, 9)]

    def attack() -> None:
        for bot in bots:
            wall.feed(bot, 9_000, kind="udp")

    rig.ticks(10, each=attack)
    assert rig.engine.book.get(prefix("203.0.113.0/24")) is not None
    assert all(rig.engine.book.get(prefix(bot)) is None for bot in bots)
    assert rig.engine.book.get(prefix("203.0.113.200")) is not None  # an operator's ban is not folded away
    assert {ban.prefix for ban in wall.bans.entries()} == {prefix("203.0.113.0/24"), prefix("203.0.113.200")}
    assert ("collapse", "203.0.113.0/24") in rig.history()


def test_a_full_kernel_is_told_and_tried_again(rig: Rig, wall: FakeWall) -> None:
    wall.bans.fail_errno = errno.ENOSPC
    rig.ticks(20, each=flood(wall))
    assert len(rig.engine.book) == 0
    wall.bans.fail_errno = 0
    rig.ticks(20, each=flood(wall))
    assert rig.engine.book.get(prefix(BOT)) is not None


def test_a_broken_disk_does_not_stop_a_ban(rig: Rig, wall: FakeWall) -> None:
    rig.settle()
    broken = rig.store.read(lambda database: database._db.execute("DROP TABLE bans"))
    broken.result(10)
    rig.ticks(10, each=flood(wall))
    assert wall.bans.dropping(prefix(BOT))
    with contextlib.suppress(Exception):  # whether this one transaction fails is not the point
        rig.settle()
    rig.engine.second()
    assert rig.store.errors
    rig.engine.second()
    assert any("state database" in problem for problem in rig.engine.health.problems)


def test_the_clock_is_set_and_bans_last_as_long_as_was_said(
    make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock
) -> None:
    rig = make_rig()
    rig.ban(BOT, for_ms=60_000)
    clock.jump_wall_ms(86_400_000)
    rig.ticks(1)
    rig.settle()
    kept = rig.engine.book.get(prefix(BOT))
    assert kept is not None
    assert kept.remaining_ms(clock.wall_ms()) == 59_900
    assert make_rig().engine.book.get(prefix(BOT)) == kept  # and the disk knows
    clock.advance_ms(60_000)
    rig.ticks(1)
    assert not wall.bans.dropping(prefix(BOT))


def test_a_wall_loaded_anew_gets_everything_back(rig: Rig, wall: FakeWall) -> None:
    rig.ban(BOT, "198.51.100.0/24")
    rig.wall = FakeWall(rig.clock, default_info(loaded_ms=1))
    rig.generation += 1
    rig.engine.second()
    assert wall.closed
    rig.ticks(3)
    assert {ban.prefix for ban in rig.wall.bans.entries()} == {prefix(BOT), prefix("198.51.100.0/24")}
    assert ("load", None) in rig.history()


def test_unloaded_under_the_controller(rig: Rig) -> None:
    rig.wall = None
    rig.generation += 1
    rig.engine.second()
    rig.ticks(3)
    assert rig.engine.state == "DEGRADED"
    assert "no wall is loaded" in rig.engine.health.problems[0]
    assert rig.ban(BOT)["warnings"]
    rig.wall = FakeWall(rig.clock)
    rig.engine.second()
    rig.ticks(3)
    assert rig.wall.bans.dropping(prefix(BOT))
    assert not [text for text in rig.engine.health.problems if "no wall" in text]


def test_an_interface_vanishes_and_comes_back(rig: Rig, wall: FakeWall) -> None:
    wall.vanish()
    rig.engine.second()
    assert any("missing" in text for text in rig.engine.health.problems)
    wall.come_back(ifindex=12)
    rig.engine.second()
    assert wall.states["eth9"].attached
    rig.engine.second()
    assert not any("eth9" in text for text in rig.engine.health.problems)


def test_a_foreign_program_is_told_not_replaced(rig: Rig, wall: FakeWall) -> None:
    wall.vanish()
    rig.engine.second()
    wall.foreign.add("eth9")
    wall.come_back(ifindex=12)
    rig.engine.second()
    assert any("another XDP program" in text for text in rig.engine.health.problems)


def test_a_bare_interface_is_given_a_second_before_it_is_taken(rig: Rig, wall: FakeWall) -> None:
    wall.come_back(ifindex=9)  # somebody detached it: an unload in the middle of its work looks the same
    rig.engine.second()
    assert not wall.states["eth9"].attached
    rig.engine.second()
    assert wall.states["eth9"].attached


def test_counters_that_begin_anew_are_no_attack(rig: Rig, wall: FakeWall) -> None:
    wall.count(Reason.PASS, 10_000_000)
    rig.ticks(5)
    wall._counts["eth9"].clear()
    wall.forget_meters()
    rig.ticks(5)
    assert rig.engine.traffic.rates("enforce")["pps"] == 0
    assert len(rig.engine.book) == 0


def test_reload_changes_limits_and_says_what_needs_a_load(rig: Rig, wall: FakeWall) -> None:
    from tests.unit.control.conftest import config

    changed, needs_load = rig.engine.configure(
        config(
            policy="observe",
            allow={"prefixes": ["192.0.2.0/24"]},
            bans={"time": "1m"},
            meters={"enabled": False},
        )
    )
    assert needs_load == ["meters.enabled", "policy"]
    assert set(changed) == {"policy", "allow.prefixes", "bans.time", "meters.enabled"}
    assert list(wall.allow.entries()) == [prefix("192.0.2.0/24")]
    assert rig.engine.desk.ban_time_ms == 60_000
    rig.engine.configure(config())
    assert list(wall.allow.entries()) == []


def test_observe_is_said(clock: ManualClock, make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(started=False)
    rig.wall = FakeWall(clock, default_info(policy="observe", config_digest=rig.config.dataplane_digest()))
    rig.engine.start()
    rig.engine.second()
    assert rig.engine.state == "OBSERVE"
    assert rig.engine.health.problems == []
