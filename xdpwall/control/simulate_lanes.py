# SPDX-License-Identifier: Apache-2.0
"""What recorded traffic would have asked of other lane budgets. Pure arithmetic: a budget has no memory to speak of.

The program shares a budget between local ports: one class of them may have half of it (``bpf/over.h``). The record does
not know the ports, so there are two answers: ``least``, had the traffic gone to many, and ``most``, had it gone to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdpwall.config_lanes import LanesConfig
from xdpwall.detection.past import Floats, Part

ONE_CLASS = 2


@dataclass(slots=True)
class LaneOutcome:
    """One lane.

    Args:
        seconds: in which something was over budget, had it all gone to one port.
        least: packets beyond the budget, that need proof or a cookie, or are dropped. ``most``: likewise.
        first_ms: the first of those seconds.
    """

    seconds: int = 0
    least: float = 0.0
    most: float = 0.0
    first_ms: int | None = None


@dataclass(slots=True)
class Measured:
    """What the program really counted, with the budgets of then: packets over budget, and of them dropped."""

    over: float = 0.0
    dropped: float = 0.0


def measure(found: dict[str, Measured], part: Part) -> None:
    """Add what the program counted in one part, by lane."""
    for label, row in part.lanes.items():
        lane = found.setdefault(label, Measured())
        lane.over += float(row[2].sum())
        lane.dropped += float(row[3].sum())


def play(found: dict[str, LaneOutcome], part: Part, lanes: LanesConfig) -> None:
    """Add what would have been over these budgets in one part, by lane."""
    if not lanes.enabled:
        return
    for label, row in part.lanes.items():
        budget = getattr(lanes, label, None)
        if budget is None:
            continue
        lane = found.setdefault(label, LaneOutcome())
        burst_s = lanes.burst_ms / 1000
        lane.least += float(_beyond(row, budget.pps, budget.bps, burst_s).sum())
        most = _beyond(row, budget.pps / ONE_CLASS, budget.bps / ONE_CLASS, burst_s)
        lane.most += float(most.sum())
        over = np.flatnonzero(most)
        lane.seconds += len(over)
        if len(over) and lane.first_ms is None:
            lane.first_ms = part.at_ms + int(over[0]) * 1000


def _beyond(row: Floats, pps: float, bps: float, burst_s: float) -> Floats:
    """Packets of each second that a budget has no room for; a burst may come at once on top."""
    packets, bits = row[0], row[1]
    beyond = np.zeros(len(packets))
    if pps:
        beyond = np.maximum(packets - pps * (1 + burst_s), 0)
    if bps:
        excess = np.maximum(bits - bps * (1 + burst_s), 0)
        beyond = np.maximum(
            beyond, packets * np.divide(excess, bits, out=np.zeros_like(bits), where=bits > 0)
        )
    return beyond
