# SPDX-License-Identifier: Apache-2.0
"""The busiest sources, for people who look. Costs nothing while nobody does.

Rates for people are over a second or more, so the first look takes a second: two snapshots are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.guard import Guard
from xdpwall.control.results import SourceResult, SourcesResult
from xdpwall.dataplane.interface import Dataplane
from xdpwall.detection.rates import RateMeter, Rates
from xdpwall.detection.top import SortBy, SourceRow, top
from xdpwall.snapshot import MeterSnapshot

T = TypeVar("T")
SPAN_NS = 900_000_000
"""Rates are over at least this long."""
STALE_NS = 5_000_000_000
"""What was read longer ago than this is no base for a rate."""
FORGET_NS = 30_000_000_000
"""Nobody looked for this long: give the memory back."""


class Watcher:
    """Remembers the last look at the source meters.

    Args:
        clock: both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall: Dataplane | None = None
        self._meter: RateMeter | None = None
        self._base_ns = 0
        self._snapshot: MeterSnapshot | None = None
        self._rates: Rates | None = None
        self._lock = asyncio.Lock()

    def reset(self) -> None:
        """Forget everything: there is another wall, or nobody looks any more."""
        self._wall = self._meter = self._snapshot = self._rates = None

    def idle(self) -> None:
        """Called now and then: forget, when nobody looked for a while."""
        if self._meter is not None and self._clock.mono_ns() - self._base_ns > FORGET_NS:
            self.reset()

    async def look(
        self, wall: Dataplane, book: Book, guard: Guard, *, limit: int, sort: str
    ) -> SourcesResult:
        """The first ``limit`` sources. Takes up to a second when nobody looked lately."""
        async with self._lock:
            if (
                wall is not self._wall
                or self._meter is None
                or self._clock.mono_ns() - self._base_ns > STALE_NS
            ):
                self.reset()
                self._wall = wall
                self._read(wall)
                await asyncio.sleep(1.0)
                self._read(wall)
            elif self._clock.mono_ns() - self._base_ns >= SPAN_NS:
                self._read(wall)
            if self._snapshot is None or self._rates is None:
                return SourcesResult(sources=[], metered=0)  # another wall came in between
            rows = top(self._snapshot, self._rates, sort=SortBy(sort), limit=limit)
            metered = int((self._snapshot.slots["key"] != 0).sum())
        wall_ms = self._clock.wall_ms()
        return SourcesResult(sources=[_row(row, book, guard, wall_ms) for row in rows], metered=metered)

    async def glance(self, wall: Dataplane, work: Callable[[MeterSnapshot, Rates], T]) -> T:
        """Do ``work`` on the meters as of a second ago at most, in a thread: numpy lets go of the interpreter.

        It does not wait for a second look: at the first glance there are totals and no rates.
        """
        async with self._lock:
            if wall is not self._wall or self._clock.mono_ns() - self._base_ns > STALE_NS:
                self.reset()
                self._wall = wall
            meter = self._meter or RateMeter()
            due = self._snapshot is None or self._clock.mono_ns() - self._base_ns >= SPAN_NS
            snapshot = wall.sources() if due or self._snapshot is None else self._snapshot
            rates = None if due else self._rates

            def look() -> tuple[Rates, T]:
                found = meter.update(snapshot) if rates is None else rates
                return found, work(snapshot, found)

            found, result = await asyncio.to_thread(look)
            if due and self._wall is wall:
                self._meter, self._snapshot, self._rates = meter, snapshot, found
                self._base_ns = snapshot.mono_ns
            return result

    def _read(self, wall: Dataplane) -> None:
        if self._meter is None:
            self._meter = RateMeter()
        self._snapshot = wall.sources()
        self._rates = self._meter.update(self._snapshot)
        self._base_ns = self._clock.mono_ns()


def _row(row: SourceRow, book: Book, guard: Guard, now_ms: int) -> SourceResult:
    return SourceResult(
        source=str(row.prefix),
        packets=row.packets,
        bytes=row.bytes,
        pps=row.pps,
        bps=row.bps,
        syn_pps=row.syn_pps,
        udp_pps=row.udp_pps,
        icmp_pps=row.icmp_pps,
        fragments=row.fragments,
        drops=row.drops,
        first_seen_ms=now_ms - row.first_ago_ms,
        last_seen_ms=now_ms - row.last_ago_ms,
        banned=book.covering(row.prefix, now_ms) is not None,
        allowed=guard.allowed_by(row.prefix) is not None,
    )
