# SPDX-License-Identifier: Apache-2.0
"""The rows of the data path's table: what each one measures, and what must have become of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdpwall.bench.stand import WallPlan
from xdpwall.bench.traffic import Family, Traffic
from xdpwall.dataplane.rules import PLACES
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

Job = Literal[
    "bare",
    "parse",
    "blocked-1k",
    "blocked-100k",
    "over-limit",
    "flood",
    "pass-1k",
    "pass-100k",
    "known-1k",
    "rules",
    "cookies",
]

FEW, MANY = 1_000, 100_000
OVER_LIMIT_PPS = 10
"""A limit that each of 1,000 sources exceeds many times over at millions of packets a second."""

ALL_LANES_OPEN = "".join(f"[lanes.{lane.label}]\npps = 0\nbps = 0\n" for lane in Lane)
"""Budgets that nothing exceeds: what a quiet wall costs."""

WALLS: dict[str, WallPlan] = {
    "1k bans": WallPlan(bans=FEW),
    "100k bans": WallPlan(bans=MANY),
    "limits": WallPlan(config=f'[limits.source]\npps = {OVER_LIMIT_PPS}\nburst = "20ms"\n'),
    "default": WallPlan(),
    "open": WallPlan(config=ALL_LANES_OPEN, pass_is_drop=True),
    "known": WallPlan(flows=FEW, pass_is_drop=True),
    "rules": WallPlan(rules=PLACES),
    "cookies": WallPlan(cookies=True),
}
"""Everything that is on by default is on in each of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        job: what is done.
        family: IP version.
        title: for people.
        wall: key of :data:`WALLS`, or None for a program of the yardstick ...
        program: ... of this name.
        traffic: what is sent.
        fate: the reason that the wall must give nearly every packet.
    """

    job: Job
    family: Family
    title: str
    traffic: Traffic
    wall: str | None = None
    program: str = ""
    fate: Reason | None = None

    @property
    def name(self) -> str:
        """Unique: the job, with ``-v6`` for IPv6."""
        return self.job if self.family == 4 else f"{self.job}-v6"


def _of(family: Family) -> list[Row]:
    few, many, spoofed = Traffic(family, FEW), Traffic(family, MANY), Traffic(family)
    requests = Traffic(family, tcp=True, syn=True)
    few_tcp, many_tcp = Traffic(family, FEW, tcp=True), Traffic(family, MANY, tcp=True)
    return [
        Row("bare", family, "bare XDP_DROP", few, program="bare_drop"),
        Row("parse", family, "parse, then XDP_DROP", few, program="parse_drop"),
        Row("blocked-1k", family, "blocked, 1,000 bans", few, "1k bans", fate=Reason.BANNED_SOURCE),
        Row("blocked-100k", family, "blocked, 100,000 bans", many, "100k bans", fate=Reason.BANNED_SOURCE),
        Row("over-limit", family, "over the limit, 1,000 sources", few, "limits", fate=Reason.SOURCE_PPS),
        Row("flood", family, "spoofed flood, random sources", spoofed, "default", fate=Reason.CLOSED_UDP),
        Row("pass-1k", family, "passing, 1,000 sources", few_tcp, "open", fate=Reason.PASS),
        Row("pass-100k", family, "passing, 100,000 sources", many_tcp, "open", fate=Reason.PASS),
        Row(
            "rules",
            family,
            f"flood that the last of {PLACES} rules fits",
            spoofed,
            "rules",
            fate=Reason.FINGERPRINT,
        ),
        Row("cookies", family, "SYN flood, cookies sent", requests, "cookies", fate=Reason.COOKIE_SENT),
        Row("known-1k", family, "over budget, 1,000 known flows", few_tcp, "known", fate=Reason.PASS_FLOW),
    ]


ROWS: tuple[Row, ...] = (*_of(4), *_of(6))
BARE: dict[Family, str] = {4: "bare", 6: "bare-v6"}
"""What the rows of a family are compared with."""
