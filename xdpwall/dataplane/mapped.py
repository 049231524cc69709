# SPDX-License-Identifier: Apache-2.0
"""A pinned array map as memory: no system call to read or write it."""

from __future__ import annotations

import mmap
import os

from xdpwall.dataplane import layout
from xdpwall.dataplane.pins import Pins


class MappedArray:
    """One mmapable array map.

    Attributes:
        entries: how many values it has.
        words: the whole map as native unsigned 64-bit numbers. A store through it is one aligned 8-byte store (CPython
            copies the packed number with an 8-byte memcpy, which compilers turn into one instruction on 64-bit
            machines), so the kernel sees a word before or after a change and never in between.
        memory: the mapping, for ``numpy.frombuffer``.
    """

    def __init__(self, pins: Pins, name: str) -> None:
        shape = layout.BY_NAME[name]
        fd = pins.open_map(name)
        try:
            info = layout.check_map(shape, fd)
            self.entries = info.max_entries
            self.size = shape.value_size * info.max_entries
            self.memory = mmap.mmap(fd, _page_aligned(self.size))
        finally:
            os.close(fd)
        self.words = memoryview(self.memory)[: self.size].cast("Q")

    def close(self) -> None:
        """Unmap."""
        self.words.release()
        try:
            self.memory.close()
        except BufferError:
            # A numpy view handed out by a caller still points in; the mapping goes when that view goes.
            return


def _page_aligned(size: int) -> int:
    page = mmap.PAGESIZE
    return (size + page - 1) // page * page
