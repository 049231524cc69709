# SPDX-License-Identifier: Apache-2.0
"""What is gathered beside the wall's counters while an incident is open: samples, sources, how users fare."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xdpwall.clock import Clock
from xdpwall.control import incident_samples
from xdpwall.control.book import Book
from xdpwall.control.incident_sources import Found, SourceDesk
from xdpwall.control.netstat import read_stack
from xdpwall.control.probes import Prober
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.keys import source_key
from xdpwall.detection.keys import keys_of
from xdpwall.fingerprint_text import describe
from xdpwall.incident import account
from xdpwall.incident.facts import read_frame
from xdpwall.incident.model import FingerprintUse, Incident, Samples, Totals, Users
from xdpwall.incident.reading import Pair, Rates, Reading
from xdpwall.incident.users import UserBook
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.config import Config

_RECENT = 4_000
_MOST_READ = 1_000
"""Samples that are looked into each second."""
_MIX_ENOUGH = 20
_MOST_WIDE = 1_000


@dataclass(frozen=True, slots=True)
class TickTime:
    """Turns the kernel's ticks into Unix milliseconds: what the tick was at one moment, and how fast it runs."""

    tick: int
    at_ms: float
    hz: int

    @classmethod
    def read(cls, wall: Dataplane, clock: Clock) -> TickTime:
        """Now."""
        snapshot = wall.sources()
        age_ms = (clock.mono_ns() - snapshot.mono_ns) / 1e6
        return cls(snapshot.now_tick, clock.wall_ms() - age_ms, snapshot.tick_hz)

    def ms(self, tick: int) -> float:
        """When a tick was."""
        return self.at_ms - (self.tick - tick) * 1000 / self.hz

    def tick_at(self, at_ms: float) -> int:
        """Which tick it was then."""
        return self.tick - round((self.at_ms - at_ms) * self.hz / 1000)


class Evidence:
    """Everything that is gathered for the open incident.

    Args:
        config: the configuration in force.
        clock: both clocks.
        desk: sums up sources.
        book: bans that stand.
        folder: the state folder, for samples; None keeps none.
    """

    def __init__(
        self, config: Config, clock: Clock, desk: SourceDesk, book: Book, folder: Path | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._desk = desk
        self._book = book
        self._folder = folder
        self._recent: deque[Sample] = deque(maxlen=_RECENT)
        self._batch: list[Sample] = []
        self._file: incident_samples.SampleFile | None = None
        self._users = UserBook()
        self._prober = Prober(config.probes)
        self._mix: Counter[Lane] = Counter()
        self._time: TickTime | None = None
        self._collateral: int | None = None

    def start(self) -> None:
        """Begin to probe own services."""
        self._prober.start()

    def stop(self) -> None:
        """Let go of everything."""
        self._prober.stop()
        self.closed()

    def configure(self, config: Config) -> None:
        """Put another config in force."""
        self._config = config
        self._prober.configure(config.probes)

    def offer(self, samples: list[Sample]) -> None:
        """Samples of the last tick."""
        self._recent.extend(samples)
        if len(self._batch) < _RECENT:
            self._batch.extend(samples)

    def crowd(self, rates: Rates) -> bool:
        """Whether most connection requests lead to connections: then these are visitors, however many."""
        completed = self._users.completed_per_s
        return completed is not None and completed >= 0.5 * rates.lane_pps(Lane.SYN) > 0

    def second(self, *, in_burst: bool) -> None:
        """Once a second, incident or not: how users fare."""
        self._users.take(read_stack(self._clock.mono_ns()), self._prober.take(), in_burst=in_burst)
        if self._file is None and len(self._batch) > _RECENT // 2:
            self._batch.clear()

    # --- the open incident ---

    def begin(self, wall: Dataplane, base: Reading) -> TickTime:
        """It opens. ``base``: the reading before its first packet."""
        time = self._time = TickTime.read(wall, self._clock)
        since = time.tick_at(base.at_ms) - 1
        self._desk.begin(wall, since)
        self._batch = [sample for sample in self._recent if sample.tick >= since]
        self._mix.clear()
        return time

    def first_drop(self, base: Reading, time: TickTime) -> float | None:
        """When the first dropped packet that was sampled came; None when none was."""
        since = time.tick_at(base.at_ms) - 1
        ticks = [sample.tick for sample in self._recent if sample.tick >= since and sample.reason.drops]
        return round(time.ms(min(ticks)), 1) if ticks else None

    def opened(self, record: Incident) -> None:
        """It has a record now."""
        self._users.open()
        self._keep(record)

    def resume(self, wall: Dataplane | None, record: Incident) -> None:
        """It was open before a restart and goes on."""
        self._users.open(record.users)
        self._keep(record)
        if wall is not None:
            time = TickTime.read(wall, self._clock)
            banned = keys_of(
                ban.prefix
                for ban in self._book.bans()
                if ban.prefix.is_source and ban.created_ms >= record.first_packet_ms
            )
            self._desk.begin(wall, time.tick_at(record.first_packet_ms) - 1, banned)

    def closed(self) -> None:
        """It is over."""
        self._users.close()
        self._desk.end()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._batch = []

    def samples(self) -> list[account.Sample]:
        """Those since the last time, read. Bounded."""
        batch = self._batch
        step = max(1, len(batch) // _MOST_READ)
        found = []
        for sample in batch[::step]:
            facts = read_frame(sample.head[: sample.captured])
            if facts is not None:
                found.append(account.Sample(facts, sample.reason, sample.lane))
                if sample.reason in account.UNLANED:
                    self._mix[facts.lane] += 1
        return found

    def mix(self) -> dict[Lane, float]:
        """In what proportion packets that bans and limits dropped were of each lane."""
        known = self._desk.mix
        whole = self._mix.total()
        if known or whole < _MIX_ENOUGH:
            return known
        # Samples are rationed by lane, so they say what there was better than how much of each.
        return {lane: count / whole for lane, count in self._mix.items()}

    def follow(self, wall: Dataplane, came: Mapping[Lane, Pair]) -> None:
        """One second of the open incident.

        Args:
            wall: the wall.
            came: packets and bytes of the attack, by lane.
        """
        batch, self._batch = self._batch, []
        time = self._time = TickTime.read(wall, self._clock)
        if self._file is not None:
            self._file.take([(time.ms(sample.tick) / 1000, sample) for sample in batch])
        self._count_sources([sample for sample in batch if sample.reason.drops], came)
        wide = (
            [ban.prefix for ban in self._book.bans() if not ban.prefix.is_source] if self._book.wide else []
        )
        self._desk.second(wall, wide[:_MOST_WIDE])

    def look(self, wall: Dataplane, totals: Totals) -> None:
        """Begin to look sources up."""
        self._desk.look(wall, totals)

    def found(self) -> Found | None:
        """What the last look found, once."""
        found = self._desk.result()
        if found is not None:
            self._collateral = found.collateral
        return found

    def users(self) -> Users:
        """How they fare."""
        return self._users.users(self._collateral)

    def fingerprints(self, wall: Dataplane) -> tuple[FingerprintUse, ...]:
        """Rules that stand."""
        return tuple(
            FingerprintUse(
                describe(held.rule.pattern), held.rule.cover, held.rule.collateral, held.matched.packets
            )
            for held in wall.rules.entries()
        )

    def kept(self) -> Samples | None:
        """The file of samples."""
        return None if self._file is None else self._file.known()

    def sizes(self) -> dict[int, int]:
        """Of each incident's file of samples."""
        return {} if self._folder is None else incident_samples.sizes(self._folder)

    def forget(self, numbers: list[int]) -> None:
        """Remove files of incidents that are no longer on record."""
        if self._folder is not None:
            incident_samples.forget(self._folder, numbers)

    def _keep(self, record: Incident) -> None:
        most = self._config.incident.samples
        if self._folder is not None and most and self._file is None:
            self._file = incident_samples.SampleFile(self._folder, record.id, most, record.samples)

    def _count_sources(self, dropped: list[Sample], came: Mapping[Lane, Pair]) -> None:
        if not dropped:
            return
        counts = Counter(sample.lane for sample in dropped)
        sums: dict[int, list[int]] = {}
        for sample in dropped:
            packets, size = came.get(sample.lane, (0, 0))
            row = sums.setdefault(_key(sample.source), [0, 0])
            row[0] += max(1, packets // counts[sample.lane])
            row[1] += max(sample.length, size // counts[sample.lane])
        table = np.array(list(sums.values()), np.uint64)
        self._desk.sampled(np.array(list(sums), np.uint64), table[:, 0], table[:, 1])


def _key(address: bytes) -> int:
    return source_key(Prefix.covering(address, 32 if len(address) == 4 else 64))
