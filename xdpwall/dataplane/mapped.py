# SPDX-License-Identifier: Apache-2.0
"""A pinned array map as memory: no system call to read or write it."""

from __future__ import annotations

import mmap
import os

from xdpwall.dataplane import layout
from xdpwall.dataplane.pins import Pins


class MappedArray:
    """One mmapable array map.

    Args:
        pins: of the wall.
        name: of the map.
        resting: it is mapped from its first use on until :meth:`rest`, and again from the next. Pages of a map count as
            resident memory of everybody who has them mapped, and large tables are read now and then only.

    Attributes:
        entries: how many values it has.
        size: of all values, bytes.
    """

    def __init__(self, pins: Pins, name: str, *, resting: bool = False) -> None:
        shape = layout.BY_NAME[name]
        self._fd = pins.open_map(name)
        self._memory: mmap.mmap | None = None
        self._words: memoryview | None = None
        try:
            self.entries = layout.check_map(shape, self._fd).max_entries
            self.size = shape.value_size * self.entries
            if not resting:
                self._map()
        except BaseException:
            os.close(self._fd)
            raise
        if not resting:
            os.close(self._fd)
            self._fd = -1

    @property
    def memory(self) -> mmap.mmap:
        """The mapping, for ``numpy.frombuffer``."""
        return self._memory if self._memory is not None else self._map()[0]

    @property
    def words(self) -> memoryview:
        """The whole map as native unsigned 64-bit numbers.

        A store through it is one aligned 8-byte store (CPython copies the packed number with an 8-byte memcpy, which
        compilers turn into one instruction on 64-bit machines), so the kernel sees a word before or after a change and
        never in between.
        """
        return self._words if self._words is not None else self._map()[1]

    def rest(self) -> None:
        """Unmap until the next use, where that was said; not while somebody's view points in."""
        if self._fd >= 0:
            self._unmap()

    def close(self) -> None:
        """Unmap."""
        self._unmap()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _map(self) -> tuple[mmap.mmap, memoryview]:
        memory = mmap.mmap(self._fd, _page_aligned(self.size))
        words = memoryview(memory)[: self.size].cast("Q")
        self._memory, self._words = memory, words
        return memory, words

    def _unmap(self) -> None:
        try:
            if self._words is not None:
                self._words.release()
            self._words = None
            if self._memory is not None:
                self._memory.close()
        except BufferError:
            # A view handed out to a caller still points in; the mapping goes when that view goes.
            pass
        self._memory = None


def _page_aligned(size: int) -> int:
    page = mmap.PAGESIZE
    return (size + page - 1) // page * page
