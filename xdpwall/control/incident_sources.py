# SPDX-License-Identifier: Apache-2.0
"""Who sends during an incident: reads meters and bans once a second, sums them up and looks them up in a thread.

The look at the meters is the tick's (it is a difference of two looks); sorting, sums and origins are the thread's. The
thread is there only while an incident is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from xdpwall.clock import Clock
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.keys import source_key
from xdpwall.detection.keys import Keys
from xdpwall.detection.knocking import KnockMeter
from xdpwall.detection.rates import RateMeter, Rates
from xdpwall.errors import DataplaneError, XdpwallError
from xdpwall.incident.faces import Attributor
from xdpwall.incident.model import Origin, Source, Sources, Totals
from xdpwall.incident.sources import SourceLedger, View
from xdpwall.lanes import Lane
from xdpwall.model import Prefix

log = logging.getLogger(__name__)

TOP = 100
PREFIXES = 50
_LOW_AND_WIDE = 1_000
_MOST_WAITING = 4


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found. ``collateral``: packets dropped of sources that had completed a handshake."""

    sources: Sources
    origin: Origin
    collateral: int | None
    patterns: tuple[str, ...]


class SourceDesk:
    """The sources of the incident that is open.

    Args:
        clock: both clocks.
        attributor: makes what looks up origins, when it is first needed; None: nobody does.
        is_banned: whether a source is banned.
        executor: where work is done; a thread of its own by default.
    """

    def __init__(
        self,
        clock: Clock,
        attributor: Callable[[], Attributor | None],
        is_banned: Callable[[Prefix], bool],
        executor: Executor | None = None,
    ) -> None:
        self._clock = clock
        self._attributor = attributor
        self._is_banned = is_banned
        self._given = executor
        self._executor: Executor | None = executor
        self._ledger = SourceLedger()
        self._sampled = SourceLedger()
        self._mix: dict[Lane, float] = {}
        self._meter = RateMeter()
        self._knocks = KnockMeter()
        self._wide: dict[Prefix, tuple[int, int]] = {}
        self._waiting: list[Future[None]] = []
        self._look: Future[Found | None] | None = None

    def begin(self, wall: Dataplane, since_tick: int, banned: Keys | None = None) -> None:
        """An incident opened, or goes on after a restart.

        Args:
            wall: the wall.
            since_tick: the kernel's tick of its first packet.
            banned: sources that were banned because of it before the restart: all that their bans dropped is its.
        """
        self._ledger, self._sampled, self._mix = SourceLedger(), SourceLedger(), {}
        self._meter, self._knocks = RateMeter(), KnockMeter()
        self._wide.clear()
        self._look = None
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "incident")
        snapshot = wall.sources()
        self._ledger.seed(snapshot, since_tick)
        self._meter.update(snapshot)
        drops = wall.bans.drops()
        self._knocks.update(drops.keys, drops.packets, drops.bytes, self._clock.mono_ns())
        if banned is not None:
            its = np.isin(drops.keys, banned)
            self._ledger.take_banned(drops.keys[its], drops.packets[its], drops.bytes[its])

    def end(self) -> None:
        """It is closed: give the memory back."""
        self._ledger, self._sampled, self._mix = SourceLedger(), SourceLedger(), {}
        self._meter, self._knocks = RateMeter(), KnockMeter()
        self._waiting.clear()
        if self._given is None and self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def second(self, wall: Dataplane, wide: list[Prefix]) -> None:
        """One second: read what moved, and hand it to the thread.

        Args:
            wall: the wall.
            wide: bans of prefixes that stand, whose drops have counters of their own.
        """
        rates = self._meter.update(wall.sources())
        drops = wall.bans.drops()
        wide_keys, wide_packets, wide_bytes = self._wide_drops(wall, wide)
        self._waiting = [job for job in self._waiting if not job.done()]
        if self._executor is None or len(self._waiting) > _MOST_WAITING:
            log.debug("a second of sources is left out: the machine is too busy")
            return
        now = self._clock.mono_ns()
        self._waiting.append(
            self._executor.submit(
                self._take,
                rates,
                drops.keys,
                drops.packets,
                drops.bytes,
                now,
                wide_keys,
                wide_packets,
                wide_bytes,
            )
        )

    def sampled(self, keys: Keys, packets: Keys, size: Keys) -> None:
        """Dropped packets that were sampled, with what each stands for: the only word on sources that sent once."""
        if len(keys) and self._executor is not None:
            self._waiting.append(self._executor.submit(self._sampled.take_banned, keys, packets, size))

    @property
    def mix(self) -> dict[Lane, float]:
        """In what proportion metered attackers' packets were of each lane."""
        return dict(self._mix)

    def look(self, wall: Dataplane, totals: Totals) -> None:
        """Begin to sum up and look up; :meth:`result` has it later. ``totals``: of the incident so far."""
        if self._look is None and self._executor is not None:
            self._look = self._executor.submit(self._find, wall, totals)

    def result(self) -> Found | None:
        """What the last :meth:`look` found, once."""
        if self._look is None or not self._look.done():
            return None
        look, self._look = self._look, None
        try:
            return look.result()
        except XdpwallError as error:
            log.error("the sources of the incident cannot be looked up: %s", error.message)
            return None

    # --- in the thread ---

    def _take(
        self, rates: Rates, keys: Keys, packets: Keys, size: Keys, now_ns: int, wide: Keys, wp: Keys, wb: Keys
    ) -> None:
        self._ledger.take(rates)
        knocks = self._knocks.update(keys, packets, size, now_ns)
        self._ledger.take_banned(knocks.keys, knocks.packets, knocks.bytes)
        self._ledger.take_banned(wide, wp, wb)
        if self._ledger.full:
            self._ledger.settle()

    def _find(self, wall: Dataplane, totals: Totals) -> Found | None:
        packets = max(1, totals.packets)
        self._mix = dict(self._ledger.lanes())
        background = totals.background_packets / packets
        ledger, view = self._ledger, self._ledger.attackers(totals.dropped_packets, background)
        if view.packets * 2 < packets:
            # A source that sends one packet has no meter. Samples know it, and stand for many of its kind.
            sampled = self._sampled.attackers(0, background)
            if sampled.packets > view.packets:
                ledger, view = self._sampled, sampled
        try:
            proven = wall.proven(view.keys)
        except (DataplaneError, ValueError):
            return None  # the wall was closed meanwhile
        # A sample stands for many others: what it says of one good source is no count.
        collateral = None if ledger is self._sampled else view.collateral(proven)
        seen, estimated = self._count(ledger, view)
        top = view.top(TOP, proven)
        prefixes = view.prefixes(PREFIXES)
        origin = Origin()
        attributor = self._attributor()
        if attributor is not None:
            table = view.table(np.asarray(proven, np.bool_))
            origin, places = attributor.about(table, [source.source for source in top])
            top = [
                replace(source, country=place.country, asn=place.asn, as_name=place.as_name)
                for source, place in zip(top, places, strict=True)
            ]
        top = [self._with_ban(source) for source in top]
        patterns = []
        if ledger is self._sampled:
            patterns.append("most source addresses were seen once only: they are counted from samples")
        elif seen >= _LOW_AND_WIDE and view.busiest_share() < 0.01:
            each = view.packets / max(1, len(view.keys))
            patterns.append(
                f"low and wide: {seen:,} sources, {each:,.0f} packets each on average, and none sent 1 % of it"
            )
        sources = Sources(seen, estimated, view.packets, view.bytes, tuple(top), tuple(prefixes))
        return Found(sources, origin, collateral, tuple(patterns))

    def _count(self, ledger: SourceLedger, view: View) -> tuple[int, bool]:
        """How many sources there were, and whether there may have been more."""
        if len(view.keys) < len(ledger):
            return len(view.keys), False  # others came, too: only those that were dropped are meant
        seen, estimated = ledger.seen()
        return seen, estimated or ledger is self._sampled

    def _with_ban(self, source: Source) -> Source:
        return replace(source, banned=True) if self._is_banned(Prefix.parse_source(source.source)) else source

    def _wide_drops(self, wall: Dataplane, wide: list[Prefix]) -> tuple[Keys, Keys, Keys]:
        """What bans of prefixes dropped since the last time, laid to the prefix's first address."""
        rows: list[tuple[int, int, int]] = []
        seen: dict[Prefix, tuple[int, int]] = {}
        for prefix in wide:
            ban = wall.bans.get(prefix)
            if ban is None:
                continue
            seen[prefix] = (ban.packets, ban.bytes)
            packets, size = self._wide.get(prefix, (0, 0) if self._wide else seen[prefix])
            if ban.packets > packets:
                host = Prefix.covering(prefix.packed, 32 if prefix.version == 4 else 64)
                rows.append((source_key(host), ban.packets - packets, max(0, ban.bytes - size)))
        self._wide = seen
        table = np.array(rows, np.uint64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]
