# SPDX-License-Identifier: Apache-2.0
"""The busiest sources, in every order, against a plain count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import HZ, Table, v4
from xdpwall.detection.finding import Scope
from xdpwall.detection.rates import RateMeter
from xdpwall.detection.top import SortBy, SourceRow, top

STEP = st.tuples(
    st.integers(0, 6), st.integers(0, 1), st.integers(1, 50), st.integers(14, 1_500), st.integers(0, 4)
)


def key_of(row: SourceRow, sort: SortBy) -> tuple[int, int]:
    names = {SortBy.SYN: "syn_pps", SortBy.UDP: "udp_pps", SortBy.ICMP: "icmp_pps"}
    value = -row.last_ago_ms if sort is SortBy.LAST else getattr(row, names.get(sort, sort.value))
    return value, row.packets


@given(st.lists(STEP, max_size=25), st.lists(STEP, max_size=25), st.sampled_from(SortBy), st.integers(1, 10))
def test_the_order_and_the_numbers(
    before: list[tuple[int, int, int, int, int]],
    after: list[tuple[int, int, int, int, int]],
    sort: SortBy,
    limit: int,
) -> None:
    table, meter = Table(), RateMeter()
    whole: dict[int, dict[str, int]] = {}
    moved: dict[int, dict[str, int]] = {}
    for steps, book in ((before, whole), (after, moved)):
        for number, cpu, packets, size, kind in steps:
            table.wait(1)
            kinds = {("syn", "udp", "icmp", "fragments", "drops")[kind]: packets}
            table.count(cpu * table.per_cpu + number, v4(number), packets, size, **kinds)
        if book is whole:
            meter.update(table.snapshot())
            table.wait(HZ - len(after))
        for key, counts in table.truth().items():
            book[key] = counts
    table.wait(1)
    snapshot = table.snapshot()
    rates = meter.update(snapshot)
    rows = top(snapshot, rates, sort=sort, limit=100)
    assert [key_of(row, sort) for row in rows] == sorted((key_of(row, sort) for row in rows), reverse=True)
    assert {row.key for row in rows} == set(whole) | set(moved)
    seconds = rates.dt_ns / 1e9
    for row in rows:
        both = [counts[row.key] for counts in (whole, moved) if row.key in counts]
        assert row.packets == sum(counts["packets"] for counts in both)
        assert row.bytes == sum(counts["bytes"] for counts in both)
        assert row.fragments == sum(counts["fragments"] for counts in both)
        assert row.drops == sum(counts["drops"] for counts in both)
        now = moved.get(row.key, dict.fromkeys(("packets", "bytes", "syn", "udp", "icmp"), 0))
        assert row.pps == round(now["packets"] / seconds)
        assert row.bps == pytest.approx(8 * now["bytes"] / seconds, abs=8)
        assert (row.syn_pps, row.udp_pps, row.icmp_pps) == tuple(
            round(now[name] / seconds) for name in ("syn", "udp", "icmp")
        )
    fewer = top(snapshot, rates, sort=sort, limit=limit)
    assert [key_of(row, sort) for row in fewer] == [key_of(row, sort) for row in rows][:limit]


def test_ages_and_names() -> None:
    table, meter = Table(), RateMeter()
    table.count(0, v4(0xC0000200), 5)
    table.wait(HZ)
    table.count(8, v4(0xC0000200), 5)
    meter.update(table.snapshot())
    table.wait(HZ // 2)
    snapshot = table.snapshot()
    (row,) = top(snapshot, meter.update(snapshot))
    assert (str(row.prefix), row.first_ago_ms, row.last_ago_ms) == ("192.0.2.0", 1_500, 500)
    assert (row.packets, row.pps) == (10, 0)
    (net,) = top(snapshot, meter.update(snapshot), scope=Scope.PREFIX)
    assert str(net.prefix) == "192.0.2.0/24"


def test_nothing_to_show() -> None:
    table, meter = Table(), RateMeter()
    rates = meter.update(table.snapshot())
    assert top(table.snapshot(), rates) == []
    table.count(0, v4(1), 5)
    assert top(table.snapshot(), rates, limit=0) == []
    assert [row.pps for row in top(table.snapshot(), rates)] == [0]  # the first look has no rates yet
