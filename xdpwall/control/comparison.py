# SPDX-License-Identifier: Apache-2.0
"""The pace of the comparison between kernel and record: a piece a tick, and never more than a small share of a core."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from xdpwall.clock import Clock
from xdpwall.control.health import Health
from xdpwall.control.logs import Throttle
from xdpwall.control.reconcile import Mended, Reconciler
from xdpwall.dataplane.interface import Dataplane
from xdpwall.errors import DataplaneError

_SHARE = 50
"""It takes at most one part in so many of the time: with many bans a whole comparison takes longer."""


class Comparison:
    """One comparison after the other.

    Args:
        reconciler: does the work.
        clock: measures what it costs.
        health: told when it fails.
        throttle: for the log.
    """

    def __init__(self, reconciler: Reconciler, clock: Clock, health: Health, throttle: Throttle) -> None:
        self._reconciler = reconciler
        self._clock = clock
        self._health = health
        self._throttle = throttle
        self._scan: Iterator[Mended] | None = None
        self._began_ns = 0
        self._spent_ns = 0
        self._next_ns = 0
        self._last: Mended | None = None

    def drop(self) -> None:
        """There is another wall, or none: begin anew at the next step."""
        self._scan, self._next_ns = None, 0

    def put_off(self, interval_ns: int) -> None:
        """Everything was just compared: the next one is due one interval from now."""
        self._scan, self._next_ns = None, self._clock.mono_ns() + interval_ns

    def step(self, wall: Dataplane, interval_ns: int) -> None:
        """Go on a little, if it is time to.

        Args:
            wall: the wall.
            interval_ns: from the beginning of one comparison to that of the next.
        """
        now = self._clock.mono_ns()
        if self._scan is None:
            if now < self._next_ns:
                return
            self._scan, self._spent_ns, self._began_ns = self._reconciler.scan(wall), 0, now
            self._last = None
        elif now - self._began_ns < self._spent_ns * _SHARE:
            return
        try:
            mended = next(self._scan, None)
            done = mended is None
            if mended is not None:
                self._last = mended
            self._spent_ns += self._clock.mono_ns() - now
            self._health.clear("reconcile")
        except DataplaneError as error:
            done = True
            self._health.set("reconcile", f"the kernel cannot be compared with the record: {error.message}")
            self._throttle.line("reconcile", error.message, logging.ERROR)
        if done:
            self._tell()
            self._scan, self._next_ns = None, self._began_ns + interval_ns

    def _tell(self) -> None:
        """What was mended, on the board; the reconciler has it in log and history."""
        if self._last is None:
            return
        allowed = self._last.allowed + self._last.disallowed
        if allowed:
            self._health.mended(
                "allow", f"{allowed} entries of the allowlist differed in the kernel", allowed
            )
        bans = self._last.bans
        if bans:
            self._health.mended(
                "bans", f"{bans} bans differed in the kernel, or would have stopped nothing", bans
            )
