# SPDX-License-Identifier: Apache-2.0
"""Who sends although it is banned: rates of the bans' own counters. A banned source has no meter that moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys, find, no_keys

Counts = npt.NDArray[np.uint64]

_PACKETS_WRAP = np.uint64((1 << 32) - 1)
_BYTES_WRAP = np.uint64((1 << 36) - 1)


@dataclass(frozen=True, slots=True)
class Knocks:
    """What banned sources sent between two looks; those that sent nothing are left out.

    Args:
        keys: sources, ascending, shape ``(n,)``.
        packets: of each, dropped.
        bytes: L2 bytes of them.
        dt_ns: time between the looks; 0 when there was only one, and then there are no keys.
    """

    keys: Keys
    packets: Counts
    bytes: Counts
    dt_ns: int = 0

    def busiest(self, limit: int, *, by_bytes: bool = False) -> list[tuple[int, int, int]]:
        """Key, packets per second and bits per second of the ``limit`` that send most."""
        measure = self.bytes if by_bytes else self.packets
        if not self.dt_ns or limit <= 0:
            return []
        places = np.arange(len(measure))
        if limit < len(measure):
            places = np.argpartition(measure, len(measure) - limit)[len(measure) - limit :]
        places = places[np.argsort(measure[places], kind="stable")[::-1]]
        return [self._row(int(place)) for place in places]

    def of(self, key: int) -> tuple[int, int]:
        """Packets and bits per second of one source."""
        places, present = find(self.keys, np.array([key], np.uint64))
        return self._row(int(places[0]))[1:] if present[0] else (0, 0)

    def _row(self, place: int) -> tuple[int, int, int]:
        seconds = self.dt_ns / 1e9
        packets, size = int(self.packets[place]), int(self.bytes[place])
        return int(self.keys[place]), round(packets / seconds), round(size * 8 / seconds)


def nobody() -> Knocks:
    """Before there are two looks."""
    return Knocks(no_keys(), no_keys(), no_keys())


class KnockMeter:
    """Remembers the last look at the bans' counters."""

    def __init__(self) -> None:
        self._keys = no_keys()
        self._packets = no_keys()
        self._bytes = no_keys()
        self._mono_ns: int | None = None

    def update(self, keys: Keys, packets: Counts, size: Counts, mono_ns: int) -> Knocks:
        """Take in all counters of now, in any order. The first look gives nobody.

        A ban that is new since the last look began at zero. One that ended and was made anew in between counts from
        zero too, which shows as a wrap-around: too large to be true, and taken as what it has now.
        """
        order = np.argsort(keys)
        keys, packets, size = keys[order], packets[order], size[order]
        before, then = (self._keys, self._packets, self._bytes), self._mono_ns
        self._keys, self._packets, self._bytes, self._mono_ns = keys, packets, size, mono_ns
        if then is None or mono_ns <= then:
            return nobody()
        places, present = find(before[0], keys)
        sent, sent_bytes = packets.copy(), size.copy()
        if len(before[0]):
            old = places[present]
            sent[present] = _since(packets[present], before[1][old], _PACKETS_WRAP)
            sent_bytes[present] = _since(size[present], before[2][old], _BYTES_WRAP)
        moved = sent != 0
        return Knocks(keys[moved], sent[moved], sent_bytes[moved], mono_ns - then)


def _since(now: Counts, before: Counts, wrap: np.uint64) -> Counts:
    moved: Counts = (now - before) & wrap
    return np.where(moved > wrap >> np.uint64(1), now, moved)
