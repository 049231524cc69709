# SPDX-License-Identifier: Apache-2.0
"""An incident second by second, within bounded memory: when it gets long, neighbouring points become one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from xdpwall.incident.model import Point

MOST_POINTS = 600


class Timeline:
    """Points a fixed step apart.

    Args:
        points: those of before a restart, oldest first.
    """

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._points = list(points)
        self._weights = [1.0] * len(self._points)
        self._step_ms = _step_of(self._points)

    def add(self, point: Point, seconds: float) -> None:
        """One more, averaged over ``seconds``. Those within one step of the clock are averaged into one."""
        if self._points and point.at_ms // self._step_ms == self._points[-1].at_ms // self._step_ms:
            self._points[-1], self._weights[-1] = _mean(
                self._points[-1], self._weights[-1], point, max(seconds, 1e-3)
            )
            return
        self._points.append(point)
        self._weights.append(max(seconds, 1e-3))
        if len(self._points) > MOST_POINTS:
            self._thin()

    def points(self) -> tuple[Point, ...]:
        """All of them, oldest first."""
        return tuple(self._points)

    def _thin(self) -> None:
        self._step_ms = max(self._step_ms, 1_000) * 2
        points: list[Point] = []
        weights: list[float] = []
        for point, weight in zip(self._points, self._weights, strict=True):
            # By the clock and not by number: a gap, as of a restart, stays a gap.
            if points and point.at_ms // self._step_ms == points[-1].at_ms // self._step_ms:
                points[-1], weights[-1] = _mean(points[-1], weights[-1], point, weight)
            else:
                points.append(point)
                weights.append(weight)
        self._points, self._weights = points, weights


def _step_of(points: list[Point]) -> int:
    gaps = [after.at_ms - before.at_ms for before, after in pairwise(points)]
    if not gaps:
        return 1_000
    least = sorted(gaps)[len(gaps) // 2]
    step = 1_000
    while step * 2 <= least * 1.1:
        step *= 2
    return step


def _mean(one: Point, weight: float, other: Point, other_weight: float) -> tuple[Point, float]:
    whole = weight + other_weight

    def mix(a: int, b: int) -> int:
        return round((a * weight + b * other_weight) / whole)

    lanes = {
        name: mix(one.by_lane.get(name, 0), other.by_lane.get(name, 0))
        for name in {**one.by_lane, **other.by_lane}
    }
    point = Point(
        one.at_ms,
        mix(one.seen_pps, other.seen_pps),
        mix(one.passed_pps, other.passed_pps),
        mix(one.dropped_pps, other.dropped_pps),
        mix(one.seen_bps, other.seen_bps),
        lanes,
    )
    return point, whole
