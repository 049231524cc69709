# SPDX-License-Identifier: Apache-2.0
"""Many entries of a map in one system call (BPF_MAP_UPDATE_BATCH, since Linux 5.6; ``linux/bpf.h``)."""

from __future__ import annotations

import ctypes
import struct

from xdpwall.dataplane import sys_bpf
from xdpwall.errors import KernelError

_MAP_UPDATE_BATCH = 26


def update_many(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Write entries, one by one where the kernel has no batches for this map.

    Args:
        fd: of the map.
        keys: of all entries, one behind the other.
        values: likewise.
        count: how many entries.

    Raises:
        KernelError: E2BIG or ENOSPC when the map is full; some entries may have been written.
    """
    if not count:
        return
    key_buffer = ctypes.create_string_buffer(keys, len(keys))
    value_buffer = ctypes.create_string_buffer(values, len(values))
    places = (ctypes.addressof(key_buffer), ctypes.addressof(value_buffer))
    try:
        sys_bpf.call(
            "map update in a batch",
            _MAP_UPDATE_BATCH,
            struct.pack("<QQQQIIQQ", 0, 0, *places, count, fd, 0, 0),
        )
    except KernelError:
        # No batches here, or no room: one by one it says which.
        key_size, value_size = len(keys) // count, len(values) // count
        for number in range(count):
            key = keys[number * key_size : (number + 1) * key_size]
            sys_bpf.map_update(fd, key, values[number * value_size : (number + 1) * value_size])
