# SPDX-License-Identifier: Apache-2.0
"""Time as a parameter: no module but this one reads a clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """The two clocks that xdpwall uses."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch. May jump: only for what people read and what outlives a boot."""

    def mono_ns(self) -> int:
        """Nanoseconds of a clock that never jumps and stands still in suspend (CLOCK_MONOTONIC)."""


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        """See :meth:`Clock.wall_ms`."""
        return time.time_ns() // 1_000_000

    def mono_ns(self) -> int:
        """See :meth:`Clock.mono_ns`."""
        return time.monotonic_ns()


def this_boot() -> tuple[str, int]:
    """The kernel's name of this boot, and nanoseconds since it began, suspend included (CLOCK_BOOTTIME).

    For deadlines that neither a step of the clock nor a reboot may put off.
    """
    name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return name, time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class ManualClock:
    """A clock that moves only when told to: for tests, simulation and replayed history."""

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_ns: int = 1_000_000_000_000) -> None:
        self._wall_ms = wall_ms
        self._mono_ns = mono_ns

    def wall_ms(self) -> int:
        """See :meth:`Clock.wall_ms`."""
        return self._wall_ms

    def mono_ns(self) -> int:
        """See :meth:`Clock.mono_ns`."""
        return self._mono_ns

    def advance_ms(self, milliseconds: int) -> None:
        """Move both clocks on by this much."""
        self._wall_ms += milliseconds
        self._mono_ns += milliseconds * 1_000_000

    def jump_wall_ms(self, milliseconds: int) -> None:
        """Move the wall clock alone, as an NTP step or an administrator does."""
        self._wall_ms += milliseconds
