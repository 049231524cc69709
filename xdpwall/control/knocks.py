# SPDX-License-Identifier: Apache-2.0
"""What bans drop per second, for people who look. Costs nothing while nobody does."""

from __future__ import annotations

import asyncio

from xdpwall.clock import Clock
from xdpwall.control import views
from xdpwall.control.results import ActiveBanResult
from xdpwall.control.watcher import FORGET_NS, SPAN_NS, STALE_NS
from xdpwall.dataplane.interface import Dataplane, KernelBan
from xdpwall.dataplane.keys import source_key, source_prefix
from xdpwall.detection.knocking import KnockMeter, Knocks, nobody
from xdpwall.model import Ban, Prefix

_MOST_WIDE = 1_000


class BanRows:
    """Remembers the last look at the bans' counters.

    Args:
        clock: both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall: Dataplane | None = None
        self._meter: KnockMeter | None = None
        self._knocks = nobody()
        self._at_ns = 0
        self._lock = asyncio.Lock()
        # Bans of prefixes have counters in another map: those that were shown are remembered one by one.
        self._wide: dict[Prefix, tuple[int, int, int]] = {}
        self._wide_rates: dict[Prefix, tuple[int, int]] = {}

    def idle(self) -> None:
        """Called now and then: forget, when nobody looked for a while."""
        if self._meter is not None and self._clock.mono_ns() - self._at_ns > FORGET_NS:
            self._reset(None)

    async def look(self, wall: Dataplane) -> Knocks:
        """What bans of single sources drop, over the last second or so. The first look gives nobody."""
        async with self._lock:
            now = self._clock.mono_ns()
            if wall is not self._wall or now - self._at_ns > STALE_NS:
                self._reset(wall)
            meter = self._meter
            if meter is None:
                meter = self._meter = KnockMeter()
            elif now - self._at_ns < SPAN_NS:
                return self._knocks
            drops = wall.bans.drops()
            # Sorting many bans takes milliseconds: in a thread, so that the tick goes on.
            knocks = await asyncio.to_thread(meter.update, drops.keys, drops.packets, drops.bytes, now)
            self._knocks, self._at_ns = knocks, now
            return knocks

    def prefix_of(self, key: int) -> Prefix:
        """The source behind a key."""
        return source_prefix(key)

    def pps(self, prefix: Prefix, knocks: Knocks) -> int:
        """What a ban drops per second; 0 when that is not known yet."""
        return (
            knocks.of(source_key(prefix))[0] if prefix.is_source else self._wide_rates.get(prefix, (0, 0))[0]
        )

    def row(self, wall: Dataplane, ban: Ban, knocks: Knocks, now_ms: int) -> ActiveBanResult:
        """One ban with its counters and its rate."""
        kernel = wall.bans.get(ban.prefix)
        if kernel is not None and not ban.prefix.is_source:
            self._follow(kernel)
        return ActiveBanResult(
            **views.ban_result(ban, now_ms, kernel), dropped_pps=self.pps(ban.prefix, knocks)
        )

    def wide(self) -> list[tuple[Prefix, int, int]]:
        """Bans of prefixes that drop something: packets and bits per second. Of those that were shown lately."""
        return [(prefix, pps, bps) for prefix, (pps, bps) in self._wide_rates.items() if pps]

    def _follow(self, kernel: KernelBan) -> None:
        now, prefix = self._clock.mono_ns(), kernel.prefix
        before = self._wide.get(prefix)
        if before is not None and now - before[0] < SPAN_NS:
            return
        if len(self._wide) >= _MOST_WIDE:
            self._wide.clear()
            self._wide_rates.clear()
        self._wide[prefix] = (now, kernel.packets, kernel.bytes)
        self._wide_rates.pop(prefix, None)
        if before is not None and now - before[0] <= STALE_NS:
            span = now - before[0]
            packets, size = (
                max(0, a - b) for a, b in ((kernel.packets, before[1]), (kernel.bytes, before[2]))
            )
            self._wide_rates[prefix] = (packets * 1_000_000_000 // span, size * 8_000_000_000 // span)

    def _reset(self, wall: Dataplane | None) -> None:
        self._wall = wall
        self._meter = None
        self._knocks = nobody()
        self._wide.clear()
        self._wide_rates.clear()
