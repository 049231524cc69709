# SPDX-License-Identifier: Apache-2.0
"""Keeps a record of who came near a limit, a minute at a time, so that other settings can be tried on it later.

It sees what detection sees: each look at the meters is handed on. So it costs no look of its own, and at rest next to
nothing. What standing bans drop is read from their own counters every few seconds.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from xdpwall.clock import Clock
from xdpwall.control import past_tables
from xdpwall.control.book import Book
from xdpwall.control.store import Store
from xdpwall.control.traffic import Traffic
from xdpwall.dataplane.interface import Dataplane, LaneCount
from xdpwall.dataplane.keys import source_key
from xdpwall.detection.detector import Detection
from xdpwall.detection.keys import Keys, Mask
from xdpwall.detection.knocking import KnockMeter, Knocks
from xdpwall.detection.limits import KINDS, Kind
from xdpwall.detection.near import Near
from xdpwall.detection.past import SECONDS, Floats, Part
from xdpwall.errors import DataplaneError
from xdpwall.lanes import Lane
from xdpwall.model import Prefix

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.config_sections import PrefixLimits, SourceLimits

log = logging.getLogger(__name__)

MOST_SOURCES, MOST_PREFIXES = 2_048, 512
"""Rows a minute at most."""
DEFAULTS: tuple[Mapping[Kind, int], Mapping[Kind, int]] = (
    {Kind.PPS: 100_000, Kind.BPS: 1_000_000_000, Kind.SYN: 100, Kind.UDP: 20_000, Kind.ICMP: 200},
    {Kind.PPS: 400_000, Kind.BPS: 4_000_000_000, Kind.SYN: 1_000, Kind.UDP: 80_000, Kind.ICMP: 1_000},
)
"""The config's own limits of sources and of prefixes, once more: the controller keeps no model of the config."""
_SHARE = 0.02
"""Who sends this share of a limit is near it."""
_LEAST_PPS = 20
"""Nobody below this is near a limit: a page load is that many connections."""
_KNOCK_SECONDS = 5
_LANE_SHARE = 0.1
_WIDE = 256
_GAP_MS = 5_000
_PRUNE_PARTS = 60


class PastRecord:
    """The record of one controller's life.

    Args:
        store: the state file.
        clock: both clocks.
        config: gives the configuration in force.
        book: bans that stand.
        traffic: what the wall sees.
        knows: which sources this host talks to.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: Callable[[], Config],
        book: Book,
        traffic: Traffic,
        knows: Callable[[Dataplane, Keys], Mask],
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._book = book
        self._traffic = traffic
        self._knows = knows
        self._sources, self._prefixes = Near(MOST_SOURCES), Near(MOST_PREFIXES)
        self._meter, self._wide_meter = KnockMeter(), KnockMeter()
        self._span_ms = self._ended_ms = 0
        self._parts = 0
        self._met = self._broken = False
        self._banned_before = 0
        self._before: dict[Lane, LaneCount] = {}
        self._begin()

    def look(self, detection: Detection) -> None:
        """One look at the meters, as detection had it."""
        second = (detection.sources.mono_ns - self._began_ns) // 1_000_000_000
        if self._broken or not 0 <= second < SECONDS:
            return
        try:
            self._sources.look(detection.sources, second)
            self._prefixes.look(detection.prefixes, second)
        except Exception:
            # Detection hands this on in mid attack: whoever keeps the record must never stop it.
            log.exception("the record of traffic met a bug, and ends until the next start; please report it")
            self._broken = True

    def second(self, wall: Dataplane) -> None:
        """Called once a second.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        if self._broken:
            return
        now = self._clock.mono_ns()
        second = (now - self._began_ns) // 1_000_000_000
        if not self._met:
            self._met = True
            self._look_at_bans(wall, now)
        self._lanes(wall, min(second, SECONDS) - 1)
        self._knocks(wall, second, now)
        if second >= SECONDS:
            self._prove(wall)
            self._save(SECONDS)
            self._begin()

    def restart(self) -> None:
        """Another wall: its counters have nothing to do with those before."""
        self._before.clear()
        self._meter, self._wide_meter = KnockMeter(), KnockMeter()
        self._met = False

    def close(self, wall: Dataplane | None) -> None:
        """The controller stops: what there is of this minute goes on record."""
        if self._broken:
            return
        now = self._clock.mono_ns()
        seconds = min(SECONDS, -(-(now - self._began_ns) // 1_000_000_000))
        if wall is not None:
            with contextlib.suppress(DataplaneError):  # it may be gone already
                self._knocks(wall, seconds, now, everything=True)
                self._prove(wall)
        self._save(seconds)

    def _begin(self) -> None:
        self._began_ns, self._began_ms = self._clock.mono_ns(), self._clock.wall_ms()
        if (
            abs(self._began_ms - self._ended_ms) > _GAP_MS
        ):  # the clock was set, the machine slept, or we just began
            self._span_ms = self._began_ms
        limits = self._config().limits
        self._floors = (_floors(limits.source, DEFAULTS[0]), _floors(limits.prefix, DEFAULTS[1]))
        self._sources.begin(self._floors[0])
        self._prefixes.begin(self._floors[1])
        self._lane_rows: dict[Lane, Floats] = {}
        self._near_budget = False
        self._lane_second = -1
        self._knocked = 0
        self._banned = np.zeros(SECONDS)

    def _lanes(self, wall: Dataplane, second: int) -> None:
        """What asked for each lane's budget in the second that is over."""
        counts = dict(wall.lanes())
        before, self._before = self._before, counts
        first, self._lane_second = min(self._lane_second + 1, second), second
        if first < 0:
            return
        budgets = self._config().lanes
        for lane, now in counts.items():
            then = before.get(lane)
            if then is None or now.seen.packets < then.seen.packets:
                continue
            asking, asked = now.asking, then.asking
            figures = np.array(
                [
                    asking.packets - asked.packets,
                    8 * (asking.bytes - asked.bytes),
                    now.over.packets - then.over.packets,
                    now.dropped.packets - then.dropped.packets,
                ],
                np.float64,
            ) / (second - first + 1)
            if figures.max() <= 0:
                continue
            row = self._lane_rows.setdefault(lane, np.zeros((4, SECONDS)))
            row[:, first : second + 1] += np.maximum(figures, 0)[:, None]
            budget = getattr(budgets, lane.label)
            self._near_budget |= bool(budget.pps and figures[0] >= budget.pps * _LANE_SHARE)
            self._near_budget |= bool(budget.bps and figures[1] >= budget.bps * _LANE_SHARE)

    def _knocks(self, wall: Dataplane, second: int, now: int, *, everything: bool = False) -> None:
        """What bans dropped, spread over the seconds in which they dropped anything."""
        total = self._traffic.banned
        if total - self._banned_before > 0:
            self._banned[max(0, min(second, SECONDS) - 1)] += total - self._banned_before
        self._banned_before = total
        if second < SECONDS and not everything:
            if self._traffic.banned_pps() < _LEAST_PPS and second - self._knocked <= 2:
                self._knocked = second  # nothing came: what comes next began after this
            if second - self._knocked < _KNOCK_SECONDS:
                return
        first, last, self._knocked = self._knocked, min(second, SECONDS) - 1, second
        found = self._look_at_bans(wall, now)
        weights = self._banned[first : last + 1]
        if last < first or not weights.sum():
            return
        for near, knocks in zip((self._sources, self._prefixes), found, strict=True):
            if len(knocks.keys):
                sent = np.stack([knocks.packets.astype(np.float64), knocks.bytes.astype(np.float64) * 8])
                near.learn_mixes()
                near.knock(knocks.keys, sent, first, weights / weights.sum())

    def _look_at_bans(self, wall: Dataplane, now: int) -> tuple[Knocks, Knocks]:
        drops = wall.bans.drops()
        return (
            self._meter.update(drops.keys, drops.packets, drops.bytes, now),
            self._wide_meter.update(*self._wide(wall), now),
        )

    def _wide(self, wall: Dataplane) -> tuple[Keys, Keys, Keys]:
        """Counters of bans on prefixes that have a meter of their own (/24, /48)."""
        rows: list[tuple[int, int, int]] = []
        if self._book.wide:
            metered = (
                b.prefix for b in self._book.bans() if b.prefix.length == (24, 48)[b.prefix.version == 6]
            )
            for prefix, _ in zip(metered, range(_WIDE), strict=False):
                ban = wall.bans.get(prefix)
                if ban is not None:
                    host = Prefix.covering(prefix.packed, 32 if prefix.version == 4 else 64)
                    rows.append((source_key(host), ban.packets, ban.bytes))
        table = np.array(rows, np.uint64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def _prove(self, wall: Dataplane) -> None:
        keys = self._sources.keys
        if len(keys):
            self._sources.prove(self._knows(wall, keys))

    def _save(self, seconds: int) -> None:
        if seconds <= 0:
            return
        self._ended_ms = self._began_ms + seconds * 1000
        span = (self._span_ms, self._ended_ms)
        sources, prefixes = self._sources.take(seconds), self._prefixes.take(seconds)
        lanes = {lane.label: row[:, :seconds] for lane, row in self._lane_rows.items()}
        floors, began_ms, always = self._floors, self._began_ms, self._near_budget

        def part() -> Part | None:
            """In the store's thread: this and the packing take a while."""
            found = Part(began_ms, seconds, floors, sources.rows(), prefixes.rows(), lanes)
            return found if always or len(found.sources) or len(found.prefixes) else None

        self._parts += 1
        before_ms = self._began_ms - self._config().control.history_ms
        prune = self._parts % _PRUNE_PARTS == 1
        saved: Future[None] = self._store.read(
            lambda database: _write(database.work, span, part(), before_ms if prune else None)
        )
        # A failed write shows in the store's own figures with the next ban; nobody waits for this one.
        saved.add_done_callback(lambda done: done.exception())


def _write(
    work: Callable[..., None], span: tuple[int, int], part: Part | None, before_ms: int | None
) -> None:
    packed = None if part is None else (part.at_ms, part.pack())
    work(lambda db: past_tables.add(db, span, packed))
    if before_ms is not None:
        work(lambda db: past_tables.prune(db, before_ms))


def _floors(limits: SourceLimits | PrefixLimits, defaults: Mapping[Kind, int]) -> tuple[float, ...]:
    """What brings somebody near a limit. Where a limit is off, the default stands for it."""
    found = []
    for kind in KINDS:
        limit = getattr(limits, kind.value) or defaults[kind]
        found.append(max(limit * _SHARE, 1_000.0 if kind.value == "bps" else _LEAST_PPS))
    return tuple(found)
