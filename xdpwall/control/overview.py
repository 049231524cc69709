# SPDX-License-Identifier: Apache-2.0
"""One answer with all that a live screen shows, and no more: a million sources cost it no more than twenty.

It is made of the other ops' parts. Where incidents are not kept, or no wall is loaded, their keys are left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xdpwall.control import protocol, views
from xdpwall.control.engine import Engine
from xdpwall.control.knocks import BanRows
from xdpwall.control.lane_rates import LaneRates
from xdpwall.control.peer import may_write
from xdpwall.control.results import (
    ActiveBanResult,
    ActiveSourceResult,
    GeoFilesResult,
    LanesResult,
    OverviewResult,
    ReasonResult,
)
from xdpwall.control.trend import Trend
from xdpwall.control.watcher import Watcher
from xdpwall.dataplane.interface import Dataplane
from xdpwall.detection.knocking import Knocks
from xdpwall.detection.rates import Rates
from xdpwall.detection.top import SortBy, SourceRow, top
from xdpwall.detection.within import only_within
from xdpwall.errors import DataplaneError, StoreError
from xdpwall.model import Ban, Prefix
from xdpwall.snapshot import MeterSnapshot

Op = Callable[[dict[str, Any]], Awaitable[Any]]
_LIMITED_BY_KNOCKS = {"pps", "bps", "drops"}


class Overview:
    """Puts the answer together.

    Args:
        engine: what is known.
        watcher: the source meters' last look, shared with the op ``sources``.
        ops: the other ops, by name, as they are when an answer is made.
    """

    def __init__(self, engine: Engine, watcher: Watcher, ops: Mapping[str, Op]) -> None:
        self._engine = engine
        self._watcher = watcher
        self._ops = ops
        self._bans = BanRows(engine.clock)
        self._lanes = LaneRates()
        self.trend = Trend()

    def second(self) -> None:
        """A second is over: one more point of the trend. Nobody looked for a while: give memory back."""
        info = self._engine.keeper.info
        self.trend.add(self._engine.traffic.rates("none" if info is None else info.policy))
        self._bans.idle()
        if self._engine.wall is not None:
            try:
                self._lanes.update(self._engine.wall.lanes(), self._engine.clock.mono_ns())
            except DataplaneError as error:
                self._engine.throttle.line("lanes", f"the lanes cannot be read: {error.message}")

    async def lanes(self, _: dict[str, Any]) -> LanesResult:
        """The op ``lanes``."""
        return LanesResult(lanes=self._lanes.rows(self._engine.config.lanes))

    async def answer(self, args: dict[str, Any]) -> OverviewResult:
        """The op ``overview``; arguments as in :data:`protocol.OPS`."""
        engine = self._engine
        wall, now = engine.wall, engine.clock.wall_ms()
        within = Prefix.parse(args["within"]) if "within" in args else None
        result = OverviewResult(
            at_ms=now,
            may_write=may_write(),
            status=await self._ops["status"]({}),
            trend=self.trend.last(args["trend"]),
            sources=[],
            metered=0,
            bans=[],
            reasons=self._reasons(),
            geo=GeoFilesResult(
                database=engine.config.geo.database, asn_database=engine.config.geo.asn_database
            ),
        )
        if wall is not None:
            knocks = await self._bans.look(wall)
            result["bans"] = self._ban_rows(wall, knocks, args["bans"], within, now)
            if args["sources"] and engine.config.meters.enabled:
                result["sources"], result["metered"] = await self._sources(wall, knocks, args, within, now)
        await self._others(result, args)
        return result

    async def _others(self, result: OverviewResult, args: dict[str, Any]) -> None:
        if self._engine.wall is not None:
            result["lanes"] = self._lanes.rows(self._engine.config.lanes)
        incidents = self._ops.get("incident.list")
        if incidents is not None and args["incidents"]:
            try:
                found = await incidents(protocol.check_args("incident.list", {"limit": args["incidents"]}))
                result["incidents"] = found["incidents"]
            except StoreError:
                pass  # the database cannot be read: status says so, and the rest is worth seeing all the same

    def _reasons(self) -> list[ReasonResult]:
        """Verdicts of all interfaces together, the busiest first."""
        traffic = self._engine.traffic
        rates = traffic.by_verdict()
        rows: dict[tuple[int, str], ReasonResult] = {}
        for name, counts in traffic.counts.items():
            for reason, total in counts.items():
                observed = traffic.observed.get(name, {}).get(reason)
                pps = rates.get((name, reason), 0)
                for action, count in views.split(total, observed, reason):
                    row = rows.setdefault(
                        (reason, action),
                        ReasonResult(
                            reason=reason.label,
                            action=action,
                            packets=0,
                            bytes=0,
                            pps=0,
                            meaning=reason.meaning,
                        ),
                    )
                    row["packets"] += count.packets
                    row["bytes"] += count.bytes
                    row["pps"] += pps
                    pps = 0  # of two rows, the first is what happens now
        return sorted(rows.values(), key=lambda row: (-row["pps"], -row["packets"]))

    # --- sources ---

    async def _sources(
        self, wall: Dataplane, knocks: Knocks, args: dict[str, Any], within: Prefix | None, now: int
    ) -> tuple[list[ActiveSourceResult], int]:
        limit, sort = args["sources"], args["sort"]
        metered, count = await self._watcher.glance(
            wall, lambda snapshot, rates: _metered(snapshot, rates, limit, sort, within)
        )
        rows = {
            row.prefix: self._row(row.prefix, now, knocks.of(row.key), row, dropped)
            for row, dropped in metered
        }
        if sort in _LIMITED_BY_KNOCKS:
            for key, pps, bps in knocks.busiest(limit, by_bytes=sort == "bps"):
                prefix = self._bans.prefix_of(key)
                if prefix not in rows and (within is None or within.contains(prefix)):
                    rows[prefix] = self._row(prefix, now, (pps, bps))
            for prefix, pps, bps in self._bans.wide():
                if within is None or within.contains(prefix):
                    rows[prefix] = self._row(prefix, now, (pps, bps))
        ordered = sorted(rows.values(), key=_ORDER[sort], reverse=True)[:limit]
        return ordered, count

    def _row(
        self,
        prefix: Prefix,
        now: int,
        knock: tuple[int, int],
        metered: SourceRow | None = None,
        dropped: int = 0,
    ) -> ActiveSourceResult:
        """One source.

        Args:
            prefix: who.
            now: Unix time, ms.
            knock: packets and bits per second that bans drop of it.
            metered: what its meters say; None when none of its packets got as far.
            dropped: packets per second that were dropped after the meters.
        """
        knock_pps, knock_bps = knock
        ban = self._engine.book.covering(prefix, now)
        allowed = self._engine.guard.allowed_by(prefix) is not None
        row = ActiveSourceResult(
            source=str(prefix),
            pps=knock_pps + (metered.pps if metered else 0),
            bps=knock_bps + (metered.bps if metered else 0),
            syn_pps=metered.syn_pps if metered else 0,
            udp_pps=metered.udp_pps if metered else 0,
            icmp_pps=metered.icmp_pps if metered else 0,
            dropped_pps=knock_pps + dropped,
            packets=metered.packets if metered else 0,
            bytes=metered.bytes if metered else 0,
            first_seen_ms=now - metered.first_ago_ms if metered else 0,
            last_seen_ms=now - metered.last_ago_ms if metered and not knock_pps else now,
            verdict="allowed" if allowed else "banned" if ban else "limited" if dropped else "passed",
        )
        if ban is not None:
            row["ban"] = views.ban_result(ban, now, None)
        return row

    # --- bans ---

    def _ban_rows(
        self, wall: Dataplane, knocks: Knocks, limit: int, within: Prefix | None, now: int
    ) -> list[ActiveBanResult]:
        """Those that drop most right now, then the newest."""
        book = self._engine.book
        found: dict[Prefix, Ban] = {}
        if within is not None:
            found = {ban.prefix: ban for ban in book.inside(within)}
            covering = book.covering(within, now)
            if covering is not None:
                found[covering.prefix] = covering
        elif limit:
            busy: Sequence[Prefix] = [self._bans.prefix_of(key) for key, _, _ in knocks.busiest(limit)]
            found = {ban.prefix: ban for ban in map(book.get, busy) if ban is not None}
            found.update((ban.prefix, ban) for ban in book.newest(limit))
        live = [ban for ban in found.values() if not ban.is_over(now)]
        live.sort(key=lambda ban: (self._bans.pps(ban.prefix, knocks), ban.created_ms), reverse=True)
        return [self._bans.row(wall, ban, knocks, now) for ban in live[:limit]]


def _metered(
    snapshot: MeterSnapshot, rates: Rates, limit: int, sort: str, within: Prefix | None
) -> tuple[list[tuple[SourceRow, int]], int]:
    """The first of the meters, each with its drops per second, and how many there are."""
    count = int((snapshot.slots["key"] != 0).sum())
    if within is not None:
        snapshot = replace(snapshot, slots=only_within(snapshot.slots, within))
    rows = top(snapshot, rates, sort=SortBy(sort), limit=limit)
    return [(row, rates.drops_per_second(row.key)) for row in rows], count


_ORDER: Mapping[str, Callable[[ActiveSourceResult], int]] = {
    "pps": lambda row: row["pps"],
    "bps": lambda row: row["bps"],
    "syn": lambda row: row["syn_pps"],
    "udp": lambda row: row["udp_pps"],
    "icmp": lambda row: row["icmp_pps"],
    "packets": lambda row: row["packets"],
    "bytes": lambda row: row["bytes"],
    "drops": lambda row: row["dropped_pps"],
    "last": lambda row: row["last_seen_ms"],
}
