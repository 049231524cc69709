# SPDX-License-Identifier: Apache-2.0
"""Which meters lie in a prefix."""

from __future__ import annotations

import numpy as np

from xdpwall.model import Prefix
from xdpwall.snapshot import Meters

_V4_MARK = b"\xff\xff\x00\x00"  # how the kernel marks an IPv4 source in its 64-bit key (dataplane.keys)


def only_within(slots: Meters, prefix: Prefix) -> Meters:
    """Copies of the slots whose source lies in ``prefix``, or, for one narrower than a source, holds it."""
    whole = prefix.packed if prefix.version == 6 else _V4_MARK + prefix.packed
    length = min(prefix.length if prefix.version == 6 else prefix.length + 32, 64)
    number = int.from_bytes(whole[:8], "big") >> (64 - length) if length else 0
    keys = slots["key"].copy()  # read once: the table may be a live view
    inside = (keys != 0) if not length else (keys.byteswap() >> np.uint64(64 - length)) == np.uint64(number)
    if prefix.version == 6 and not length:
        inside &= (keys & np.uint64(0xFFFFFFFF)) != np.uint64(0x0000FFFF)
    found: Meters = slots[inside]
    return found
