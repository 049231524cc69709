# SPDX-License-Identifier: Apache-2.0
"""How full the budgets of a twin are, and how to use them up. Units: ``bpf/lanes.h``."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.dataplane import budgets, layout
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.twin_maps import Opened
from xdpwall.lanes import Lane

_FINE = 20
_BYTE_SHIFT = 16
_FAR_AHEAD = 1 << 50
"""In units of 2^-20 ticks: budgets that are spent until then are spent for weeks."""
_POOL_WORDS = 8
_GATE_WORD = 6
"""Where ``gate`` stands in ``struct lane_cpu``, in words."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """One budget at this moment.

    ``pps``, ``bps``: a second's worth, 0 where it is off. ``left_percent``: of the burst, the scarcer of the two.
    """

    lane: Lane
    pps: int
    bps: int
    left_percent: int


def states(pins: Pins, hz: int, now: int) -> list[LaneState]:
    """Each lane's budget.

    Args:
        pins: the maps.
        hz: ticks per second.
        now: the tick.
    """
    found = []
    with Opened(pins, "budgets", "pools") as maps:
        for lane in Lane:
            packet, byte, depth, *_ = budgets.BUDGET.unpack_from(
                maps["budgets"].memory, lane * budgets.BUDGET.size
            )
            spent = maps["pools"].words[lane * _POOL_WORDS : lane * _POOL_WORDS + 2].tolist()
            left = [
                100 - min(100, max(0, until - (now << _FINE)) * 100 // max(1, depth))
                for until, cost in zip(spent, (packet, byte), strict=True)
                if cost
            ]
            found.append(
                LaneState(
                    lane=lane,
                    pps=round((hz << _FINE) / packet) if packet else 0,
                    bps=round((hz * 8 << (_FINE + _BYTE_SHIFT)) / byte) if byte else 0,
                    left_percent=min(left, default=100),
                )
            )
    return found


def spend(pins: Pins, now: int) -> None:
    """Leave nothing of any budget, for weeks.

    Args:
        pins: the maps.
        now: the tick.
    """
    spent = (now << _FINE) + _FAR_AHEAD
    budget_words = layout.BY_NAME["budgets"].value_size // 8
    lane_words = layout.BY_NAME["lane_cpus"].value_size // 8
    with Opened(pins, "budgets", "pools", "classes", "lane_cpus") as maps:
        for number in range(layout.BUDGETS):
            costs = maps["budgets"].words[number * budget_words : number * budget_words + 2].tolist()
            for which, cost in enumerate(costs):
                if not cost:
                    continue  # no limit: nothing is ever spent of it
                maps["pools"].words[number * _POOL_WORDS + which] = spent
                if number >= layout.LANE_SLOTS:
                    continue
                for one in range(layout.CLASSES):
                    maps["classes"].words[(number * layout.CLASSES + one) * 2 + which] = spent
                for cpu in range(maps["lane_cpus"].entries // layout.LANE_SLOTS):
                    at = (cpu * layout.LANE_SLOTS + number) * lane_words + _GATE_WORD + which
                    maps["lane_cpus"].words[at] = spent
