# SPDX-License-Identifier: Apache-2.0
"""The kernel's tick (jiffies): how fast it runs, what it says now, and expiries in its units.

The kernel tells programs of ticks, but user space neither their number nor their rate (``CONFIG_HZ``), so a tiny
program of ours is test-run to read them.
"""

from __future__ import annotations

import os
import struct
import time

from xdpwall.dataplane import sys_bpf

EXPIRY_SHIFT = 6
EXPIRY_NEVER = 0xFFFFFFFF
_USUAL_HZ = (100, 250, 300, 1000)
_SAMPLE_NS = 120_000_000


def read_clock(fd: int) -> tuple[int, int]:
    """Ticks since an arbitrary start, and CLOCK_MONOTONIC nanoseconds, of one moment."""
    result = sys_bpf.test_run(fd, bytes(64))
    ticks, nanoseconds = struct.unpack_from("<QQ", result.data)
    return ticks, nanoseconds


def measure_hz(fd: int) -> int:
    """Ticks per second. Takes about 0.12 s.

    Both ends of the sample wait for a fresh tick, so the count is exact and a late wake-up does no harm; the result is
    taken to be the nearest rate that kernels are built with when it is within 4 % of it.
    """
    start, start_ns = _next_tick(fd)
    time.sleep(_SAMPLE_NS / 1e9)
    end, end_ns = _next_tick(fd)
    measured = (end - start) * 1e9 / max(1, end_ns - start_ns)
    nearest = min(_USUAL_HZ, key=lambda rate: abs(rate - measured))
    return nearest if abs(nearest - measured) < nearest * 0.04 else max(1, round(measured))


def _next_tick(fd: int) -> tuple[int, int]:
    first, now_ns = read_clock(fd)
    deadline = now_ns + 50_000_000
    ticks = first
    while ticks == first and now_ns < deadline:
        ticks, now_ns = read_clock(fd)
    return ticks, now_ns


def epoch_shift(hz: int) -> int:
    """Power of two of ticks that is nearest to a second from below: the meters' epoch."""
    return max(1, hz.bit_length() - 1)


def sample_shift(hz: int) -> int:
    """Power of two of ticks that is nearest to 4 ms from below, one tick at least: the period of rations of samples."""
    return max(1, hz // 250).bit_length() - 1


class TickClock:
    """Reads the kernel's tick through a program, and turns durations into expiries and back.

    Args:
        fd: the program ``wall_clock``; from now on this object's.
        hz: ticks per second.
    """

    def __init__(self, fd: int, hz: int) -> None:
        self.fd = fd
        self.hz = hz

    def now(self) -> int:
        """The kernel's tick, 64 bits."""
        return read_clock(self.fd)[0]

    def expiry_now(self) -> int:
        """The expiry that is just over."""
        return self.now() >> EXPIRY_SHIFT

    def expiry(self, remaining_ms: int | None, now: int | None = None) -> int:
        """When a ban of this length ends, in the kernel's expiry units, rounded up."""
        if remaining_ms is None:
            return EXPIRY_NEVER
        ticks = (self.now() if now is None else now) + -(-max(0, remaining_ms) * self.hz // 1000)
        return min(-(-ticks // (1 << EXPIRY_SHIFT)), EXPIRY_NEVER - 1)

    def remaining_ms(self, expiry: int, now: int | None = None) -> int | None:
        """Milliseconds left until an expiry, 0 when it is over, None for one without end."""
        if expiry == EXPIRY_NEVER:
            return None
        ticks = (expiry << EXPIRY_SHIFT) - (self.now() if now is None else now)
        return max(0, ticks * 1000 // self.hz)

    def close(self) -> None:
        """Let go of the program."""
        os.close(self.fd)
