# SPDX-License-Identifier: Apache-2.0
"""Who sent during an incident: sums by source over hundreds of thousands of them, within bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys, prefix_keys, prefix_of, source_of
from xdpwall.detection.rates import COUNTERS, Rates
from xdpwall.incident.faces import SourceTable
from xdpwall.incident.model import Source, SourcePrefix
from xdpwall.lanes import Lane
from xdpwall.snapshot import MeterSnapshot

CAPACITY = 400_000
"""Most sources whose sums are kept; those that sent least are let go first."""
PENDING = 400_000
"""Rows that wait before they are summed: sorting is what costs."""
_SEEN_BITS = 23
_MANY_OTHERS = 0.05
Table = npt.NDArray[np.uint64]
_PACKETS, _BYTES, _SYN, _UDP, _ICMP, _FRAGMENTS, _DROPS, _BANNED = range(8)
_COLUMNS = len(COUNTERS) + 1
"""The meters' counters, and what bans dropped: of that the kinds are not known."""
_MIXED = np.uint64(0x9E3779B97F4A7C15)


class SourceLedger:
    """Sums by source. Not thread-safe: one thread at a time.

    ``complete`` says whether every source that was handed in is still in it.
    """

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, np.uint64)
        self._sums: Table = np.empty((_COLUMNS, 0), np.uint64)
        self._pending: list[tuple[Keys, Table]] = []
        self._waiting = 0
        self._seen = np.zeros(1 << (_SEEN_BITS - 3), np.uint8)
        self.complete = True

    def take(self, rates: Rates) -> None:
        """What sources sent between two looks at the meters."""
        self._add(rates.keys, np.vstack([rates.deltas, np.zeros((1, len(rates.keys)), np.uint64)]))

    def take_banned(self, keys: Keys, packets: Keys, size: Keys) -> None:
        """What bans dropped of them between two looks."""
        table = np.zeros((_COLUMNS, len(keys)), np.uint64)
        table[_PACKETS], table[_BYTES], table[_DROPS], table[_BANNED] = packets, size, packets, packets
        self._add(keys, table)

    def seed(self, snapshot: MeterSnapshot, since_tick: int) -> None:
        """Take what the meters hold of sources that began at or after this tick: before there was a first look."""
        slots = snapshot.slots
        keys = slots["key"].copy()
        age = (np.uint32(snapshot.now_tick & 0xFFFFFFFF) - slots["first"]).view(np.int32)
        rows = np.flatnonzero(
            (keys != 0) & (age <= snapshot.now_tick - since_tick) & (age >= -snapshot.tick_hz)
        )
        table = np.zeros((_COLUMNS, len(rows)), np.uint64)
        for at, name in enumerate(COUNTERS):
            table[at] = slots[name][rows]
        self._add(keys[rows], table)

    def seen(self) -> tuple[int, bool]:
        """How many different sources came, and whether that is an estimate.

        Linear counting in a bitmap of 8 million bits: off by about 0.1 % at a million sources (Whang, Vander-Zanden
        and Taylor, "A linear-time probabilistic counting algorithm", 1990).
        """
        if self.complete and not self._waiting:
            return len(self._keys), False
        bits = 1 << _SEEN_BITS
        empty = bits - int(np.unpackbits(self._seen).sum())
        return round(-bits * float(np.log(max(empty, 1) / bits))), True

    def settle(self) -> None:
        """Sum up what waits. Takes about 100 ms for half a million rows: not for the tick."""
        if not self._pending:
            return
        keys = np.concatenate([self._keys, *(part for part, _ in self._pending)])
        table = np.concatenate([self._sums, *(part for _, part in self._pending)], axis=1)
        self._pending, self._waiting = [], 0
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(keys) else order
        self._keys = ordered[starts]
        self._sums = np.add.reduceat(table[:, order], starts, axis=1) if len(keys) else table
        if len(self._keys) > CAPACITY:
            self.complete = False
            worth = self._sums[_PACKETS] + self._sums[_DROPS]
            kept = np.sort(np.argpartition(worth, len(worth) - CAPACITY)[len(worth) - CAPACITY :])
            self._keys, self._sums = self._keys[kept], self._sums[:, kept]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def full(self) -> bool:
        """Whether it is time to :meth:`settle`."""
        return self._waiting >= PENDING

    def lanes(self) -> Mapping[Lane, float]:
        """In what proportion the drops of limits and bans were of each lane; empty while nothing is known.

        What a ban drops has no kind of its own: it is laid to kinds as its source's packets were while it had a meter.
        """
        self.settle()
        metered = self._sums[_PACKETS].astype(np.float64) - self._sums[_BANNED]
        rows = np.flatnonzero((self._sums[_DROPS] > 0) & (metered >= 1))
        if not len(rows):
            return {}
        weight = self._sums[_DROPS][rows] / metered[rows]
        syn, udp, icmp, fragments = (
            float((self._sums[at][rows] * weight).sum()) for at in (_SYN, _UDP, _ICMP, _FRAGMENTS)
        )
        whole = float(self._sums[_DROPS][rows].sum())
        parts = {
            Lane.SYN: syn,
            Lane.TCP: max(0.0, whole - syn - udp - icmp),
            Lane.UDP: max(0.0, udp - fragments),
            Lane.ICMP: icmp,
            Lane.FRAGMENT: fragments,
        }
        total = sum(parts.values())
        return {lane: part / total for lane, part in parts.items() if part > 0.001 * total}

    def attackers(self, dropped: int, background: float) -> View:
        """All that came; only those of whom limits and bans dropped something, where many others came, too.

        Args:
            dropped: packets of the incident that were dropped.
            background: the share of its packets that would have come anyway.
        """
        self.settle()
        # Lanes drop without a word to the meters: only when limits and bans did most of it, their word will do.
        told = int(self._sums[_DROPS].sum()) * 2 >= dropped > 0
        if told and background > _MANY_OTHERS:
            guilty = np.flatnonzero(self._sums[_DROPS])
            return View(self._keys[guilty], self._sums[:, guilty])
        return View(self._keys, self._sums)

    def _add(self, keys: Keys, table: Table) -> None:
        if not len(keys):
            return
        self._pending.append((keys, table))
        self._waiting += len(keys)
        places = (keys * _MIXED) >> np.uint64(64 - _SEEN_BITS)
        bits = (np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)).astype(np.uint8)
        np.bitwise_or.at(self._seen, (places >> np.uint64(3)).astype(np.int64), bits)


@dataclass(frozen=True, slots=True)
class View:
    """Some sources of a ledger, settled. ``sums`` has a row a counter."""

    keys: Keys
    sums: Table

    @property
    def packets(self) -> int:
        """All of them together."""
        return int(self.sums[_PACKETS].sum())

    @property
    def bytes(self) -> int:
        """All of them together."""
        return int(self.sums[_BYTES].sum())

    def table(self, proven: npt.NDArray[np.bool_]) -> SourceTable:
        """For whoever looks up where they are."""
        return SourceTable(self.keys, self.sums[_PACKETS], self.sums[_BYTES], proven)

    def top(self, limit: int, proven: npt.NDArray[np.bool_]) -> list[Source]:
        """Those that sent most."""
        return [
            Source(
                str(source_of(int(self.keys[at]))),
                int(self.sums[_PACKETS][at]),
                int(self.sums[_BYTES][at]),
                int(self.sums[_DROPS][at]),
                proof="handshake" if proven[at] else "spoofable",
            )
            for at in _largest(self.sums[_PACKETS], limit)
        ]

    def prefixes(self, limit: int) -> list[SourcePrefix]:
        """The /24s and /48s that most came from."""
        if not len(self.keys):
            return []
        prefixes, places = np.unique(prefix_keys(self.keys), return_inverse=True)
        packets = np.bincount(places, weights=self.sums[_PACKETS])
        sizes = np.bincount(places, weights=self.sums[_BYTES])
        sources = np.bincount(places)
        return [
            SourcePrefix(
                str(prefix_of(int(prefixes[at]))), int(packets[at]), int(sizes[at]), int(sources[at])
            )
            for at in _largest(packets, limit)
        ]

    def busiest_share(self) -> float:
        """What the busiest source sent of all."""
        whole = self.packets
        return float(self.sums[_PACKETS].max()) / whole if whole else 0.0

    def collateral(self, proven: npt.NDArray[np.bool_]) -> int:
        """Packets that were dropped of those that are known to be good."""
        return int(self.sums[_DROPS][proven].sum())


def _largest(measure: npt.NDArray[np.generic], limit: int) -> list[int]:
    if limit < len(measure):
        places = np.argpartition(measure, len(measure) - limit)[len(measure) - limit :]
    else:
        places = np.arange(len(measure))
    ordered = places[np.argsort(measure[places], kind="stable")[::-1]]
    return [int(at) for at in ordered]
