# SPDX-License-Identifier: Apache-2.0
"""Tells of what the checks found: a line in the log and in the history for each change, and a message for an alarm."""

from __future__ import annotations

import logging
from collections.abc import Callable

from xdpwall.clock import Clock
from xdpwall.control.checks.names import CHECKS
from xdpwall.control.database import Changes, Event
from xdpwall.control.health import Change, Health, Trouble
from xdpwall.control.notices import Notice, Notifier
from xdpwall.model import format_duration_ms

log = logging.getLogger(__name__)

PATIENCE_MS = 10_000
"""An alarm that lasts this long wakes people; what is mended sooner stands in the log and in the history."""
_MOST_A_MINUTE = 30


class Teller:
    """Follows the board.

    Args:
        health: the board.
        clock: both clocks.
        record: takes lines of history.
        notifier: sends messages.
    """

    def __init__(
        self,
        health: Health,
        clock: Clock,
        record: Callable[[Changes], object],
        notifier: Notifier,
    ) -> None:
        self._health = health
        self._clock = clock
        self._record = record
        self._notifier = notifier
        self._told: dict[tuple[str, int], Trouble] = {}
        self._minute = 0
        self._lines = 0
        self._left_out = 0

    def second(self) -> None:
        """Once a second: what changed since the last one."""
        minute = self._clock.mono_ns() // 60_000_000_000
        if minute != self._minute:
            if self._left_out:
                log.warning("%d more changes of checks in the last minute", self._left_out)
            self._minute, self._lines, self._left_out = minute, 0, 0
        events = []
        for change in self._health.changes():
            self._lines += 1
            if self._lines > _MOST_A_MINUTE:
                self._left_out += 1
                continue
            events.append(self._line(change))
        if events:
            self._record(Changes(events=tuple(events)))
        self._alarm()

    def _line(self, change: Change) -> Event:
        fields = {"fields": {"event": "check", "check": change.check}}
        if change.wrong:
            name, text = "problem", change.text
            log.warning("%s: %s", change.check, text, extra=fields)
        elif change.mended:
            name, text = "mended", change.text
            log.warning("%s: mended: %s", change.check, text, extra=fields)
        else:
            name, text = "solved", f"after {format_duration_ms(max(1, change.lasted_ms))}: {change.text}"
            log.info("%s: right again %s", change.check, text, extra=fields)
        return Event(self._clock.wall_ms(), name, None, change.check, text)

    def _alarm(self) -> None:
        now = self._clock.wall_ms()
        standing = {
            (trouble.check, trouble.since_ms): trouble
            for trouble in self._health.troubles
            if trouble.check in CHECKS and CHECKS[trouble.check].alarm
        }
        for key, trouble in standing.items():
            if key not in self._told and now - trouble.since_ms >= PATIENCE_MS:
                self._told[key] = trouble
                self._tell(_notice(trouble, f"xdpwall: {trouble.text}"))
        for key in [key for key in self._told if key not in standing]:
            trouble = self._told.pop(key)
            self._tell(_notice(trouble, f"xdpwall: right again: {trouble.text}", solved=True))

    def _tell(self, notice: Notice) -> None:
        self._notifier.tell(notice, self._clock.mono_ns())


def _notice(trouble: Trouble, title: str, *, solved: bool = False) -> Notice:
    data = {"check": trouble.check, "text": trouble.text, "since_ms": trouble.since_ms, "solved": solved}
    about = f"{trouble.check} {trouble.since_ms} {'solved' if solved else ''}"
    return Notice("problem", about, title, trouble.text, data)
