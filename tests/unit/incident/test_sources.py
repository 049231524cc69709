# SPDX-License-Identifier: Apache-2.0
"""Sums by source stay right, bounded, and cheap."""

from __future__ import annotations

import numpy as np
import pytest

from xdpwall.dataplane.keys import source_key
from xdpwall.detection.rates import RateMeter, Rates
from xdpwall.incident import sources
from xdpwall.incident.sources import SourceLedger
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

S = 1_000_000_000
TICK_HZ = 250


def key(text: str) -> int:
    return source_key(Prefix.parse_source(text))


def rates(*rows: tuple[str, int, int, dict[str, int]]) -> Rates:
    """What (source, packets, drops, kinds) sent within a second."""
    meter = RateMeter()
    slots = np.zeros(max(1, len(rows)), METER_DTYPE)
    meter.update(MeterSnapshot(slots.copy(), 10 * S, 1_000, TICK_HZ))
    for at, (source, packets, drops, kinds) in enumerate(rows):
        slots[at]["key"], slots[at]["packets"], slots[at]["bytes"] = key(source), packets, packets * 100
        slots[at]["drops"], slots[at]["first"], slots[at]["last"] = drops, 1_100, 1_200
        for name, count in kinds.items():
            slots[at][name] = count
    return meter.update(MeterSnapshot(slots, 11 * S, 1_250, TICK_HZ))


def test_meters_and_bans_add_up() -> None:
    ledger = SourceLedger()
    ledger.take(rates(("198.51.100.1", 500, 400, {"syn": 500}), ("198.51.100.2", 10, 0, {})))
    ledger.take_banned(np.array([key("198.51.100.1")], np.uint64), np.array([1_500]), np.array([150_000]))
    view = ledger.attackers(1_900, 0.0)
    proven = np.zeros(len(view.keys), np.bool_)
    first, second = view.top(10, proven)
    assert (first.source, first.packets, first.bytes, first.drops) == ("198.51.100.1", 2_000, 200_000, 1_900)
    assert second.packets == 10
    assert ledger.seen() == (2, False)
    assert view.prefixes(5)[0].sources == 2


def test_where_many_others_come_only_the_dropped_are_meant() -> None:
    ledger = SourceLedger()
    ledger.take(rates(("198.51.100.1", 500, 400, {}), ("198.51.100.2", 10, 0, {})))
    assert len(ledger.attackers(400, 0.5).keys) == 1
    assert (
        len(ledger.attackers(4_000, 0.5).keys) == 2
    )  # most was dropped by lanes: meters do not know of whom


def test_what_bans_drop_has_its_sources_kind() -> None:
    ledger = SourceLedger()
    ledger.take(rates(("198.51.100.1", 100, 50, {"syn": 100}), ("198.51.100.2", 100, 50, {"udp": 100})))
    keys = np.array([key("198.51.100.1"), key("198.51.100.2")], np.uint64)
    ledger.take_banned(keys, np.array([2_950, 950], np.uint64), np.array([0, 0], np.uint64))
    assert ledger.lanes() == pytest.approx({Lane.SYN: 0.75, Lane.UDP: 0.25})


def test_memory_is_bounded_and_the_biggest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CAPACITY", 1_000)
    ledger = SourceLedger()
    keys = np.arange(1, 50_001, dtype=np.uint64) << np.uint64(32) | np.uint64(0xFFFF)
    packets = np.arange(1, 50_001, dtype=np.uint64)
    ledger.take_banned(keys, packets, packets)
    view = ledger.attackers(0, 0.0)
    assert len(view.keys) == 1_000
    assert int(view.sums[0].min()) == 49_001
    seen, estimated = ledger.seen()
    assert estimated
    assert seen == pytest.approx(50_000, rel=0.01)


def test_the_first_second_is_not_lost() -> None:
    slots = np.zeros(3, METER_DTYPE)
    for at, (source, packets, first) in enumerate([("198.51.100.1", 70, 900), ("198.51.100.2", 9, 100)]):
        slots[at]["key"], slots[at]["packets"], slots[at]["first"] = key(source), packets, first
    ledger = SourceLedger()
    ledger.seed(MeterSnapshot(slots, S, 1_000, TICK_HZ), 800)
    view = ledger.attackers(0, 0.0)
    assert [source.packets for source in view.top(5, np.zeros(1, np.bool_))] == [70]
