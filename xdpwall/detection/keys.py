# SPDX-License-Identifier: Apache-2.0
"""Keys by the thousand: the kernel's 64-bit form of sources and prefixes, in numpy.

The form itself is described in ``dataplane.keys``, which a test holds this module to. In short: eight bytes in network
order, read as a little-endian number; for IPv6 the /64; for IPv4 ``ffff:0000:aabb:ccdd``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from xdpwall.model import Prefix

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
SkipKeys = Keys | Callable[[Keys], Mask] | None
"""Keys to leave alone: an array of them, or a function from keys to a mask, or none. The function must be vectorised
(``KeySet.contains``, ``PrefixSet.covers_sources``): it is asked in every tick of an attack, for thousands of keys."""

_V4_BYTES = b"\xff\xff\x00\x00"
_V4_LOW_HALF = np.uint64(0x0000FFFF)  # the same four bytes as the low half of a little-endian number
_LOW_HALF = np.uint64(0xFFFFFFFF)
_KEEP_24 = np.uint64(0x00FF_FFFF_FFFF_FFFF)
_KEEP_48 = np.uint64(0x0000_FFFF_FFFF_FFFF)


def no_keys() -> Keys:
    """An empty array of keys."""
    return np.empty(0, np.uint64)


def are_v4(keys: Keys) -> Mask:
    """Which keys are of IPv4."""
    v4: Mask = (keys & _LOW_HALF) == _V4_LOW_HALF
    return v4


def prefix_keys(sources: Keys) -> Keys:
    """The key of each source's prefix meter: its /24 or /48."""
    return sources & np.where(are_v4(sources), _KEEP_24, _KEEP_48)


def keys_of(prefixes: Iterable[Prefix]) -> Keys:
    """Keys of sources (/32, /64) or of meter prefixes (/24, /48).

    Raises:
        ValueError: a prefix of another length.
    """
    return np.fromiter((_key(prefix) for prefix in prefixes), np.uint64)


def _key(prefix: Prefix) -> int:
    if len(prefix.packed) == 4:
        if prefix.length in (24, 32):
            return int.from_bytes(_V4_BYTES + prefix.packed, "little")
    elif prefix.length in (48, 64):
        return int.from_bytes(prefix.packed[:8], "little")
    raise ValueError(
        f"{prefix} has no key: it is neither a source (/32, /64) nor a metered prefix (/24, /48)"
    )


def source_of(key: int) -> Prefix:
    """The source behind a key."""
    raw = key.to_bytes(8, "little")
    return Prefix(raw[4:], 32) if raw.startswith(_V4_BYTES) else Prefix(raw + bytes(8), 64)


def prefix_of(key: int) -> Prefix:
    """The /24 or /48 behind the key of a prefix meter."""
    raw = key.to_bytes(8, "little")
    return Prefix(raw[4:7] + b"\0", 24) if raw.startswith(_V4_BYTES) else Prefix(raw[:6] + bytes(10), 48)


def find(table: Keys, keys: Keys) -> tuple[Places, Mask]:
    """Where each key stands in a sorted table, and whether it does. Places of absent keys are valid but mean nothing.

    ``keys`` should be sorted when there are many: the search then walks the table instead of jumping about in it.
    """
    if not len(table):
        return np.zeros(len(keys), np.intp), np.zeros(len(keys), np.bool_)
    places = table.searchsorted(keys)
    np.minimum(places, len(table) - 1, out=places)
    return places, table[places] == keys


def skip_mask(skip: SkipKeys, keys: Keys) -> Mask:
    """Which of the keys are to be left alone."""
    if skip is None or not len(keys):
        return np.zeros(len(keys), np.bool_)
    if callable(skip):
        return skip(keys)
    return np.isin(keys, skip)


_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth, TAOCP vol. 3, 6.4


def buckets(keys: Keys, bits: int) -> npt.NDArray[np.int64]:
    """A hash of each key, ``bits`` wide: equal keys share a bucket, others do so by chance only."""
    hashed = keys * _MULTIPLIER
    hashed >>= np.uint64(64 - bits)
    return hashed.view(np.int64)


class KeySet:
    """A set of keys as a sorted array: lookups, additions and removals by the thousand."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._sorted = np.unique(np.fromiter(keys, np.uint64))

    def add(self, keys: Keys) -> None:
        """Put these in."""
        new = np.unique(keys)
        places = self._sorted.searchsorted(new)
        absent = ~find(self._sorted, new)[1]
        self._sorted = np.insert(self._sorted, places[absent], new[absent])

    def remove(self, keys: Keys) -> None:
        """Take these out; those that are not in are no error."""
        places, present = find(self._sorted, keys)
        self._sorted = np.delete(self._sorted, places[present])

    def contains(self, keys: Keys) -> Mask:
        """Which of these are in."""
        return find(self._sorted, keys)[1]

    def any_between(self, low: int, high: int) -> bool:
        """Whether a member lies between the two, both included."""
        start, stop = self._sorted.searchsorted(np.array([low, high], np.uint64))
        return bool(stop > start) or self.has(high)

    def has(self, key: int) -> bool:
        """Whether this one is in."""
        place = int(self._sorted.searchsorted(np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    @property
    def array(self) -> Keys:
        """The members, ascending. Not to be written to."""
        return self._sorted

    def __len__(self) -> int:
        return len(self._sorted)
