# SPDX-License-Identifier: Apache-2.0
"""Bans of single sources: the set-associative tables of ``bpf/types.h`` and their overflow map.

A set has four places. A ban that finds them all taken by living bans goes to the overflow map, and a bit of the set
says so, that the kernel may ask the map for this set alone. Order of writes keeps packets right in between: a place is
emptied, then its key and counters are set, then the word that makes it live; the overflow map is filled before the
set's bit is set, and the bit goes after the map was emptied. The gate, a bit for each eighth of a set, is opened before
anything of it is there, and closed after the last of it went.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from xdpwall.dataplane import hashing, map_batch, sys_bpf
from xdpwall.dataplane.layout import BAN_VALUE, BAN_WAYS
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.ways import first_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_EXPIRY = 0xFFFFFFFF
_WORD = (1 << 64) - 1
_GATE_BITS = 3  # gate bits a set, as a power of two
_STRIDE = 2 * BAN_WAYS  # 64-bit words a set: tag and expiry, then what it dropped, for each place
_BYTE_UNIT = 16


class ExactBans:
    """Bans of one family by source key.

    Args:
        lines: ``ban4`` or ``ban6``.
        gate: ``ban4_gate`` or ``ban6_gate``.
        full: ``ban4_full`` or ``ban6_full``.
        keys: ``ban6_keys``, or None for IPv4, whose tags are the addresses themselves.
        overflow_fd: the overflow map, shared by both families; not owned.
        seed: of the wall's hash.
    """

    def __init__(
        self,
        lines: MappedArray,
        gate: MappedArray,
        full: MappedArray,
        keys: MappedArray | None,
        overflow_fd: int,
        seed: int,
    ) -> None:
        self._array = lines
        self._gate_array = gate
        self._keys_array = keys
        self._full_array = full
        self._overflow = overflow_fd
        self._seed = seed
        self._shift = 64 - (lines.entries.bit_length() - 1)

    # The tables may have been unmapped since they were used last (MappedArray.rest), so they are asked for each time.

    @property
    def _words(self) -> memoryview:
        return self._array.words

    @property
    def _gate(self) -> memoryview:
        return self._gate_array.words

    @property
    def _full(self) -> memoryview:
        return self._full_array.words

    @property
    def _keys(self) -> memoryview | None:
        return None if self._keys_array is None else self._keys_array.words

    def put(self, key: int, expiry: int, now: int) -> None:
        """Ban until ``expiry``; a ban that stands keeps its counters. ``now``: the expiry that is just over.

        Raises:
            KernelError: set and overflow map are full (E2BIG).
        """
        line, tag = self._place(key)
        self._open_gate(key)
        found = self._find(line, tag, key)
        if found is not None:
            self._words[found] = tag << 32 | expiry
            return
        if self._is_full(line) and self._overflow_get(key) is not None:
            self._overflow_put(key, expiry)
            return
        for way in range(BAN_WAYS):
            at = line * _STRIDE + way * 2
            if self._words[at] & _EXPIRY <= now:
                self._words[at] = 0
                self._words[at + 1] = 0
                if self._keys is not None:
                    self._keys[line * BAN_WAYS + way] = key
                self._words[at] = tag << 32 | expiry
                return
        self._full[line >> 6] |= 1 << (
            line & 63
        )  # first: who is killed in between has banned it or not, never half
        self._overflow_put(key, expiry)

    def put_many(self, keys: npt.NDArray[np.uint64], expiries: npt.NDArray[np.uint64], now: int) -> None:
        """:meth:`put` for many, set by set with numpy; only sets that had overflow before are done one by one.

        Raises:
            KernelError: the overflow map is full.
        """
        import numpy as np

        hashed = hashing.mix_many(keys, self._seed)
        # By hash, so by set and within it by gate bit. The hash is one to one, so doubles of a key come together.
        order = np.argsort(hashed)
        ordered = hashed[order]
        if (ordered[1:] <= ordered[:-1]).any():
            # A key twice: sorting in the order of arrival, three times as slow. Or it is out of order: argsort of
            # numpy 2.4 for AVX2 goes wrong on QEMU 7.2's emulation of it, and two bans would be put into one place.
            order = np.argsort(hashed, kind="stable")
            ordered = hashed[order]
            last = np.append(ordered[1:] != ordered[:-1], True)  # the last word on a key counts
            order, ordered = order[last], ordered[last]
        pending, until = keys[order], expiries[order]
        self._open_gates(ordered >> np.uint64(self._shift - _GATE_BITS))
        index = (ordered >> np.uint64(self._shift)).view(np.int64)
        words = self._tags(pending, ordered) << np.uint64(32) | until
        # The n-th ban of each set makes up round n, so no round has two of one set.
        fresh = np.flatnonzero(index[1:] != index[:-1]) + 1
        first = np.concatenate([np.zeros(min(1, len(index)), np.int64), fresh])
        turn = np.arange(len(index)) - np.repeat(first, np.diff(first, append=len(index)))
        full = np.frombuffer(self._full, dtype=np.uint64)
        had_overflow = full.copy()
        left = np.arange(len(index))
        number = 0
        while len(left):
            now_due = turn[left] == number
            chosen, left = left[now_due], left[~now_due]
            number += 1
            at = chosen[~self._put_round(index[chosen], pending[chosen], words[chosen], now)]
            lines = index[at]
            had = (had_overflow[lines >> 6] >> (lines & 63).view(np.uint64) & np.uint64(1)).astype(np.bool_)
            for place in at[had].tolist():
                self.put(int(pending[place]), int(until[place]), now)
            # No place, and nothing of the set was in the overflow map before: these keys are not there either.
            np.bitwise_or.at(full, lines[~had] >> 6, np.uint64(1) << (lines[~had] & 63).view(np.uint64))
            self._overflow_put_fresh(pending[at[~had]], until[at[~had]])

    def _overflow_put_fresh(self, keys: npt.NDArray[np.uint64], expiries: npt.NDArray[np.uint64]) -> None:
        """Keys that are not in the overflow map yet."""
        import numpy as np

        values = np.zeros((len(keys), BAN_VALUE.size), np.uint8)
        values[:, :8] = np.stack([expiries, expiries], axis=1).astype("<u4").view(np.uint8).reshape(-1, 8)
        map_batch.update_many(self._overflow, keys.astype("<u8").tobytes(), values.tobytes(), len(keys))

    def _open_gates(self, bits: npt.NDArray[np.uint64]) -> None:
        """Set bits of the gate, given in ascending order."""
        import numpy as np

        words = (bits >> np.uint64(6)).astype(np.int64)
        first = np.flatnonzero(np.r_[True, words[1:] != words[:-1]]) if len(words) else words
        if len(first):
            gate = np.frombuffer(self._gate_array.memory, dtype=np.uint64)
            gate[words[first]] |= np.bitwise_or.reduceat(np.uint64(1) << (bits & np.uint64(63)), first)

    def _tags(self, keys: npt.NDArray[np.uint64], hashed: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        import numpy as np

        if self._keys is None:
            return keys >> np.uint64(32)
        tags = (hashed >> np.uint64(12)) & np.uint64(_EXPIRY)
        tags[tags == 0] = 1
        return tags

    def _put_round(
        self,
        index: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64],
        fresh: npt.NDArray[np.uint64],
        now: int,
    ) -> npt.NDArray[np.bool_]:
        """One key a set; ``fresh``: tag and expiry of each. Gives which were written; the others need :meth:`put`."""
        import numpy as np

        table = np.frombuffer(self._array.memory, dtype=np.uint64, count=self._array.entries * _STRIDE)
        # Halves of each place's first word, shape (n, BAN_WAYS): the memory is the kernel's, little endian or not.
        words = np.take(table.reshape(-1, _STRIDE), index, axis=0)[:, ::2]
        tags, expiries = (words >> np.uint64(32)).astype(np.uint32), words.astype(np.uint32)
        same = (tags == (fresh >> np.uint64(32)).astype(np.uint32)[:, None]) & (expiries != 0)
        key_table = None
        if self._keys_array is not None:
            key_table = np.frombuffer(
                self._keys_array.memory, dtype=np.uint64, count=self._keys_array.entries * BAN_WAYS
            )
            same &= key_table.reshape(-1, BAN_WAYS)[index] == keys[:, None]
        stands, standing = first_of(same)
        room, free = first_of(expiries <= np.uint32(now))
        full = np.frombuffer(self._full, dtype=np.uint64)
        may_overflow = full[index >> 6] >> (index & 63).view(np.uint64) & np.uint64(1)
        # A set with overflow may hold the key there, so only standing places are sure.
        takes = ~stands & room & (may_overflow == 0)
        places = index * BAN_WAYS + np.where(stands, standing, free)
        empty = places[takes]
        table[empty * 2] = 0
        table[empty * 2 + 1] = 0
        if key_table is not None:
            key_table[empty] = keys[takes]
        done: npt.NDArray[np.bool_] = stands | takes
        table[places[done] * 2] = fresh[done]
        return done

    def remove_many(self, keys: Iterable[int]) -> int:
        """Lift bans. Gives how many stood."""
        lines: list[int] = []
        overflowed = False
        for key in keys:
            line, tag = self._place(key)
            found = self._find(line, tag, key)
            if found is not None:
                self._words[found] = 0
            elif self._is_full(line) and sys_bpf.map_delete(self._overflow, _key_bytes(key)):
                overflowed = True
            else:
                continue
            lines.append(line)
        if overflowed:  # once for all of them: it reads the whole overflow map
            self.follow_overflow(_number(raw) for raw in sys_bpf.map_keys(self._overflow, 8))
        for line in lines:
            self._close_gate(line)
        return len(lines)

    def get(self, key: int) -> tuple[int, int, int] | None:
        """Expiry, packets and bytes dropped of a ban."""
        line, tag = self._place(key)
        found = self._find(line, tag, key)
        if found is not None:
            return self._words[found] & _EXPIRY, *_dropped(self._words[found + 1])
        return self._overflow_get(key) if self._is_full(line) else None

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Key, expiry, packets and bytes of each place that is taken. The overflow map: :func:`overflow_entries`."""
        for at, _ in self._taken():
            word = self._words[
                at
            ]  # anew: the caller may have lifted or prolonged bans since this page was read
            if word & _EXPIRY:
                yield self._key(at), word & _EXPIRY, *_dropped(self._words[at + 1])

    def drops(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Keys of all places that are taken, and their counters as :func:`_dropped` reads one. Overflow left out."""
        import numpy as np

        table = np.frombuffer(self._array.memory, dtype=np.uint64, count=self._array.entries * _STRIDE)
        words = table[::2]
        taken = np.flatnonzero(words & np.uint64(_EXPIRY))
        if self._keys_array is None:
            keys = words[taken] >> np.uint64(32) << np.uint64(32) | np.uint64(0xFFFF)
        else:
            keys = np.frombuffer(self._keys_array.memory, dtype=np.uint64)[taken]
        return keys, table[1::2][taken]

    def sweep(self, now: int) -> int:
        """Empty places whose ban is over. Gives how many."""
        import numpy as np

        words = np.frombuffer(self._array.memory, dtype=np.uint64, count=self._array.entries * _STRIDE)[::2]
        expiries = words & np.uint64(_EXPIRY)
        over = (np.flatnonzero((expiries != 0) & (expiries <= np.uint64(now))) * 2).tolist()
        self._empty(over)
        return len(over)

    def clear(self) -> int:
        """Empty the table. The overflow map must have been emptied before. Gives how many places were taken."""
        taken = [at for at, _ in self._taken()]
        self._empty(taken)
        return len(taken)

    def count(self) -> int:
        """How many places are taken."""
        return sum(1 for _ in self._taken())

    def follow_overflow(self, keys: Iterable[int]) -> None:
        """Set each set's bit as the overflow map is now, after something was taken out of it.

        Args:
            keys: all that the map holds, of either family.
        """
        wanted: dict[int, int] = {}
        for key in keys:
            if (key & _EXPIRY == 0xFFFF) == (self._keys is None):
                line, _ = self._place(key)
                wanted[line >> 6] = wanted.get(line >> 6, 0) | 1 << (line & 63)
        for word, bits in enumerate(self._full.tolist()):
            kept = wanted.get(word, 0)
            if bits == kept:
                continue
            self._full[word] = kept
            for bit in range(64):
                if (bits & ~kept) >> bit & 1:
                    self._close_gate(word << 6 | bit)

    def _empty(self, places: list[int]) -> None:
        for at in places:
            self._words[at] = 0
        for line in {at // _STRIDE for at in places}:
            self._close_gate(line)

    def _open_gate(self, key: int) -> None:
        bit = hashing.mix(key, self._seed) >> (self._shift - _GATE_BITS)
        self._gate[bit >> 6] |= 1 << (bit & 63)

    def _close_gate(self, line: int) -> None:
        """Keep open only what the set still holds. With bans of it in the overflow map, all of it may be needed."""
        if self._is_full(line):
            return
        bits = 0
        for at in range(line * _STRIDE, (line + 1) * _STRIDE, 2):
            if self._words[at] & _EXPIRY:
                eighth = hashing.mix(self._key(at), self._seed) >> (self._shift - _GATE_BITS)
                bits |= 1 << (eighth & ((1 << _GATE_BITS) - 1))
        first = line << _GATE_BITS
        shift = first & 63
        mask = ((1 << (1 << _GATE_BITS)) - 1) << shift
        self._gate[first >> 6] = self._gate[first >> 6] & ~mask & _WORD | bits << shift

    def _key(self, at: int) -> int:
        """The source that a taken place bans."""
        if self._keys is not None:
            return self._keys[at // 2]
        return self._words[at] >> 32 << 32 | 0xFFFF

    def _taken(self) -> Iterator[tuple[int, int]]:
        """Index and word of each place that is taken, skipping empty ground a page at a time."""
        page = 512
        nothing = memoryview(bytes(page * 8)).cast("Q")
        for start in range(0, len(self._words), page):
            piece = self._words[start : start + page]
            if piece == nothing:
                continue
            for offset, word in enumerate(piece.tolist()[::2]):
                if word & _EXPIRY:
                    yield start + offset * 2, word

    def _place(self, key: int) -> tuple[int, int]:
        """The set of a key, and its tag there."""
        hashed = hashing.mix(key, self._seed)
        return hashed >> self._shift, hashing.tag(key, hashed)

    def _find(self, line: int, tag: int, key: int) -> int | None:
        """The place that holds a key."""
        words = self._words
        for at in range(line * _STRIDE, (line + 1) * _STRIDE, 2):
            word = words[at]
            if word >> 32 == tag and word & _EXPIRY and (self._keys is None or self._keys[at // 2] == key):
                return at
        return None

    def _is_full(self, line: int) -> bool:
        return bool(self._full[line >> 6] >> (line & 63) & 1)

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
            yield _number(raw), expiry, packets, size


def _dropped(word: int) -> tuple[int, int]:
    """Packets and bytes of a place's counter."""
    return word & 0xFFFFFFFF, (word >> 32) * _BYTE_UNIT


def _key_bytes(key: int) -> bytes:
    return key.to_bytes(8, "little")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
