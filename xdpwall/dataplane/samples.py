# SPDX-License-Identifier: Apache-2.0
"""Reads the ring of sampled packets, with nothing but a memory mapping.

The layout is the kernel's (``kernel/bpf/ringbuf.c``): the first page of the map is the reader's position, the second
the writer's, then the data, mapped twice in a row so that no record is ever cut. A record is eight bytes of header,
whose first four are its length, a bit for "still being written" and one for "thrown away", and the sample; all of ours
have one size.
"""

from __future__ import annotations

import mmap
import os
import struct

from xdpwall.dataplane import layout
from xdpwall.dataplane.pins import Pins
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

SAMPLE = struct.Struct(f"<QIHBBBBBBHH{HEAD_BYTES}s")
"""``struct sample`` of ``bpf/samples.h``."""
HEAD_AT = SAMPLE.size - HEAD_BYTES
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER = 8
_POSITION = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_WOULD_DROP = 0x80
"""``WOULD_DROP`` of ``bpf/samples.h``."""
_REASONS = {int(reason): reason for reason in Reason}


class SampleRing:
    """The map ``samples``. There is one reader at a time: what it has read is gone.

    It begins with what comes from now on: what an earlier reader left is of another time.
    """

    def __init__(self, pins: Pins) -> None:
        shape = layout.BY_NAME["samples"]
        fd = pins.open_map(shape.name)
        try:
            self._size = layout.check_map(shape, fd).max_entries
            page = mmap.PAGESIZE
            self._reader = mmap.mmap(fd, page)
            self._ring = mmap.mmap(fd, page + 2 * self._size, prot=mmap.PROT_READ, offset=page)
        finally:
            os.close(fd)
        self._write_position(_POSITION.unpack_from(self._ring)[0])
        self.overruns = 0
        """How often it was found full: packets were not sampled then."""

    def drain(self) -> list[Sample]:
        """All samples since the last time, oldest first."""
        (at,) = _POSITION.unpack_from(self._reader)
        (end,) = _POSITION.unpack_from(self._ring)
        found: list[Sample] = []
        # What does not fit any more is not written, and nobody counts it.
        self.overruns += self._size - (end - at) < _HEADER + SAMPLE.size
        while at < end:
            place = mmap.PAGESIZE + at % self._size
            (word,) = _LENGTH.unpack_from(self._ring, place)
            if word & _BUSY:
                break  # its writer is not done; the next time
            size = word & ~_DISCARDED
            if not word & _DISCARDED and size == SAMPLE.size:
                found.append(decode(SAMPLE.unpack_from(self._ring, place + _HEADER)))
            at += (_HEADER + size + 7) & ~7
        self._write_position(at)
        return found

    def _write_position(self, position: int) -> None:
        _POSITION.pack_into(self._reader, 0, position)

    def close(self) -> None:
        """Unmap."""
        self._reader.close()
        self._ring.close()


def decode(fields: tuple[int, int, int, int, int, int, int, int, int, int, int, bytes]) -> Sample:
    """A sample from the members of ``struct sample``."""
    tick, length, captured, reason, lane, slot, is_v6, protocol, fragment, l3, l4, head = fields
    return Sample(
        tick=tick,
        length=length,
        reason=_REASONS.get(reason & ~_WOULD_DROP, Reason.PASS),
        would_drop=bool(reason & _WOULD_DROP),
        lane=Lane(lane),
        slot=slot,
        version=6 if is_v6 else 4,
        protocol=protocol,
        fragment=fragment,
        l3=l3,
        l4=l4,
        captured=captured,
        head=head,
    )
