# SPDX-License-Identifier: Apache-2.0
"""When the next tick is due. Ticks never pile up: one that is late is late, those it ran over are left out."""

from __future__ import annotations

_SMOOTH = 0.1


class Schedule:
    """A drift-free schedule: tick n is due at start + n x interval, however long the others took.

    Args:
        interval_ns: time from tick to tick.
        now_ns: the monotonic clock now; the first tick is due one interval later.
    """

    def __init__(self, interval_ns: int, now_ns: int) -> None:
        self._interval = interval_ns
        self._due = now_ns + interval_ns
        self.ticks = 0
        """Ticks begun."""
        self.left_out = 0
        """Ticks that had no time left."""
        self._lag_ns = 0.0

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next tick is due; 0 when it is due already."""
        return max(0, self._due - now_ns)

    def begin(self, now_ns: int) -> int:
        """A tick begins now. Gives how late it is, nanoseconds."""
        lag = max(0, now_ns - self._due)
        over = lag // self._interval
        self.left_out += over
        self._due += (over + 1) * self._interval
        self.ticks += 1
        self._lag_ns += (lag - self._lag_ns) * _SMOOTH
        return lag

    def change(self, interval_ns: int, now_ns: int) -> None:
        """Go on with another interval."""
        self._interval = interval_ns
        self._due = now_ns + interval_ns

    @property
    def lag_ms(self) -> int:
        """How late ticks are lately, smoothed over about ten of them."""
        return round(self._lag_ns / 1e6)

    @property
    def behind(self) -> bool:
        """Whether ticks are later than one interval, on average of about ten."""
        return self._lag_ns > self._interval
