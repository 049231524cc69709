# SPDX-License-Identifier: Apache-2.0
"""What the kernel's meters look like from Python: numpy records, and the moment they were read.

A leaf, so that detection can work on snapshots without knowing where they come from. ``dataplane.layout`` checks the
record against the C struct at load. Imports numpy: verbs that only ask must not import this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METER_DTYPE = np.dtype(
    [
        ("key", "<u8"),
        ("packets", "<u8"),
        ("bytes", "<u8"),
        ("syn", "<u4"),
        ("udp", "<u4"),
        ("icmp", "<u4"),
        ("fragments", "<u4"),
        ("drops", "<u4"),
        ("first", "<u4"),
        ("last", "<u4"),
        ("packet_tokens", "<u4"),
        ("byte_tokens", "<u4"),
        ("syn_tokens", "<u4"),
    ]
)
"""One meter slot, ``struct meter`` of ``bpf/types.h``, 64 bytes.

``key``: the source, or the prefix, as the kernel packs it (``dataplane.keys``); 0 is an empty slot.
``packets`` and ``bytes`` (L2 length): all that was seen of it since ``first``, dropped or passed. ``syn``: TCP with SYN
and without ACK. ``udp``, ``icmp`` (v4 and v6), ``fragments`` (first and later ones). ``drops``: of them, dropped after
the ban stages. The 32-bit counters wrap. ``first``, ``last``: kernel ticks modulo 2**32 (``MeterSnapshot.now_tick``).
The ``*_tokens`` are what the kernel's limits have left, in its own units (``bpf/limits.h``).
"""

Meters = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class MeterSnapshot:
    """All slots of one meter table at one moment.

    Args:
        slots: records, shape ``(cpus * slots_per_cpu,)``, dtype :data:`METER_DTYPE`, read-only. The place of a slot
            never changes between snapshots of one wall, its key may: the same source can have a slot on each CPU, and
            an old one in another place. Rows of one CPU are contiguous. A slot whose key is 0 is empty. From a real
            wall this is the kernel's own memory, not a copy (at a million slots a copy would cost 64 MB and 10 ms a
            look): counters go on while they are read, so read a column once, and expect a slot to change hands
            between two columns. The kernel writes the key first and last when it does.
        mono_ns: when it was read.
        now_tick: the kernel's tick at that moment, full 64 bits.
        tick_hz: ticks per second.
    """

    slots: Meters
    mono_ns: int
    now_tick: int
    tick_hz: int
