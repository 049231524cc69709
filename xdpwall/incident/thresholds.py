# SPDX-License-Identifier: Apache-2.0
"""Measures what the wall sees against what is allowed and what is normal. Pure functions over rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdpwall.incident.normal import Normal
from xdpwall.incident.reading import BANS, LANE_OF, Rates
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

_UNUSUAL = (Lane.SYN, Lane.UDP, Lane.ICMP, Lane.FRAGMENT, Lane.OTHER)
"""Lanes whose rate alone says something. Established TCP is not among them: a download is no attack."""
OTHER_DROPS = tuple(
    reason for reason in Reason if reason.drops and reason not in BANS and reason not in LANE_OF
)
"""Limits per source and prefix, rules, and malformed packets."""
BAN_DROPS = tuple(BANS)


@dataclass(frozen=True, slots=True)
class Rules:
    """From the config, section ``incident``; see there.

    ``budgets``: packets/s of each lane's budget, lanes without one left out.
    """

    drops: int = 200
    floor: int = 2_000
    factor: float = 10.0
    sources: int = 10
    budgets: Mapping[Lane, int] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing measured against its threshold.

    Args:
        what: for people, for example ``syn lane over its budget``.
        value: measured, per second.
        limit: the threshold.
        lane: the lane's label, where it is about one.
        opens: whether it can begin an incident; otherwise it only keeps one open.
        keeps: whether it keeps one open; what looks back some seconds would say that it lasts after the end.
        unit: of value and limit.
    """

    what: str
    value: float
    limit: float
    lane: str | None = None
    opens: bool = True
    keeps: bool = True
    unit: str = "pps"

    @property
    def ratio(self) -> float:
        """Value over limit: 1 is the threshold."""
        return self.value / self.limit


def names(rates: Rates) -> dict[str, float]:
    """What :class:`Normal` learns of a quiet span, by name, per second."""
    found = {f"lane {lane.label}": rates.lane_pps(lane) for lane in rates.delta.lanes}
    found |= {f"denied {lane.label}": pps for lane in Lane if (pps := rates.denied_pps(lane))}
    found["bans"] = rates.pps(*BAN_DROPS)
    found["drops"] = rates.pps(*OTHER_DROPS)
    found["all"] = rates.all_pps()
    return found


def measures(rates: Rates, normal: Normal, rules: Rules, *, banned_lately: int, crowd: bool) -> list[Measure]:
    """Everything that may begin an incident or keep it open, whatever its ratio.

    Args:
        rates: of the last tick, or of a second.
        normal: what was learned.
        rules: thresholds.
        banned_lately: automatic bans of the last ten seconds.
        crowd: most connection requests lead to connections: visitors, however many.
    """
    found = [*_over_budget(rates, normal, rules), *_unusual(rates, normal, rules, crowd=crowd)]
    drops = max(float(rules.drops), rules.factor * normal.mean("drops"))
    found.append(Measure("dropped by limits, rules and checks", rates.pps(*OTHER_DROPS), drops))
    bans = max(float(rules.drops), rules.factor * normal.mean("bans"))
    # What a standing ban of a noisy network drops is no attack. Once it is learned it is part of the limit.
    opens = banned_lately > 0 or normal.learned
    found.append(Measure("dropped by bans", rates.pps(*BAN_DROPS), bans, opens=opens))
    found.append(
        Measure(
            "sources banned within ten seconds",
            float(banned_lately),
            float(rules.sources),
            keeps=False,
            unit="sources",
        )
    )
    return found


def _over_budget(rates: Rates, normal: Normal, rules: Rules) -> list[Measure]:
    """Absolute: a lane beyond its budget by at least ``drops``. The value is the budget plus what was denied."""
    found = []
    for lane in Lane:
        denied = rates.denied_pps(lane)
        if not denied:
            continue
        budget = float((rules.budgets or {}).get(lane) or rules.drops)
        least = max(float(rules.drops), rules.factor * normal.mean(f"denied {lane.label}"))
        value = budget + denied if denied >= least else budget * denied / least
        found.append(Measure(f"{lane.label} lane over its budget", value, budget, lane.label))
    return found


def _unusual(rates: Rates, normal: Normal, rules: Rules, *, crowd: bool) -> list[Measure]:
    """Relative: a lane far above what was learned, though nothing of it may be dropped."""
    if not normal.learned:
        return []
    found = []
    for lane in _UNUSUAL:
        if lane is Lane.SYN and crowd:
            continue
        limit = max(float(rules.floor), rules.factor * normal.mean(f"lane {lane.label}"))
        value = rates.lane_pps(lane)
        if value:
            found.append(Measure(f"{lane.label} lane unusually busy", value, limit, lane.label))
    return found


def worst(found: list[Measure], *, opening: bool) -> Measure | None:
    """The measure with the highest ratio of those that may open an incident, or of those that keep one open."""
    return max((m for m in found if (m.opens if opening else m.keeps)), key=lambda m: m.ratio, default=None)
