# SPDX-License-Identifier: Apache-2.0
"""Bans of single sources: the set-associative tables of ``bpf/types.h`` and their overflow map.

A set has seven places. A ban that finds them all taken by living bans goes to the overflow map, and the set's first
word counts how many did, so that the kernel asks the map for this set alone. Order of writes keeps packets right in
between: a place is emptied, then its key and counters are set, then the word that makes it live; the overflow map is
filled before the set points to it, and the set stops pointing after the map was emptied. The gate, a bit for each
sixteenth of a set, is opened before anything of it is there, and closed after the last of it went.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xdpwall.dataplane import hashing, sys_bpf
from xdpwall.dataplane.layout import BAN_VALUE, WAYS
from xdpwall.dataplane.mapped import MappedArray

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_EXPIRY = 0xFFFFFFFF
_WORD = (1 << 64) - 1
_GATE_BITS = 4  # gate bits a set, as a power of two


class ExactBans:
    """Bans of one family by source key.

    Args:
        lines: ``ban4`` or ``ban6``.
        gate: ``ban4_gate`` or ``ban6_gate``.
        hits: what each place dropped.
        keys: ``ban6_keys``, or None for IPv4, whose tags are the addresses themselves.
        overflow_fd: the overflow map, shared by both families; not owned.
        seed: of the wall's hash.
    """

    def __init__(
        self,
        lines: MappedArray,
        gate: MappedArray,
        hits: MappedArray,
        keys: MappedArray | None,
        overflow_fd: int,
        seed: int,
    ) -> None:
        self._array = lines
        self._gate_array = gate
        self._gate = gate.words
        self._lines = lines.words
        self._hits = hits.words
        self._keys = keys.words if keys is not None else None
        self._keys_array = keys
        self._overflow = overflow_fd
        self._seed = seed
        self._shift = 64 - (lines.entries.bit_length() - 1)

    @property
    def capacity(self) -> int:
        """Places in the table, overflow aside."""
        return self._array.entries * (WAYS - 1)

    def put(self, key: int, expiry: int, now: int) -> None:
        """Ban until ``expiry``; a ban that stands keeps its counters. ``now``: the expiry that is just over.

        Raises:
            KernelError: set and overflow map are full (E2BIG).
        """
        line, tag = self._place(key)
        self._open_gate(key)
        found = self._find(line, tag, key)
        if found:
            self._lines[line + found] = tag << 32 | expiry
            return
        if self._lines[line] and self._overflow_get(key) is not None:
            self._overflow_put(key, expiry)
            return
        for way in range(1, WAYS):
            if self._lines[line + way] & _EXPIRY <= now:
                self._lines[line + way] = 0
                at = (line + way) * 2
                self._hits[at] = self._hits[at + 1] = 0
                if self._keys is not None:
                    self._keys[line + way] = key
                self._lines[line + way] = tag << 32 | expiry
                return
        self._overflow_put(key, expiry)
        self._lines[line] += 1

    def put_many(self, keys: npt.NDArray[np.uint64], expiries: Sequence[int], now: int) -> None:
        """:meth:`put` for many, set by set with numpy; only sets that overflow are done one by one.

        Raises:
            KernelError: the overflow map is full.
        """
        import numpy as np

        pending = keys
        until = np.array(expiries, dtype=np.uint64)
        # The last word on a key counts: keep the last of each.
        _, last = np.unique(pending[::-1], return_index=True)
        order = len(pending) - 1 - last
        pending, until = pending[order], until[order]
        hashed = hashing.mix_many(pending, self._seed)
        index = (hashed >> np.uint64(self._shift)).astype(np.int64)
        tags = self._tags(pending, hashed)
        bits = hashed >> np.uint64(self._shift - _GATE_BITS)
        gate = np.frombuffer(self._gate_array.memory, dtype=np.uint64)
        np.bitwise_or.at(
            gate, (bits >> np.uint64(6)).astype(np.int64), np.uint64(1) << (bits & np.uint64(63))
        )
        lines = np.frombuffer(self._array.memory, dtype=np.uint64)[: self._array.entries * WAYS].reshape(
            -1, WAYS
        )
        while len(pending):
            _, chosen = np.unique(index, return_index=True)
            done = self._put_round(lines, index[chosen], pending[chosen], tags[chosen], until[chosen], now)
            for at in chosen[~done]:
                self.put(int(pending[at]), int(until[at]), now)
            rest = np.ones(len(pending), dtype=bool)
            rest[chosen] = False
            pending, until, index, tags = pending[rest], until[rest], index[rest], tags[rest]

    def _tags(self, keys: npt.NDArray[np.uint64], hashed: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        import numpy as np

        if self._keys is None:
            return keys >> np.uint64(32)
        tags = (hashed >> np.uint64(12)) & np.uint64(_EXPIRY)
        tags[tags == 0] = 1
        return tags

    def _put_round(
        self,
        lines: npt.NDArray[np.uint64],
        index: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64],
        tags: npt.NDArray[np.uint64],
        until: npt.NDArray[np.uint64],
        now: int,
    ) -> npt.NDArray[np.bool_]:
        """One key a set. Gives which of them were written; the others need :meth:`put`."""
        import numpy as np

        words = lines[index, 1:]
        same = (words >> np.uint64(32) == tags[:, None]) & (words & np.uint64(_EXPIRY) != 0)
        key_table = None
        if self._keys_array is not None:
            memory = np.frombuffer(self._keys_array.memory, dtype=np.uint64)
            key_table = memory[: self._keys_array.entries * WAYS].reshape(-1, WAYS)
            same &= key_table[index, 1:] == keys[:, None]
        free = words & np.uint64(_EXPIRY) <= np.uint64(now)
        stands = same.any(axis=1)
        # A set with overflow may hold the key there, so only standing places are sure.
        takes = ~stands & free.any(axis=1) & (lines[index, 0] == 0)
        way = np.where(stands, same.argmax(axis=1), free.argmax(axis=1)) + 1
        rows, ways = index[takes], way[takes]
        lines[rows, ways] = 0
        hits = np.asarray(self._hits).reshape(-1, WAYS, 2)
        hits[rows, ways] = 0
        if key_table is not None:
            key_table[rows, ways] = keys[takes]
        done: npt.NDArray[np.bool_] = stands | takes
        lines[index[done], way[done]] = tags[done] << np.uint64(32) | until[done]
        return done

    def remove(self, key: int) -> bool:
        """Lift a ban. Gives whether it stood."""
        line, tag = self._place(key)
        found = self._find(line, tag, key)
        if found:
            self._lines[line + found] = 0
        elif self._lines[line] and sys_bpf.map_delete(self._overflow, _key_bytes(key)):
            self._lines[line] -= 1
        else:
            return False
        self._close_gate(line)
        return True

    def get(self, key: int) -> tuple[int, int, int] | None:
        """Expiry, packets and bytes dropped of a ban."""
        line, tag = self._place(key)
        found = self._find(line, tag, key)
        if found:
            at = (line + found) * 2
            return self._lines[line + found] & _EXPIRY, self._hits[at], self._hits[at + 1]
        return self._overflow_get(key) if self._lines[line] else None

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Key, expiry, packets and bytes of each place that is taken. The overflow map is :func:`overflow_entries`."""
        for line, words in self._taken():
            for way in range(1, WAYS):
                if not words[way] & _EXPIRY:
                    continue
                # Read anew: the caller may have lifted or prolonged bans since this page was read.
                word = self._lines[line + way]
                if word & _EXPIRY:
                    at = (line + way) * 2
                    yield self._key(line, way), word & _EXPIRY, self._hits[at], self._hits[at + 1]

    def sweep(self, now: int) -> int:
        """Empty places whose ban is over. Gives how many."""
        freed = 0
        for line, words in self._taken():
            over = [way for way in range(1, WAYS) if 0 < words[way] & _EXPIRY <= now]
            for way in over:
                self._lines[line + way] = 0
            if over:
                self._close_gate(line)
            freed += len(over)
        return freed

    def clear(self) -> int:
        """Empty the table. The overflow map must have been emptied before. Gives how many places were taken."""
        freed = 0
        for line, words in self._taken():
            freed += sum(1 for word in words[1:] if word & _EXPIRY)
            for way in range(1, WAYS):
                self._lines[line + way] = 0
            self._lines[line] = 0
            self._close_gate(line)
        return freed

    def count(self) -> int:
        """How many places are taken."""
        return sum(1 for _, words in self._taken() for word in words[1:] if word & _EXPIRY)

    def forget_overflow(self, key: int) -> None:
        """Tell a key's set that the overflow map holds one less of it."""
        line, _ = self._place(key)
        if self._lines[line]:
            self._lines[line] -= 1
            self._close_gate(line)

    def _open_gate(self, key: int) -> None:
        bit = hashing.mix(key, self._seed) >> (self._shift - _GATE_BITS)
        self._gate[bit >> 6] |= 1 << (bit & 63)

    def _close_gate(self, line: int) -> None:
        """Keep open only what the set still holds. With bans of it in the overflow map, all of it may be needed."""
        if self._lines[line]:
            return
        bits = 0
        for way in range(1, WAYS):
            if self._lines[line + way] & _EXPIRY:
                bits |= 1 << (
                    hashing.mix(self._key(line, way), self._seed) >> (self._shift - _GATE_BITS) & 15
                )
        first = line // WAYS << _GATE_BITS
        shift = first & 63
        self._gate[first >> 6] = self._gate[first >> 6] & ~(0xFFFF << shift) & _WORD | bits << shift

    def _key(self, line: int, way: int) -> int:
        """The source that a taken place bans."""
        if self._keys is not None:
            return self._keys[line + way]
        return self._lines[line + way] >> 32 << 32 | 0xFFFF

    def _taken(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Offset and words of each set that is not empty, skipping empty ground a page at a time."""
        page = 512
        empty = bytes(page * 8)
        total = len(self._lines)
        for start in range(0, total, page):
            piece = self._lines[start : start + page]
            if piece.nbytes == len(empty) and piece == memoryview(empty).cast("Q"):
                continue
            words = piece.tolist()
            for offset in range(0, len(words), WAYS):
                line = words[offset : offset + WAYS]
                if any(line):
                    yield start + offset, line

    def _place(self, key: int) -> tuple[int, int]:
        hashed = hashing.mix(key, self._seed)
        return (hashed >> self._shift) * WAYS, hashing.tag(key, hashed)

    def _find(self, line: int, tag: int, key: int) -> int:
        """The way that holds a key, 0 for none."""
        for way in range(1, WAYS):
            word = self._lines[line + way]
            if word >> 32 == tag and word & _EXPIRY and (self._keys is None or self._keys[line + way] == key):
                return way
        return 0

    def _overflow_get(self, key: int) -> tuple[int, int, int] | None:
        value = sys_bpf.map_lookup(self._overflow, _key_bytes(key), BAN_VALUE.size)
        if value is None:
            return None
        expiry, _, packets, size = BAN_VALUE.unpack(value)
        return expiry, packets, size

    def _overflow_put(self, key: int, expiry: int) -> None:
        _, packets, size = self._overflow_get(key) or (0, 0, 0)
        sys_bpf.map_update(self._overflow, _key_bytes(key), BAN_VALUE.pack(expiry, expiry, packets, size))


def overflow_entries(fd: int) -> Iterator[tuple[int, int, int, int]]:
    """Key, expiry, packets and bytes of each ban in the overflow map, both families."""
    for raw in sys_bpf.map_keys(fd, 8):
        value = sys_bpf.map_lookup(fd, raw, BAN_VALUE.size)
        if value is not None:
            expiry, _, packets, size = BAN_VALUE.unpack(value)
            yield struct.unpack("=Q", raw)[0], expiry, packets, size


def _key_bytes(key: int) -> bytes:
    return key.to_bytes(8, "little")
