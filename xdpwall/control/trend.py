# SPDX-License-Identifier: Apache-2.0
"""The last minutes of traffic, one point a second: so that a screen opened in mid attack shows how it began."""

from __future__ import annotations

from collections import deque

from xdpwall.control.results import RatesResult, TrendResult

SECONDS = 300
"""How far back it goes."""


class Trend:
    """A ring of points, oldest first."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int, int, int]] = deque(maxlen=SECONDS)

    def add(self, rates: RatesResult) -> None:
        """A second is over. Under ``observe`` what would be dropped counts as dropped: that is what people look for."""
        dropped = rates.get("would_drop_pps", rates["dropped_pps"])
        dropped_bps = rates.get("would_drop_bps", rates["dropped_bps"])
        passed, passed_bps = max(0, rates["pps"] - dropped), max(0, rates["bps"] - dropped_bps)
        self._points.append((passed, dropped, passed_bps, dropped_bps))

    def last(self, seconds: int) -> TrendResult:
        """The newest points, as many as asked for or as there are."""
        points = list(self._points)[-seconds:] if seconds else []
        return TrendResult(
            step_ms=1_000,
            passed_pps=[point[0] for point in points],
            dropped_pps=[point[1] for point in points],
            passed_bps=[point[2] for point in points],
            dropped_bps=[point[3] for point in points],
        )
