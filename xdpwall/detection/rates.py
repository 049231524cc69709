# SPDX-License-Identifier: Apache-2.0
"""From two successive meter snapshots to what each key sent between them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys, Mask, Places, buckets, find, no_keys, prefix_keys
from xdpwall.detection.limits import Kind
from xdpwall.detection.slots import LONG_COUNTERS, SHORT_COUNTERS, Moved, SlotBook
from xdpwall.snapshot import MeterSnapshot

Amounts = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint64]
Ticks = npt.NDArray[np.int64]

COUNTERS = (*LONG_COUNTERS, *SHORT_COUNTERS)
"""The rows of :attr:`Rates.deltas`."""
_ROW = {Kind.PPS: 0, Kind.BPS: 1, Kind.SYN: 2, Kind.UDP: 3, Kind.ICMP: 4}
_BITS = {Kind.BPS: 8}
_FUTURE = 1 << 20
_SIEVE_BITS = 16


class Rates:
    """What moved between two snapshots. Keys that sent nothing are left out.

    A source has a slot on each CPU that saw it. Adding those up for all keys means to sort them, and in a flood that
    takes longer than all else. So it is done only when it is asked for (:attr:`keys`, :attr:`deltas`): a limiter goes
    by :meth:`keys_above` and :meth:`of`, which sort only the few keys that matter.

    Attributes:
        dt_ns: time between the two snapshots; 0 when there is no rate to be had (the first snapshot, or time that
            stood still), and then there are no keys.
        mono_ns: when the newer one was read.
        put_off: slots that were read while the kernel wrote them; they are counted with the next snapshot.
        discarded: slots whose counters made no sense twice in a row; their count so far was given up.
    """

    def __init__(self, moved: Moved, *, mono_ns: int, now_tick: int, tick_hz: int) -> None:
        self._moved = moved
        self._now_tick = now_tick
        self._tick_hz = tick_hz
        self.dt_ns = moved.span_ns
        self.mono_ns = mono_ns
        self.put_off = moved.put_off
        self.discarded = moved.discarded

    @property
    def keys(self) -> Keys:
        """Sources or prefixes, unique, ascending, shape ``(n,)``, uint64."""
        return self._summed[0]

    @property
    def deltas(self) -> Counts:
        """What each key sent, summed over CPUs, shape ``(7, n)``, uint64, rows as in :data:`COUNTERS`."""
        return self._summed[1]

    @property
    def packets(self) -> Counts:
        """Packets of each key."""
        return self.counter("packets")

    @property
    def bytes(self) -> Counts:
        """L2 bytes of each key."""
        return self.counter("bytes")

    @property
    def syn(self) -> Counts:
        """TCP SYNs without ACK of each key."""
        return self.counter("syn")

    @property
    def udp(self) -> Counts:
        """UDP packets of each key."""
        return self.counter("udp")

    @property
    def icmp(self) -> Counts:
        """ICMP and ICMPv6 packets of each key."""
        return self.counter("icmp")

    @property
    def fragments(self) -> Counts:
        """Fragments of each key."""
        return self.counter("fragments")

    @property
    def drops(self) -> Counts:
        """Packets of each key that were dropped after the ban stages."""
        return self.counter("drops")

    def counter(self, name: str) -> Counts:
        """One row of :attr:`deltas` by its name in :data:`COUNTERS`."""
        row: Counts = self.deltas[COUNTERS.index(name)]
        return row

    @cached_property
    def first_tick(self) -> Ticks:
        """Kernel tick at which each key's oldest slot began, shape ``(n,)``."""
        return self._fold(np.minimum, self._moved.first)

    @cached_property
    def last_tick(self) -> Ticks:
        """Kernel tick of each key's newest packet, shape ``(n,)``."""
        return self._fold(np.maximum, self._moved.last)

    def drops_per_second(self, key: int) -> int:
        """Packets of one key that were dropped after the ban stages, per second; 0 when there is no rate."""
        places, present = find(self.keys, np.array([key], np.uint64))
        return round(int(self.drops[places[0]]) * 1e9 / self.dt_ns) if present[0] and self.dt_ns else 0

    def total(self, name: str) -> int:
        """One counter of all keys together."""
        return int(self._row(COUNTERS.index(name)).sum(dtype=np.uint64))

    def keys_above(self, kind: Kind, per_second: float) -> Keys:
        """Keys that may have sent more than this of one kind in their time (:meth:`seconds_of`).

        Args:
            kind: what to count.
            per_second: packets or bits.

        Returns:
            Unique, ascending. Holds a few others by chance (keys are added up by hash), never lacks one.
        """
        counts = self._row(_ROW[kind])
        least = per_second / _BITS.get(kind, 1)
        if not len(counts) or counts.sum(dtype=np.float64) <= least * self._seconds.min():
            return no_keys()
        sums = np.bincount(self._buckets, weights=counts)
        return np.unique(self._moved.keys[sums[self._buckets] > least * self._seconds])

    @property
    def slots(self) -> int:
        """How many slots moved: what a look for keys costs."""
        return len(self._moved.keys)

    def keys_with(self, kind: Kind, amount: float) -> Keys:
        """Keys that may have sent this much of one kind (packets or bits), in whatever time. As :meth:`keys_above`."""
        counts = self._row(_ROW[kind])
        least = amount / _BITS.get(kind, 1)
        if not len(counts) or counts.sum(dtype=np.float64) < least:
            return no_keys()
        sums = np.bincount(self._buckets, weights=counts)
        return np.unique(self._moved.keys[sums[self._buckets] >= least])

    def of(self, keys: Keys, kinds: tuple[Kind, ...]) -> Amounts:
        """What these keys sent.

        Args:
            keys: unique, ascending.
            kinds: the rows of the answer.

        Returns:
            Packets or bits since the snapshot before, shape ``(len(kinds), len(keys))``; 0 where a key sent nothing.
        """
        rows, places = self._rows_of(keys)
        return self._sums(rows, places, len(keys), kinds)

    def drops_of(self, keys: Keys) -> Amounts:
        """Packets of these keys that were dropped after the ban stages, shape ``(len(keys),)``.

        Args:
            keys: unique, ascending.
        """
        rows, places = self._rows_of(keys)
        drops = self._row(COUNTERS.index("drops"))[rows].astype(np.float64)
        return np.bincount(places, weights=drops, minlength=len(keys)).astype(np.float64)

    def seconds_of(self, keys: Keys) -> npt.NDArray[np.float64]:
        """In how many seconds these keys sent what they sent.

        The time between the snapshots; less for a key that began only after the first of them. That is read from
        kernel ticks and up to two ticks too long.

        Args:
            keys: unique, ascending.
        """
        rows, places = self._rows_of(keys)
        seconds = np.zeros(len(keys))
        np.maximum.at(seconds, places, self._seconds[rows])
        seconds[seconds == 0] = self.dt_ns / 1e9
        return seconds

    def within(self, prefixes: Keys, kinds: tuple[Kind, ...]) -> tuple[Keys, Amounts]:
        """Sources of some prefixes, and what they sent. Only for rates of sources.

        Args:
            prefixes: keys of prefix meters, ascending.
            kinds: the rows of the answer.

        Returns:
            Keys of the sources, ascending, and amounts as in :meth:`of`.
        """
        above = prefix_keys(self._moved.keys)
        wanted = np.zeros(1 << _SIEVE_BITS, np.bool_)
        wanted[buckets(prefixes, _SIEVE_BITS)] = True
        rows = np.flatnonzero(wanted[buckets(above, _SIEVE_BITS)])
        rows = rows[find(prefixes, above[rows])[1]]
        sources, places = np.unique(self._moved.keys[rows], return_inverse=True)
        return sources, self._sums(rows, places, len(sources), kinds)

    def _rows_of(self, keys: Keys) -> tuple[Places, Places]:
        """Slots of these keys, and the place of each one's key among them. A sieve by hash spares a full search."""
        wanted = np.zeros(1 << self._bits, np.bool_)
        wanted[buckets(keys, self._bits)] = True
        rows = np.flatnonzero(wanted[self._buckets])
        places, present = find(keys, self._moved.keys[rows])
        return rows[present], places[present]

    def _sums(self, rows: Places, places: Places, length: int, kinds: tuple[Kind, ...]) -> Amounts:
        sums = np.empty((len(kinds), length))
        for number, kind in enumerate(kinds):
            weights = self._row(_ROW[kind])[rows]
            sums[number] = np.bincount(places, weights=weights, minlength=length)
            sums[number] *= _BITS.get(kind, 1)
        return sums

    @cached_property
    def _bits(self) -> int:
        return min(20, max(10, len(self._moved.keys).bit_length() + 1))

    @cached_property
    def _buckets(self) -> npt.NDArray[np.int64]:
        return buckets(self._moved.keys, self._bits)

    @cached_property
    def _seconds(self) -> npt.NDArray[np.float64]:
        """For each slot the time in which it counted."""
        age = (np.uint32(self._now_tick & 0xFFFFFFFF) - self._moved.first).view(np.int32)
        seconds = np.maximum(age, 0) + 2.0
        seconds /= self._tick_hz
        seconds[age < 0] = self.dt_ns / 1e9  # ahead of now, or so old that it looks like that
        return np.minimum(seconds, self.dt_ns / 1e9, out=seconds)

    def _row(self, number: int) -> npt.NDArray[np.uint64] | npt.NDArray[np.uint32]:
        if number < len(LONG_COUNTERS):
            return self._moved.long[number]  # type: ignore[no-any-return]
        return self._moved.short[number - len(LONG_COUNTERS)]  # type: ignore[no-any-return]

    @cached_property
    def _order(self) -> tuple[Places, Places]:
        """Slots by key, and where in that order each key begins."""
        order = np.argsort(self._moved.keys)
        ordered = self._moved.keys[order]
        fresh: Mask = np.ones(len(ordered), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
        return order, np.flatnonzero(fresh)

    @cached_property
    def _summed(self) -> tuple[Keys, Counts]:
        order, starts = self._order
        deltas = np.empty((len(COUNTERS), len(starts)), np.uint64)
        if len(starts):
            for number in range(len(COUNTERS)):
                np.add.reduceat(
                    np.take(self._row(number), order), starts, dtype=np.uint64, out=deltas[number]
                )
        return self._moved.keys[order[starts]], deltas

    def _fold(self, ufunc: np.ufunc, ticks: npt.NDArray[np.uint32]) -> Ticks:
        order, starts = self._order
        if not len(starts):
            return np.empty(0, np.int64)
        folded: Ticks = ufunc.reduceat(full_ticks(ticks, self._now_tick)[order], starts)
        return folded

    def __len__(self) -> int:
        return len(self.keys)


def full_ticks(ticks: npt.NDArray[np.uint32], now_tick: int) -> Ticks:
    """64-bit ticks from those modulo 2**32, all at most 2**32 ticks ago; one a little ahead is now."""
    age = (np.uint32(now_tick & 0xFFFFFFFF) - ticks).astype(np.int64)
    age[age > (1 << 32) - _FUTURE] = 0
    full: Ticks = now_tick - age
    return full


class RateMeter:
    """Remembers one meter table and tells what moved since. One for the sources, one for the prefixes."""

    def __init__(self) -> None:
        self._book = SlotBook()

    def update(self, snapshot: MeterSnapshot) -> Rates:
        """Take in the next snapshot. The first one gives no rates.

        The snapshot's array is not kept: the caller may fill the same buffer again.
        """
        moved = self._book.look(snapshot)
        return Rates(moved, mono_ns=snapshot.mono_ns, now_tick=snapshot.now_tick, tick_hz=snapshot.tick_hz)
