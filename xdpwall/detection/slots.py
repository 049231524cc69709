# SPDX-License-Identifier: Apache-2.0
"""What each slot of a meter table counted since it was last looked at.

A slot changes hands, begins afresh, wraps, and may be read in the very moment in which the kernel writes it. So each
one that moved is judged before it is believed:

- *going on*: same key, same ``first``, no counter of 64 bits fell. The difference counts; 32-bit counters may have
  wrapped.
- *renewed*: another key or another ``first``. All it holds counts, because it began after the last look.
- *torn*: the fields contradict each other, or what must be true of any packet. It is put off: not counted and not
  remembered, so that the next look sees the true difference and nothing is lost. The kernel writes a slot within
  nanoseconds and cannot be interrupted by us, so the next look, a tick later, never meets the same write.
- If its next look makes no sense either, the slot is taken as it stands, without counting what cannot be (*discarded*).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys, Mask, Places
from xdpwall.snapshot import Meters, MeterSnapshot

LONG_COUNTERS = ("packets", "bytes")
SHORT_COUNTERS = ("syn", "udp", "icmp", "fragments", "drops")
"""The 32-bit counters. Each packet adds at most 1 to each of them."""

MAX_SLOT_PPS = 200_000_000
"""No slot counts more packets per second. A slot belongs to one CPU; 148.8 million is line rate at 100 Gbit/s (64-byte
frames, IEEE 802.3: 20 bytes of preamble and gap each), ten times what one core drops."""
MAX_SLOT_BYTES_PER_S = 50_000_000_000
"""The same for bytes: 400 Gbit/s."""
MIN_FRAME = 14
"""Bytes of the shortest frame that can be metered: an Ethernet header."""
MAX_FRAME = 65_536 + 64
"""Bytes of the longest: a full IP packet (generic mode may hand over coalesced ones) and its L2 header."""
IN_FLIGHT = 16
"""Counters of one slot may be this many packets apart because they are not read at one instant."""
TICK_SLACK_S = 0.05
"""How far a slot's tick may lie from the time of a snapshot: ticks are coarse and a copy takes a while."""

BLOCK = 16_384
"""Slots judged at a time: enough to make numpy worth its calls, few enough to need little memory. Measured at 131,072
slots that all moved: from 8,192 to 32,768 it makes no difference above the noise."""
_LARGEST = float(1 << 62)


@dataclass(frozen=True, slots=True)
class Moved:
    """Slots that counted something, in slot order; a key may be there once for each CPU.

    ``long`` are the differences of packets and bytes, shape ``(2, n)``; ``short`` those of :data:`SHORT_COUNTERS`,
    shape ``(5, n)``. ``first`` and ``last`` are ticks modulo 2**32. ``span_ns`` is the time since the last look.
    """

    keys: Keys
    long: npt.NDArray[np.uint64]
    short: npt.NDArray[np.uint32]
    first: npt.NDArray[np.uint32]
    last: npt.NDArray[np.uint32]
    span_ns: int
    put_off: int = 0
    discarded: int = 0


@dataclass(frozen=True, slots=True)
class _Span:
    """How far back one look goes: in ticks, and what can have been counted since at most."""

    ticks: int
    packets: np.uint64
    bytes: np.uint64

    @classmethod
    def between(cls, snapshot: MeterSnapshot, mono_ns: int, tick: int) -> _Span:
        seconds = (snapshot.mono_ns - mono_ns) / 1e9 + TICK_SLACK_S
        slack = max(2, round(snapshot.tick_hz * TICK_SLACK_S))
        return cls(
            ticks=min(max(0, snapshot.now_tick - tick) + slack, (1 << 31) - 1),
            packets=np.uint64(min(seconds * MAX_SLOT_PPS, _LARGEST)),
            bytes=np.uint64(min(seconds * MAX_SLOT_BYTES_PER_S, _LARGEST)),
        )


@dataclass(slots=True)
class _Tally:
    """What one look has gathered so far, a block at a time."""

    keys: list[Keys] = field(default_factory=list)
    long: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    short: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    first: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    last: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    put_off: list[Places] = field(default_factory=list)
    discarded: int = 0

    def moved(self, span_ns: int) -> Moved:
        if not self.keys:
            return _nothing(span_ns, sum(map(len, self.put_off)), self.discarded)
        return Moved(
            keys=np.concatenate(self.keys),
            long=np.concatenate(self.long, axis=1),
            short=np.concatenate(self.short, axis=1),
            first=np.concatenate(self.first),
            last=np.concatenate(self.last),
            span_ns=span_ns,
            put_off=sum(map(len, self.put_off)),
            discarded=self.discarded,
        )


class SlotBook:
    """The state of every slot at the last look: 48 bytes a slot.

    Slots that moved are judged in blocks: in a flood this is faster than whole columns, and needs less memory.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)
        self._long = np.empty((2, 0), np.uint64)
        self._short = np.empty((5, 0), np.uint32)
        self._first = np.empty(0, np.uint32)
        self._mono_ns: int | None = None
        self._tick = 0
        self._put_off = np.empty(0, np.intp)
        self._older_mono_ns = 0
        self._older_tick = 0

    def look(self, snapshot: MeterSnapshot) -> Moved:
        """What moved since the last look. The first look, and one at which no time has passed, show nothing."""
        if self._mono_ns is None:
            self._begin(snapshot)
            self._mono_ns, self._tick = snapshot.mono_ns, snapshot.now_tick
            self._older_mono_ns, self._older_tick = self._mono_ns, self._tick
            return _nothing(0)
        if snapshot.mono_ns <= self._mono_ns:
            return _nothing(0)
        span = _Span.between(snapshot, self._mono_ns, self._tick)
        if len(snapshot.slots) != len(self._keys):
            self._begin(snapshot, span)
        moved = self._walk(snapshot, span)
        self._older_mono_ns, self._older_tick = self._mono_ns, self._tick
        self._mono_ns, self._tick = snapshot.mono_ns, snapshot.now_tick
        return moved

    def _begin(self, snapshot: MeterSnapshot, span: _Span | None = None) -> None:
        """Take the table as it stands. Slots that began within the span stay empty here, so that they count."""
        slots = snapshot.slots
        self._keys = slots["key"].copy()
        self._long = np.stack([slots["packets"], slots["bytes"]])
        self._short = np.stack([slots[name] for name in SHORT_COUNTERS])
        self._first = slots["first"].copy()
        self._put_off = np.empty(0, np.intp)
        if span is not None:
            began = _began_within(self._first, snapshot, span) & (self._keys != 0)
            self._forget(np.flatnonzero(began))

    def _walk(self, snapshot: MeterSnapshot, span: _Span) -> Moved:
        assert self._mono_ns is not None
        tally = _Tally()
        places = self._changed(snapshot.slots)
        for start in range(0, len(places), BLOCK):
            self._weigh(snapshot, places[start : start + BLOCK], span, tally)
        self._put_off = np.concatenate(tally.put_off) if tally.put_off else np.empty(0, np.intp)
        return tally.moved(snapshot.mono_ns - self._mono_ns)

    def _changed(self, slots: Meters) -> Places:
        """Places whose key, packets or beginning are not as they were. Costs one walk over the table."""
        changed = slots["packets"] != self._long[0]
        changed |= slots["key"] != self._keys
        changed |= slots["first"] != self._first
        return np.flatnonzero(changed)

    def _weigh(self, snapshot: MeterSnapshot, places: Places, span: _Span, tally: _Tally) -> None:
        """Judge the slots at these places, remember them and add what they counted to the tally."""
        rows = _take(snapshot.slots, places)
        held = rows["key"] != 0
        if not held.all():
            self._forget(places[~held])
            taken = np.flatnonzero(held)
            places, rows = places[taken], _take(rows, taken)
        again = self._were_put_off(places)
        if again is None:
            self._judge(snapshot, rows, places, span, tally, last_chance=False)
            return
        fresh = np.flatnonzero(~again)
        self._judge(snapshot, _take(rows, fresh), places[fresh], span, tally, last_chance=False)
        since = _Span.between(snapshot, self._older_mono_ns, self._older_tick)
        stale = np.flatnonzero(again)
        self._judge(snapshot, _take(rows, stale), places[stale], since, tally, last_chance=True)

    def _judge(
        self,
        snapshot: MeterSnapshot,
        rows: Meters,
        places: Places,
        span: _Span,
        tally: _Tally,
        *,
        last_chance: bool,
    ) -> None:
        keys, first = np.ascontiguousarray(rows["key"]), np.ascontiguousarray(rows["first"])
        renewed = (self._keys[places] != keys) | (self._first[places] != first)
        long, short, doubtful = self._subtract(rows, places, renewed)
        absurd = (long[0] > span.packets) | (long[1] > span.bytes)
        absurd |= renewed & ~_began_within(first, snapshot, span)
        if last_chance:
            long[:, absurd] = 0
            tally.discarded += int(np.count_nonzero(absurd))
            short[short > long[0] + np.uint64(IN_FLIGHT)] = 0
            long[1, ~_size_fits(long)] = 0
        else:
            doubtful |= absurd
            doubtful |= ~_adds_up(long, short)
            if doubtful.any():
                tally.put_off.append(places[doubtful])
                sure = np.flatnonzero(~doubtful)
                rows, places, keys, first = _take(rows, sure), places[sure], keys[sure], first[sure]
                long, short = long[:, sure], short[:, sure]
        self._keys[places] = keys
        self._first[places] = first
        for number, name in enumerate(LONG_COUNTERS):
            self._long[number][places] = rows[name]
        for number, name in enumerate(SHORT_COUNTERS):
            self._short[number][places] = rows[name]
        last = np.ascontiguousarray(rows["last"])
        counted = np.flatnonzero(long[0])
        if len(counted) < len(keys):
            keys, first, last = keys[counted], first[counted], last[counted]
            long, short = long[:, counted], short[:, counted]
        if len(keys):
            tally.keys.append(keys)
            tally.long.append(long)
            tally.short.append(short)
            tally.first.append(first)
            tally.last.append(last)

    def _subtract(
        self, rows: Meters, places: Places, renewed: Mask
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32], Mask]:
        """Differences of the long and the short counters, and which rows show a slot in the middle of a write."""
        old_long = np.take(self._long, places, axis=1)
        old_short = np.take(self._short, places, axis=1)
        packets, bytes_ = rows["packets"], rows["bytes"]
        fell = (packets < old_long[0]) | (bytes_ < old_long[1])
        # Fallen, yet with the old beginning: the slot is beginning afresh and its ``first`` is not written yet.
        doubtful = fell & ~renewed
        # A new key or beginning, yet the counters carry on from the old ones: they are not written yet.
        doubtful |= renewed & ~fell & (old_long[0] > IN_FLIGHT) & (packets < old_long[0] * np.uint64(2))
        afresh = np.flatnonzero(renewed | fell)
        old_long[:, afresh] = 0
        old_short[:, afresh] = 0
        for number, name in enumerate(LONG_COUNTERS):
            np.subtract(rows[name], old_long[number], out=old_long[number])
        for number, name in enumerate(SHORT_COUNTERS):
            np.subtract(rows[name], old_short[number], out=old_short[number])
        return old_long, old_short, doubtful

    def _forget(self, places: Places) -> None:
        """These slots are empty."""
        self._keys[places] = 0
        self._first[places] = 0
        self._long[:, places] = 0
        self._short[:, places] = 0

    def _were_put_off(self, places: Places) -> Mask | None:
        """Which of these were put off by the last look; None for none at all."""
        if not len(self._put_off):
            return None
        again = np.isin(places, self._put_off)
        return again if again.any() else None


def _take(rows: Meters, places: Places) -> Meters:
    """``rows[places]``, which numpy does 30 times slower for records."""
    return np.take(rows, places, mode="clip")


def _began_within(first: npt.NDArray[np.uint32], snapshot: MeterSnapshot, span: _Span) -> Mask:
    """Which slots began within the span. Up to a second ahead of the snapshot is still now."""
    age = (np.uint32(snapshot.now_tick & 0xFFFFFFFF) - first).view(np.int32)
    recent: Mask = (age <= span.ticks) & (age >= -snapshot.tick_hz)
    return recent


def _adds_up(long: npt.NDArray[np.uint64], short: npt.NDArray[np.uint32]) -> Mask:
    """Which differences could be those of real packets."""
    right: Mask = short.max(axis=0) <= long[0] + np.uint64(IN_FLIGHT)
    right &= _size_fits(long)
    return right


def _size_fits(long: npt.NDArray[np.uint64]) -> Mask:
    packets, bytes_ = long
    fits: Mask = bytes_ <= (packets + np.uint64(IN_FLIGHT)) * np.uint64(MAX_FRAME)
    fits &= (bytes_ + np.uint64(IN_FLIGHT * MIN_FRAME)) >= packets * np.uint64(MIN_FRAME)
    return fits


def _nothing(span_ns: int, put_off: int = 0, discarded: int = 0) -> Moved:
    ticks = np.empty(0, np.uint32)
    return Moved(
        keys=np.empty(0, np.uint64),
        long=np.empty((2, 0), np.uint64),
        short=np.empty((5, 0), np.uint32),
        first=ticks,
        last=ticks,
        span_ns=span_ns,
        put_off=put_off,
        discarded=discarded,
    )
