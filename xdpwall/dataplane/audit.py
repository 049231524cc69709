# SPDX-License-Identifier: Apache-2.0
"""Are the ban tables sound in themselves? A ban can stand in its table and yet stop nothing.

The kernel looks for a source in one set only, asks the gate before it does, and the overflow map only where a bit says
so. A word in the wrong set, a wrong tag, or a bit that was cleared makes a hole that a list of the bans does not show.
Everything here is done with numpy over the mapped memory: some milliseconds for 100,000 bans.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpwall.dataplane import hashing
from xdpwall.dataplane.layout import BAN_WAYS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from xdpwall.dataplane.mapped import MappedArray

    Words = npt.NDArray[np.uint64]

_EXPIRY = 0xFFFFFFFF
_GATE_BITS = 3
_V4_MARK = 0xFFFF


@dataclass(frozen=True, slots=True)
class Soundness:
    """What an audit put right. ``strays``: words that no packet could meet; ``bits``: closed gates and lost marks."""

    strays: int = 0
    bits: int = 0

    def __add__(self, other: Soundness) -> Soundness:
        return Soundness(self.strays + other.strays, self.bits + other.bits)


class ExactAudit:
    """The tables of one family.

    Args:
        lines, gate, full, keys: as in :class:`exact_bans.ExactBans`.
        seed: of the wall's hash.
    """

    def __init__(
        self, lines: MappedArray, gate: MappedArray, full: MappedArray, keys: MappedArray | None, seed: int
    ) -> None:
        self._lines = lines
        self._gate = gate
        self._full = full
        self._keys = keys
        self._seed = seed
        self._shift = 64 - (lines.entries.bit_length() - 1)

    def digest(self) -> int:
        """Of everything but the counters: differs once a ban, a key, a gate or a mark does."""
        found = zlib.crc32(self._words().tobytes())
        for array in (self._keys, self._gate, self._full):
            if array is not None:
                found = zlib.crc32(array.words, found)
        return found

    def count(self) -> int:
        """Places that are taken, lapsed or not."""
        import numpy as np

        return int(np.count_nonzero(self._words() & np.uint64(_EXPIRY)))

    def mend(self, overflow: Iterable[int]) -> Soundness:
        """Empty places that no packet could meet, and open every gate that a ban needs.

        Args:
            overflow: keys of the bans in the overflow map, of either family.
        """
        import numpy as np

        words = self._words()
        taken = np.flatnonzero(words & np.uint64(_EXPIRY))
        keys = self._keys_at(words, taken)
        hashed = hashing.mix_many(keys, self._seed)
        wrong = (hashed >> np.uint64(self._shift)) != (taken // BAN_WAYS).astype(np.uint64)
        if self._keys is not None:
            tags = (hashed >> np.uint64(12)) & np.uint64(_EXPIRY)
            tags[tags == 0] = 1
            wrong |= words[taken] >> np.uint64(32) != tags
        else:
            wrong |= keys >> np.uint64(32) == 0
        words[taken[wrong]] = 0
        doubles = self._empty_doubles(words)
        family = [key for key in overflow if (key & _EXPIRY == _V4_MARK) == (self._keys is None)]
        spilled = hashing.mix_many(np.array(family, dtype=np.uint64), self._seed)
        bits = self._set(self._full, spilled >> np.uint64(self._shift))
        needed = np.concatenate((hashed[~wrong], spilled)) >> np.uint64(self._shift - _GATE_BITS)
        return Soundness(int(wrong.sum()) + doubles, bits + self._set(self._gate, needed))

    def _empty_doubles(self, words: Words) -> int:
        """Of two places of a set that hold the same key the kernel meets the first; the second only takes room."""
        import numpy as np

        found = 0
        if self._keys is None:
            keys = words >> np.uint64(32)
        else:
            keys = np.frombuffer(self._keys.memory, dtype=np.uint64)[: len(words)]
        keys, live = keys.reshape(-1, BAN_WAYS), (words & np.uint64(_EXPIRY) != 0).reshape(-1, BAN_WAYS)
        for first in range(BAN_WAYS):
            for second in range(first + 1, BAN_WAYS):
                same = (keys[:, first] == keys[:, second]) & live[:, first] & live[:, second]
                places = np.flatnonzero(same) * BAN_WAYS + second
                words[places] = 0
                found += len(places)
        return found

    def _words(self) -> Words:
        """Tag and expiry of each place."""
        import numpy as np

        count = self._lines.entries * BAN_WAYS * 2
        return np.frombuffer(self._lines.memory, dtype=np.uint64, count=count)[::2]

    def _keys_at(self, words: Words, taken: npt.NDArray[np.intp]) -> Words:
        import numpy as np

        if self._keys is None:
            return words[taken] >> np.uint64(32) << np.uint64(32) | np.uint64(_V4_MARK)
        return np.frombuffer(self._keys.memory, dtype=np.uint64)[taken]

    @staticmethod
    def _set(array: MappedArray, bits: Words) -> int:
        """Set these bits. Gives how many were not."""
        import numpy as np

        words = np.frombuffer(array.memory, dtype=np.uint64)
        closed = words[(bits >> np.uint64(6)).astype(np.intp)] >> (bits & np.uint64(63)) & np.uint64(1) == 0
        missing = set(bits[closed].tolist())
        for bit in missing:
            array.words[bit >> 6] |= 1 << (bit & 63)
        return len(missing)
