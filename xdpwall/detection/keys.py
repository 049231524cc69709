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
SkipKeys = Keys | Callable[[Keys], Mask] | None
"""Keys to leave alone: an array of them, or a function from keys to a mask, or none. The function must be vectorised
(``KeySet.contains``, ``PrefixSet.covers_sources``): it is asked in every tick of an attack, for thousands of keys."""


class KeySet:
    """A set of keys as a sorted array: lookups, additions and removals by the thousand."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        raise NotImplementedError

    def add(self, keys: Keys) -> None:
        """Put these in."""
        raise NotImplementedError

    def remove(self, keys: Keys) -> None:
        """Take these out; those that are not in are no error."""
        raise NotImplementedError

    def contains(self, keys: Keys) -> Mask:
        """Which of these are in."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def prefix_keys(sources: Keys) -> Keys:
    """The key of each source's prefix meter: its /24 or /48."""
    raise NotImplementedError


def keys_of(prefixes: Iterable[Prefix]) -> Keys:
    """Keys of sources (/32, /64) or of meter prefixes (/24, /48).

    Raises:
        ValueError: a prefix of another length.
    """
    raise NotImplementedError


def source_of(key: int) -> Prefix:
    """The source behind a key."""
    raise NotImplementedError


def prefix_of(key: int) -> Prefix:
    """The /24 or /48 behind the key of a prefix meter."""
    raise NotImplementedError
