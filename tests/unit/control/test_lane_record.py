# SPDX-License-Identifier: Apache-2.0
"""What the engine does about lanes: budgets, sockets, and the record that budgets are learned from."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.unit.control.conftest import Rig, config
from xdpwall.control import learned
from xdpwall.control.engine import Engine
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.sockets import Survey
from xdpwall.detection.levels import Observed
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

FLOW = Flow(6, bytes(4), 1, bytes(4), 2)


def live(rig: Rig, wall: FakeWall, seconds: int, pps: int, *, known: int = 0, banned: int = 0) -> None:
    for _ in range(seconds):
        rig.clock.advance_ms(1_000)
        wall.count_lane(Lane.UDP, pps + known, known=known, size=100)
        if banned:
            wall.count(Reason.BANNED_SOURCE, banned)
        rig.engine.tick()
        rig.engine.second()


def on_record(rig: Rig) -> dict[tuple[Lane, bool], Observed]:
    return rig.store.read(lambda database: database.work(lambda db: learned.read(db, 0))).result(10)


def test_quiet_seconds_reach_the_record(rig: Rig, wall: FakeWall) -> None:
    live(rig, wall, 200, 20)
    found = on_record(rig)
    assert set(found[Lane.UDP, True].pps.counts) == {20}
    assert 60 <= found[Lane.UDP, True].pps.total < 140
    assert found[Lane.UDP, True].bps.highest == 20 * 100 * 8
    assert not any(quiet is False for _, quiet in found)


def test_known_flows_ask_for_no_budget(rig: Rig, wall: FakeWall) -> None:
    live(rig, wall, 200, 3, known=5_000)
    assert on_record(rig)[Lane.UDP, True].pps.highest == 3


def test_an_attack_is_kept_apart(rig: Rig, wall: FakeWall) -> None:
    live(rig, wall, 100, 20)
    live(rig, wall, 5, 31, banned=50_000)
    live(rig, wall, 240, 20)
    found = on_record(rig)
    assert set(found[Lane.UDP, True].pps.counts) == {20}
    assert found[Lane.UDP, False].pps.highest == 31


def test_what_waits_is_kept_when_it_stops(rig: Rig, wall: FakeWall) -> None:
    live(rig, wall, 30, 20)
    rig.engine.close("test")
    assert 25 <= on_record(rig)[Lane.UDP, True].pps.total <= 30


def test_budgets_follow_the_config(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(lanes={"udp": {"pps": 7_000}})
    assert wall.budgets is not None
    assert wall.budgets[0].udp.pps == 7_000
    changed, needs_load = rig.engine.configure(config(lanes={"udp": {"pps": 9_000}}))
    assert wall.budgets[0].udp.pps == 9_000
    assert (changed, needs_load) == (["lanes.udp.pps"], [])


def test_the_engine_tells_of_sockets(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(started=False)
    looks = []

    def look(_: object) -> Survey:
        looks.append(1)
        return Survey({443}, {53}, {22}, [FLOW])

    rig.engine = Engine(
        rig.config,
        rig.known,
        rig.store,
        opener=rig.open,
        fingerprint=rig.fingerprint,
        clock=rig.clock,
        look=look,
    )
    rig.engine.start()
    for _ in range(200):
        rig.ticks()
        if wall.flows:
            break
        time.sleep(0.01)  # the look is a thread's
    assert wall.ports == (frozenset({443}), frozenset({53}), frozenset({22}))
    assert wall.flows == {FLOW: 1}
    count = len(looks)
    rig.engine.configure(config(lanes={"closed_ports": "never"}))
    for _ in range(200):
        rig.ticks()
        if len(looks) > count:
            break
        time.sleep(0.01)
    assert len(looks) > count
