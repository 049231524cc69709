# SPDX-License-Identifier: Apache-2.0
"""Incidents through the engine: from the first packet to the record, over restarts and pulses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.control.conftest import Rig
from xdpwall.clock import ManualClock
from xdpwall.control import incident_ops
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import WatchEvent
from xdpwall.incident.model import Incident
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

BACKGROUND = 3
DAY_MS = 86_400_000


def seconds(rig: Rig, count: float, each: Callable[[], None] | None = None, *, step_ms: int = 100) -> None:
    """Live through so many seconds; ``each`` is called before each tick."""
    for number in range(round(count * 1000 / step_ms)):
        rig.clock.advance_ms(step_ms)
        if each is not None:
            each()
        rig.engine.tick()
        if step_ms >= 1000 or number % (1000 // step_ms) == 1000 // step_ms - 1:
            rig.engine.second()


def quiet(wall: FakeWall) -> Callable[[], None]:
    def step() -> None:
        wall.count(Reason.PASS, BACKGROUND, BACKGROUND * 100)
        wall.count_lane(Lane.TCP, BACKGROUND)

    return step


def syn_flood(wall: FakeWall, packets: int = 20_000) -> Callable[[], None]:
    """Of 20,000 SYNs a tick 40 get within the budget."""

    def step() -> None:
        quiet(wall)()
        wall.count(Reason.PASS, 40, 40 * 60)
        wall.count(Reason.LANE_SYN, packets - 40, (packets - 40) * 60)
        wall.count_lane(Lane.SYN, packets, over=packets - 40, dropped=packets - 40)

    return step


def listed(rig: Rig) -> list[dict[str, Any]]:
    """Incidents on record, oldest first."""
    found = rig.store.read(
        lambda database: incident_ops.answer(database, "incident.list", {"limit": 100, "since_ms": 0})
    ).result(10)
    return list(reversed(found["incidents"]))


def shown(rig: Rig, name: str = "last") -> Incident:
    found = rig.store.read(lambda database: incident_ops.answer(database, "incident.show", {"id": name}))
    return Incident.from_json(found.result(10)["incident"])


def test_a_quiet_hour_is_no_incident(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 3600, quiet(wall), step_ms=1000)
    assert listed(rig) == []
    assert rig.engine.state != "UNDER_ATTACK"


def test_an_attack_is_one_incident_with_its_totals(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 30, quiet(wall))
    seconds(rig, 10, syn_flood(wall))
    assert rig.engine.incidents.is_on(1)
    opened = shown(rig)
    assert opened.state == "open"
    assert opened.ledger.first_packet_ms is not None
    assert opened.ledger.incident_ms is not None
    assert opened.ledger.incident_ms - opened.ledger.first_packet_ms <= 400
    seconds(rig, 40, quiet(wall))
    assert not rig.engine.incidents.is_on(30)
    assert shown(rig).state == "open"
    seconds(rig, 100, quiet(wall))
    record = shown(rig)
    assert record.state == "closed"
    assert len(listed(rig)) == 1
    assert record.totals.packets == pytest.approx(2_000_000, rel=0.001)
    assert record.totals.dropped_packets == 19_960 * 100
    assert record.totals.dropped_by_reason == {"lane_syn": 19_960 * 100}
    assert record.peak_pps == pytest.approx(200_000, rel=0.01)
    assert record.severity >= 400
    assert record.vectors[0].name == "SYN flood"
    assert record.vectors[0].packets == pytest.approx(2_000_000, rel=0.01)
    assert record.ended_ms is not None
    assert record.ended_ms - record.first_packet_ms == pytest.approx(10_000, abs=200)
    assert record.timeline[0].at_ms < record.first_packet_ms
    assert max(point.dropped_pps for point in record.timeline) == pytest.approx(199_600, rel=0.01)
    assert record.verdict


def test_a_short_burst_below_the_floor_is_none(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 30, quiet(wall))
    seconds(rig, 0.1, syn_flood(wall, 60))
    seconds(rig, 30, quiet(wall))
    assert listed(rig) == []


def test_two_pulses_are_one_incident(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 5, quiet(wall))
    for _ in range(2):
        seconds(rig, 5, syn_flood(wall))
        seconds(rig, 30, quiet(wall))
    seconds(rig, 120, quiet(wall))
    assert len(listed(rig)) == 1
    record = shown(rig)
    assert len(record.bursts) == 2
    assert record.totals.dropped_packets == 19_960 * 100


def test_what_comes_back_soon_after_the_end_opens_the_same_again(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 5, quiet(wall))
    for _ in range(2):
        seconds(rig, 5, syn_flood(wall))
        seconds(rig, 200, quiet(wall))
    assert len(listed(rig)) == 1
    record = shown(rig)
    assert record.state == "closed"
    assert record.totals.packets == pytest.approx(2_000_000, rel=0.001)  # the quiet in between does not count
    assert "reopened" in [action.what for action in record.actions]


def test_a_day_later_is_another_one_that_is_linked(rig: Rig, wall: FakeWall) -> None:
    for _ in range(2):
        seconds(rig, 5, quiet(wall))
        seconds(rig, 5, syn_flood(wall))
        seconds(rig, 200, quiet(wall))
        seconds(rig, DAY_MS // 1000, step_ms=600_000)
    first, second = listed(rig)
    assert second["linked"] == [first["id"]]
    assert first["linked"] == []
    assert first["key"] != second["key"]


def test_a_killed_controller_misses_nothing(
    make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock
) -> None:
    rig = make_rig()
    seconds(rig, 30, quiet(wall))
    seconds(rig, 5, syn_flood(wall))
    rig.settle()  # what was written within the last second is on disk; nothing is closed
    flood = syn_flood(wall)
    for _ in range(30):  # three seconds with nobody there
        clock.advance_ms(100)
        flood()
    rig = make_rig()
    seconds(rig, 5, flood)
    assert len(listed(rig)) == 1
    assert shown(rig).state == "open"
    seconds(rig, 200, quiet(wall))
    record = shown(rig)
    assert record.state == "closed"
    assert record.totals.dropped_packets == 19_960 * 130
    assert "restarted" in [action.what for action in record.actions]


def test_an_attack_that_ended_while_nobody_was_there(
    make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock
) -> None:
    rig = make_rig()
    seconds(rig, 30, quiet(wall))
    seconds(rig, 5, syn_flood(wall))
    rig.settle()
    clock.advance_ms(DAY_MS)
    rig = make_rig()
    seconds(rig, 3, quiet(wall))
    record = shown(rig)
    assert record.state == "closed"
    assert record.totals.dropped_packets == 19_960 * 50
    assert record.ended_ms is not None
    assert record.ended_ms - record.first_packet_ms < 10_000


def test_counters_that_begin_anew_lose_nothing(
    make_rig: Callable[..., Rig], wall: FakeWall, clock: ManualClock
) -> None:
    rig = make_rig()
    seconds(rig, 30, quiet(wall))
    seconds(rig, 5, syn_flood(wall))
    rig.settle()
    fresh = FakeWall(clock)
    rig.wall = fresh
    rig.generation += 1
    rig.engine.second()
    seconds(rig, 5, syn_flood(fresh))
    assert len(listed(rig)) == 1
    assert shown(rig).totals.dropped_packets >= 19_960 * 98


def test_many_banned_sources_are_one_incident(rig: Rig, wall: FakeWall) -> None:
    bots = [f"198.{n // 250}.{n % 250}.1" for n in range(300)]

    def attack() -> None:
        for bot in bots:
            wall.feed(bot, 3_000, kind="udp")

    seconds(rig, 5, quiet(wall))
    seconds(rig, 10, attack)
    assert len(listed(rig)) == 1
    record = shown(rig)
    assert record.bans.exact + record.bans.prefix >= 300
    assert record.ledger.ban_ms is not None
    assert record.sources.seen == 300
    assert record.totals.packets == pytest.approx(300 * 3_000 * 100, rel=0.001)
    assert sum(source.banned for source in record.sources.top) == len(record.sources.top)


def test_banned_sources_that_come_again_are_an_incident(rig: Rig, wall: FakeWall) -> None:
    seconds(rig, 70, quiet(wall))
    seconds(rig, 5, lambda: wall.count(Reason.BANNED_SOURCE, 5_000, 300_000))
    assert len(listed(rig)) == 1


def test_a_ban_that_is_always_noisy_is_none(rig: Rig, wall: FakeWall) -> None:
    def noisy() -> None:
        wall.count(Reason.BANNED_PREFIX, 500, 30_000)

    seconds(rig, 300, noisy)
    assert listed(rig) == []


def test_a_scan_under_the_flood_is_in_the_record(rig: Rig, wall: FakeWall) -> None:
    flood = syn_flood(wall)
    ports = iter(range(8000, 9000))
    ticks = iter(range(100_000))

    def step() -> None:
        flood()
        if next(ticks) % 20 == 0:  # every two seconds
            wall.watched.append(
                WatchEvent(0, 1, bytes([192, 0, 2, 1]), bytes([203, 0, 113, 7]), next(ports), 4000)
            )

    seconds(rig, 5, quiet(wall))
    seconds(rig, 40, step)
    record = shown(rig)
    assert [(entry.kind, entry.source) for entry in record.diversion] == [("port_scan", "203.0.113.7")]
    assert record.diversion[0].count >= 18
    assert any(event == "diversion" for event, _ in rig.history())


def test_samples_name_what_it_was(rig: Rig, wall: FakeWall) -> None:
    def flood() -> None:
        wall.count(Reason.LANE_UDP, 9_000, 9_000 * 500)
        wall.count(Reason.PASS, 1_000, 1_000 * 500)
        wall.count_lane(Lane.UDP, 10_000, over=9_000, dropped=9_000, size=500)
        for number in range(20):
            wall.sampled.append(ntp_answer(number, wall._tick()))

    seconds(rig, 5, quiet(wall))
    seconds(rig, 10, flood)
    record = shown(rig)
    assert record.vectors[0].name == "NTP reflection"
    assert record.vectors[0].remote_port == 123
    assert record.vectors[0].confidence >= 0.9
    assert record.targets[0].address == "192.0.2.1"
    assert record.sources.seen >= 20
    assert record.sources.estimated


def ntp_answer(number: int, tick: int) -> Sample:
    ip = bytes([0x45, 0, 1, 0xD4, 0, 1, 0, 0, 60, 17, 0, 0, 198, 51, 100, number % 250 + 1, 192, 0, 2, 1])
    udp = (123).to_bytes(2, "big") + (4444).to_bytes(2, "big") + bytes([1, 0xC0, 0, 0])
    head = bytes(12) + b"\x08\x00" + ip + udp + b"\xd7\x00\x03\x2a" + bytes(100)
    return Sample(
        tick=tick,
        length=482,
        reason=Reason.LANE_UDP,
        lane=Lane.UDP,
        slot=0,
        version=4,
        protocol=17,
        fragment=0,
        l3=14,
        l4=34,
        captured=len(head),
        head=head.ljust(HEAD_BYTES, b"\0"),
    )
