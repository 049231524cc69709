# SPDX-License-Identifier: Apache-2.0
"""A timeline stays bounded, keeps its sums, and goes on after a restart."""

from __future__ import annotations

from itertools import pairwise

from xdpwall.incident.model import Point
from xdpwall.incident.timeline import MOST_POINTS, Timeline


def fill(line: Timeline, first: int, count: int, pps: int = 100) -> None:
    for second in range(first, first + count):
        line.add(Point(second * 1_000, pps, pps - 90, 90, pps * 500, {"udp": pps}), 1.0)


def test_short_ones_are_kept_second_by_second() -> None:
    line = Timeline()
    fill(line, 0, 300)
    assert [point.at_ms for point in line.points()] == [n * 1_000 for n in range(300)]


def test_long_ones_are_thinned_and_averages_stay() -> None:
    line = Timeline()
    fill(line, 0, 40_000)
    points = line.points()
    assert len(points) <= MOST_POINTS
    assert len(points) > MOST_POINTS // 4
    assert {point.seen_pps for point in points} == {100}
    assert {point.by_lane["udp"] for point in points} == {100}
    gaps = {after.at_ms - before.at_ms for before, after in pairwise(points[:-1])}
    assert len(gaps) == 1


def test_a_restart_goes_on_with_the_same_step() -> None:
    line = Timeline()
    fill(line, 0, 2_000)
    again = Timeline(line.points())
    fill(again, 2_000, 2_000)
    assert len(again.points()) <= MOST_POINTS
    assert again.points()[-1].at_ms >= 3_990_000


def test_a_gap_stays_a_gap() -> None:
    line = Timeline()
    fill(line, 0, 100)
    fill(line, 500, 1_000)
    at = [point.at_ms for point in line.points()]
    assert max(after - before for before, after in pairwise(at)) > 350_000
