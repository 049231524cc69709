# SPDX-License-Identifier: Apache-2.0
"""The hash of ``bpf/packet.h`` for Python, which places bans where the kernel will look for them.

No copy of the C's decisions: if the two disagreed, no ban would ever match, and the tests would say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MASK = (1 << 64) - 1
_FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
_GATE = 0x9E3779B1


def mix(key: int, seed: int) -> int:
    """64-bit hash of a 64-bit key."""
    value = (key ^ seed) * _FIRST & _MASK
    value ^= value >> 32
    value = value * _SECOND & _MASK
    return value ^ (value >> 29)


def mix_many(keys: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """:func:`mix` of each key, shape ``(n,)``."""
    import numpy as np

    value = (keys ^ np.uint64(seed)) * np.uint64(_FIRST)
    value ^= value >> np.uint64(32)
    value *= np.uint64(_SECOND)
    return value ^ (value >> np.uint64(29))


def tag(key: int, hashed: int) -> int:
    """32-bit name of a key within its set: an IPv4 address itself, else bits 12 to 43 of the hash; never 0."""
    if key & 0xFFFFFFFF == 0xFFFF:
        return key >> 32
    return (hashed >> 12) & 0xFFFFFFFF or 1


def gate_bit(packed: bytes) -> int:
    """Which of the 2 * 65,536 gate bits an address has: by its first 16 bits (IPv4) or a hash of 32 (IPv6)."""
    if len(packed) == 4:
        return int.from_bytes(packed[:2], "big")
    first = int.from_bytes(packed[:4], "little")
    return 65536 + ((first * _GATE & 0xFFFFFFFF) >> 16)
