# SPDX-License-Identifier: Apache-2.0
"""A set of prefixes of any length that answers for thousands of sources at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from xdpwall.detection.keys import Keys, KeySet, Mask, are_v4
from xdpwall.model import Prefix

_LOW_HALF = np.uint64(0xFFFFFFFF)
_SOURCE_V6 = 64
_Shape = tuple[int, int]  # IP version, prefix length


class PrefixSet:
    """Prefixes of both families: all bans that stand, or all that must never be banned.

    Prefixes of one length are one sorted array of network numbers: 32 bits of IPv4, the upper 64 of IPv6. What is
    longer than /64 is kept as it is, and its /64 with it: sources are never told apart below that.
    """

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._sets: dict[_Shape, KeySet] = {}
        self._long: set[Prefix] = set()
        self._long_64s = KeySet()
        self.add(prefixes)

    def add(self, prefixes: Iterable[Prefix]) -> None:
        """Put these in."""
        grouped = self._grouped(prefixes)
        for prefix in grouped.pop(None, ()):
            self._long.add(prefix)
        for shape, members in grouped.items():
            assert shape is not None
            self._sets.setdefault(shape, KeySet()).add(_numbers(members))
        self._rebuild_long()

    def remove(self, prefixes: Iterable[Prefix]) -> None:
        """Take these out; those that are not in are no error."""
        grouped = self._grouped(prefixes)
        self._long.difference_update(grouped.pop(None, ()))
        for shape, members in grouped.items():
            assert shape is not None
            if (held := self._sets.get(shape)) is not None:
                held.remove(_numbers(members))
                if not len(held):
                    del self._sets[shape]
        self._rebuild_long()

    def replace(self, prefixes: Iterable[Prefix]) -> None:
        """Hold these and nothing else."""
        self._sets.clear()
        self._long.clear()
        self.add(prefixes)

    def covers(self, prefix: Prefix) -> bool:
        """Whether a member holds all of this prefix."""
        number, width = _number(prefix), _width(prefix)
        for (version, length), held in self._sets.items():
            if version == prefix.version and length <= prefix.length:
                kept = number >> (width - length) << (width - length)
                if held.has(kept):
                    return True
        return any(member.contains(prefix) for member in self._long)

    def overlaps(self, prefix: Prefix) -> bool:
        """Whether a member shares an address with this prefix."""
        if self.covers(prefix):
            return True
        if prefix.length > _SOURCE_V6:
            return any(prefix.contains(member) for member in self._long)
        low, width = _number(prefix), _width(prefix)
        high = low | ((1 << (width - prefix.length)) - 1)
        if prefix.version == 6 and self._long_64s.any_between(low, high):
            return True
        return any(
            held.any_between(low, high)
            for (version, length), held in self._sets.items()
            if version == prefix.version and length > prefix.length
        )

    def inside(self, prefix: Prefix) -> list[Prefix]:
        """The members that lie in this prefix, in no order. Looks at all: for short sets."""
        return [member for member in self if prefix.contains(member)]

    def covers_sources(self, keys: Keys) -> Mask:
        """Which of these sources lie in a member. A member longer than /64 counts for its whole /64."""
        return self._cover(keys, {4: 32, 6: _SOURCE_V6})

    def covers_prefixes(self, keys: Keys) -> Mask:
        """Which of these /24 and /48 (keys of prefix meters) lie wholly in a member."""
        return self._cover(keys, {4: 24, 6: 48})

    def _cover(self, keys: Keys, longest: dict[int, int]) -> Mask:
        covered = np.zeros(len(keys), np.bool_)
        if not len(keys) or not len(self):
            return covered
        swapped = keys.byteswap()
        v4 = are_v4(keys)
        places = {4: np.flatnonzero(v4), 6: np.flatnonzero(~v4)}
        numbers = {4: swapped[places[4]] & _LOW_HALF, 6: swapped[places[6]]}
        for (version, length), held in self._sets.items():
            if length <= longest[version] and len(places[version]):
                kept = numbers[version] & _netmask(version, length)
                covered[places[version][held.contains(kept)]] = True
        if longest[6] == _SOURCE_V6 and len(self._long_64s):
            covered[places[6][self._long_64s.contains(numbers[6])]] = True
        return covered

    def _grouped(self, prefixes: Iterable[Prefix]) -> dict[_Shape | None, list[Prefix]]:
        """By shape; under None what is longer than /64."""
        grouped: dict[_Shape | None, list[Prefix]] = defaultdict(list)
        for prefix in prefixes:
            grouped[None if prefix.length > _SOURCE_V6 else (prefix.version, prefix.length)].append(prefix)
        return grouped

    def _rebuild_long(self) -> None:
        if self._long or len(self._long_64s):
            self._long_64s = KeySet(_number(prefix) for prefix in self._long)

    def __contains__(self, prefix: object) -> bool:
        if not isinstance(prefix, Prefix):
            return False
        if prefix.length > _SOURCE_V6:
            return prefix in self._long
        held = self._sets.get((prefix.version, prefix.length))
        return held is not None and held.has(_number(prefix))

    def __iter__(self) -> Iterator[Prefix]:
        for (version, length), held in self._sets.items():
            for number in held.array.tolist():
                packed = number.to_bytes(4 if version == 4 else 8, "big")
                yield Prefix(packed if version == 4 else packed + bytes(8), length)
        yield from self._long

    def __len__(self) -> int:
        return len(self._long) + sum(len(held) for held in self._sets.values())


def _width(prefix: Prefix) -> int:
    return 32 if prefix.version == 4 else _SOURCE_V6


def _number(prefix: Prefix) -> int:
    return int.from_bytes(prefix.packed[:8], "big")


def _numbers(prefixes: list[Prefix]) -> Keys:
    return np.fromiter(map(_number, prefixes), np.uint64, len(prefixes))


def _netmask(version: int, length: int) -> np.uint64:
    width = 32 if version == 4 else _SOURCE_V6
    return np.uint64((1 << width) - (1 << (width - length)))
