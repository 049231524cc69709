# SPDX-License-Identifier: Apache-2.0
"""The one answer that a live screen is drawn from: only what is shown, the busiest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.control.conftest import Rig
from xdpwall.config_lanes import LanesConfig
from xdpwall.control.lane_rates import LaneRates
from xdpwall.control.overview import Overview
from xdpwall.control.peer import set_may_write
from xdpwall.control.protocol import check_args
from xdpwall.control.trend import SECONDS, Trend
from xdpwall.control.watcher import FORGET_NS, Watcher
from xdpwall.dataplane.interface import Count, LaneCount
from xdpwall.errors import InputError, StoreError
from xdpwall.lanes import Lane

SECOND = 1_000_000_000


class Screen:
    """An overview on an engine with a wall in memory; both live in the rig's time."""

    def __init__(self, rig: Rig, **ops: Any) -> None:
        async def status(_: dict[str, Any]) -> dict[str, Any]:
            return {"state": rig.engine.state}

        self.rig = rig
        self.ops: dict[str, Any] = {"status": status, **ops}
        self.overview = Overview(rig.engine, Watcher(rig.clock), self.ops)

    def ask(self, **args: Any) -> Any:
        return asyncio.run(self.overview.answer(check_args("overview", args)))

    def second(self, *feeds: tuple[str, int], kind: str = "udp") -> None:
        """A second passes, in which these send so much."""
        assert self.rig.wall is not None
        for source, packets in feeds:
            self.rig.wall.feed(source, packets, kind=kind)
        self.rig.ticks(10)
        self.overview.second()


@pytest.fixture
def screen(make_rig: Callable[..., Rig]) -> Screen:
    return Screen(make_rig())


def test_the_busiest_sources_with_their_verdicts(screen: Screen) -> None:
    rig = screen.rig
    screen.ask()
    screen.second(("198.51.100.1", 500), ("198.51.100.2", 900), ("2001:db8::1", 100), ("198.51.100.3", 5))
    rig.ban("203.0.113.9")
    answer = screen.ask(sources=3)
    rows = [(row["source"], row["pps"], row["verdict"]) for row in answer["sources"]]
    assert rows == [
        ("198.51.100.2", 900, "passed"),
        ("198.51.100.1", 500, "passed"),
        ("2001:db8::/64", 100, "passed"),
    ]
    assert answer["metered"] == 4
    assert answer["sources"][0]["udp_pps"] == 900


def test_a_banned_source_is_seen_knocking(screen: Screen) -> None:
    rig = screen.rig
    rig.ban("203.0.113.9", "198.51.100.0/24", reason="flood")
    screen.ask()
    assert rig.wall is not None
    for _ in range(2):
        rig.wall.bans.count_drop(screen_prefix("203.0.113.9"), 5_000, 5_000 * 64)
        rig.wall.bans.count_drop(screen_prefix("198.51.100.0/24"), 300, 300 * 64)
        screen.second(("192.0.2.77", 40))
        screen.ask()
    answer = screen.ask()
    first, wide, second = answer["sources"]
    assert (wide["source"], wide["pps"], wide["verdict"]) == ("198.51.100.0/24", 300, "banned")
    assert (first["source"], first["pps"], first["dropped_pps"]) == ("203.0.113.9", 5_000, 5_000)
    assert (first["verdict"], first["ban"]["reason"], first["bps"]) == ("banned", "flood", 5_000 * 64 * 8)
    assert (second["source"], second["verdict"]) == ("192.0.2.77", "passed")
    assert [(ban["prefix"], ban["dropped_pps"]) for ban in answer["bans"]] == [
        ("203.0.113.9", 5_000),
        ("198.51.100.0/24", 300),
    ]
    assert answer["bans"][0]["dropped_packets"] == 10_000


def test_allowed_and_filtered(screen: Screen) -> None:
    rig = screen.rig
    rig.engine.commit(rig.engine.desk.allow_add(["198.51.100.2"], "us")[1]).result(10)
    rig.ban("203.0.113.9", "203.0.113.0/24", "192.0.2.1")
    screen.ask()
    screen.second(("198.51.100.1", 500), ("198.51.100.2", 900))
    answer = screen.ask(within="198.51.100.2/32")
    assert [(row["source"], row["verdict"]) for row in answer["sources"]] == [("198.51.100.2", "allowed")]
    assert answer["bans"] == []
    assert [ban["prefix"] for ban in screen.ask(within="203.0.113.9")["bans"]] == ["203.0.113.9"]
    assert [ban["prefix"] for ban in screen.ask(within="203.0.113.10")["bans"]] == ["203.0.113.0/24"]
    inside = screen.ask(within="203.0.0.0/16")["bans"]
    assert {ban["prefix"] for ban in inside} == {"203.0.113.9", "203.0.113.0/24"}
    with pytest.raises(InputError):
        screen.ask(sources=501)


def test_many_bans_cost_no_more_than_those_shown(screen: Screen) -> None:
    screen.rig.ban(*(f"45.0.{n // 200}.{n % 200 + 1}" for n in range(3_000)))
    screen.rig.clock.advance_ms(1_000)
    screen.rig.ban("203.0.113.9")
    answer = screen.ask(bans=5)
    assert len(answer["bans"]) == 5
    assert answer["bans"][0]["prefix"] == "203.0.113.9", "the newest first while none drops anything"


def test_lanes_and_incidents(screen: Screen) -> None:
    async def incidents(args: dict[str, Any]) -> dict[str, Any]:
        return {"incidents": [{"id": 3}, {"id": 2}, {"id": 1}][: args["limit"]]}

    async def broken(_: dict[str, Any]) -> dict[str, Any]:
        raise StoreError("the disk is gone")

    assert "incidents" not in screen.ask()
    screen.ops["incident.list"] = incidents
    set_may_write(False)
    try:
        answer = screen.ask(incidents=2)
    finally:
        set_may_write(True)
    assert answer["incidents"] == [{"id": 3}, {"id": 2}]
    assert not answer["may_write"]
    assert [lane["lane"] for lane in answer["lanes"]] == [lane.label for lane in Lane]
    assert answer["lanes"][Lane.SYN]["budget_pps"] == screen.rig.config.lanes.syn.pps
    screen.ops["incident.list"] = broken
    assert "incidents" not in screen.ask()


def lane(seen: int, over: int = 0, dropped: int = 0, known: int = 0) -> dict[Lane, LaneCount]:
    parts = (Count(number, number * 100) for number in (seen, over, dropped, known))
    return {Lane.UDP: LaneCount(*parts)}


def test_rates_of_lanes() -> None:
    rates, config = LaneRates(), LanesConfig()
    rates.update(lane(1_000), SECOND)
    assert rates.rows(config)[Lane.UDP]["pps"] == 0
    rates.update(lane(31_000, 20_000, 15_000, 4_000), 3 * SECOND)
    row = rates.rows(config)[Lane.UDP]
    assert (row["pps"], row["bps"], row["budget_pps"]) == (15_000, 12_000_000, config.udp.pps)
    assert (row["over_pps"], row["dropped_pps"], row["passed_on_proof_pps"]) == (10_000, 7_500, 4_500)
    rates.update(lane(5), 4 * SECOND)
    assert rates.rows(config)[Lane.UDP]["pps"] == 0, "another wall"
    rates.update(lane(9), 60 * SECOND)
    assert rates.rows(config)[Lane.UDP]["pps"] == 0, "nobody looked for long"
    assert rates.rows(LanesConfig(enabled=False))[Lane.UDP]["budget_pps"] == 0


def test_reasons_and_trend(screen: Screen) -> None:
    screen.second(("192.0.2.77", 4_000))
    screen.second(("192.0.2.77", 2_000))
    answer = screen.ask(trend=1)
    assert [(row["reason"], row["packets"], row["pps"]) for row in answer["reasons"]] == [
        ("pass", 6_000, 2_000)
    ]
    assert answer["trend"]["passed_pps"] == [2_000]
    assert len(screen.ask()["trend"]["passed_pps"]) == 2


def test_nobody_looks(screen: Screen) -> None:
    """What is remembered for rates is given back."""
    screen.ask()
    screen.rig.clock.advance_ms(FORGET_NS // 1_000_000 + 1)
    screen.overview.second()
    assert screen.ask()["sources"] == []


def test_the_trend_is_a_ring() -> None:
    trend = Trend()
    for number in range(SECONDS + 5):
        trend.add(
            {
                "pps": number, "bps": 8 * number, "dropped_pps": 0, "passed_pps": number, "dropped_bps": 0,
                "passed_bps": 8 * number, "would_drop_pps": number, "would_drop_bps": number,
            }
        )  # fmt: skip
    last = trend.last(2)
    assert (last["dropped_pps"], last["passed_pps"]) == ([SECONDS + 3, SECONDS + 4], [0, 0])
    assert len(trend.last(1_000)["passed_pps"]) == SECONDS
    assert trend.last(0)["passed_pps"] == []


def screen_prefix(text: str) -> Any:
    from xdpwall.model import Prefix

    return Prefix.parse(text)
