# SPDX-License-Identifier: Apache-2.0
"""Budgets that quiet traffic speaks for. Pure, but for :func:`on_record`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdpwall.control import learned
from xdpwall.control.database import Database
from xdpwall.detection.levels import Levels, Observed, proposed_budget
from xdpwall.errors import NotFoundError
from xdpwall.lanes import Lane
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.config_lanes import LanesConfig

CONFIG_PATH = "config_path"
"""The name of the setting that says which file the last controller read."""
ONE_CLASS = 2
"""One local port or address may use the half of a lane's budget (``bpf/over.h``), so the budget is twice its need."""
SHOWN = (50, 95, 99)
_FIGURES = ("pps", "bps")


@dataclass(frozen=True, slots=True)
class Advice:
    """One budget. Figures are packets or bits per second.

    Args:
        lane: whose budget.
        figure: ``pps`` or ``bps``.
        seconds: how many were seen.
        percentiles: by percent, those of :data:`SHOWN` and the one that was asked for.
        highest: the highest second.
        present: the budget in force by the config; 0 is off, and stays off.
        proposed: what the percentile speaks for, never below the default; the present one where nothing was seen.
        over_present: seconds in which one port that had all of the lane would have been over the present budget.
        over_proposed: the same of the proposed one.
    """

    lane: Lane
    figure: str
    seconds: int
    percentiles: Mapping[float, int]
    highest: int
    present: int
    proposed: int
    over_present: int
    over_proposed: int

    @property
    def key(self) -> str:
        """The key of the config."""
        return f"lanes.{self.lane.label}.{self.figure}"

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lane": self.lane.label,
            "figure": self.figure,
            "seconds": self.seconds,
            "percentiles": {f"{percent:g}": value for percent, value in self.percentiles.items()},
            "max": self.highest,
            "budget": self.present,
            "proposed": self.proposed,
            "seconds_over": self.over_present,
            "seconds_over_proposed": self.over_proposed,
        }


def advise(
    observed: Mapping[Lane, Observed], config: LanesConfig, *, percent: float, factor: float
) -> list[Advice]:
    """A line for each budget of each lane that has packets of its own. One that is off, and by default, has none.

    Args:
        observed: what was seen of each lane.
        config: the budgets in force.
        percent: so many percent of all seconds are to stay below ...
        factor: ... the budget divided by this (and by :data:`ONE_CLASS`).
    """
    from xdpwall.config_lanes import LanesConfig  # noqa: PLC0415  (brings pydantic)

    defaults = LanesConfig()
    found = []
    for lane in Lane:
        if lane is Lane.CLOSED:
            continue
        for figure in _FIGURES:
            present = getattr(getattr(config, lane.label), figure)
            floor = getattr(getattr(defaults, lane.label), figure)
            if not present and not floor:
                continue
            levels: Levels = getattr(observed.get(lane, Observed()), figure)
            seconds = levels.total
            proposed = present
            if present and seconds:
                proposed = proposed_budget(levels, percent=percent, factor=factor * ONE_CLASS, floor=floor)
            found.append(
                Advice(
                    lane=lane,
                    figure=figure,
                    seconds=seconds,
                    percentiles={p: levels.percentile(p) for p in sorted({*SHOWN, percent})},
                    highest=levels.highest,
                    present=present,
                    proposed=proposed,
                    over_present=levels.above(present // ONE_CLASS) if present else 0,
                    over_proposed=levels.above(proposed // ONE_CLASS) if proposed else 0,
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What the state file has. ``quiet_s``, ``attack_s``: seconds of each. ``config_path``: see :data:`CONFIG_PATH`."""

    observed: dict[Lane, Observed]
    quiet_s: int
    attack_s: int
    config_path: str | None


def on_record(paths: Paths, since_ms: int, *, attacks: bool) -> OnRecord:
    """Read what was seen since then.

    Args:
        paths: the instance.
        since_ms: Unix time; whole days count.
        attacks: whether seconds of attacks count, too.

    Raises:
        NotFoundError: nothing is on record.
        StoreError: the state file cannot be read.
    """
    nothing = NotFoundError(
        "nothing was learned yet",
        hint="the controller (`xdpwall run`) writes down what each lane brings in; come back in a day",
    )
    if not paths.database.exists():
        raise nothing
    database = Database(paths.database, read_only=True)
    try:
        rows = database.work(lambda db: learned.read(db, since_ms))
        config_path = database.setting(CONFIG_PATH)
    finally:
        database.close()
    if not rows:
        raise nothing
    observed: dict[Lane, Observed] = {}
    seconds = {True: 0, False: 0}
    for (lane, quiet), part in rows.items():
        seconds[quiet] = max(seconds[quiet], part.pps.total)
        if quiet or attacks:
            observed.setdefault(lane, Observed()).take(part)
    return OnRecord(observed, seconds[True], seconds[False], config_path)
