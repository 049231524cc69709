# SPDX-License-Identifier: Apache-2.0
"""What each lane brings in per second, beside its budget: for people, so over the last second or so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdpwall.control.results import LaneResult
from xdpwall.dataplane.interface import LaneCount
from xdpwall.lanes import Lane

if TYPE_CHECKING:
    from xdpwall.config_lanes import LanesConfig

_STALE_NS = 5_000_000_000


class LaneRates:
    """The last two looks at the lanes' totals."""

    def __init__(self) -> None:
        self._before: Mapping[Lane, LaneCount] = {}
        self._before_ns = 0
        self._now: Mapping[Lane, LaneCount] = {}
        self._now_ns = 0

    def update(self, lanes: Mapping[Lane, LaneCount], mono_ns: int) -> None:
        """Take in the totals of now. Totals that shrank (a new wall) start everything afresh."""
        shrank = any(
            lanes[lane].seen.packets < count.seen.packets
            for lane, count in self._now.items()
            if lane in lanes
        )
        stale = mono_ns - self._now_ns > _STALE_NS
        self._before, self._before_ns = ({}, 0) if shrank or stale else (self._now, self._now_ns)
        self._now, self._now_ns = lanes, mono_ns

    def rows(self, config: LanesConfig) -> list[LaneResult]:
        """One row a lane, in their order. A lane with no packets of its own (closed ports) has its budget alone."""
        return [self._row(lane, config) for lane in Lane]

    def _row(self, lane: Lane, config: LanesConfig) -> LaneResult:
        budget = getattr(config, lane.label)
        now, before = self._now.get(lane), self._before.get(lane)
        span = self._now_ns - self._before_ns
        row = LaneResult(
            lane=lane.label,
            pps=0,
            bps=0,
            budget_pps=budget.pps if config.enabled else 0,
            budget_bps=budget.bps if config.enabled else 0,
            over_pps=0,
            dropped_pps=0,
            passed_on_proof_pps=0,
        )
        if now is None or before is None or span <= 0:
            return row

        def rate(new: int, old: int) -> int:
            return max(0, new - old) * 1_000_000_000 // span

        over = rate(now.over.packets, before.over.packets)
        dropped = rate(now.dropped.packets, before.dropped.packets)
        row["pps"] = rate(now.seen.packets, before.seen.packets)
        row["bps"] = 8 * rate(now.seen.bytes, before.seen.bytes)
        row["over_pps"], row["dropped_pps"] = over, dropped
        known = rate(now.known.packets, before.known.packets)
        row["passed_on_proof_pps"] = known + max(0, over - dropped)
        return row
