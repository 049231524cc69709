# SPDX-License-Identifier: Apache-2.0
"""The wall was turned off, or on again: the controller takes note, says so, and ends what has an end.

It is done by verbs, see ``control.switch_verbs``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from xdpwall.clock import Clock
from xdpwall.control.database import Changes, Event
from xdpwall.control.health import Health
from xdpwall.control.results import OffResult
from xdpwall.control.views import off_result
from xdpwall.dataplane.interface import Dataplane, OffState
from xdpwall.errors import DataplaneError
from xdpwall.model import format_duration_ms

log = logging.getLogger(__name__)


def words(off: OffResult) -> str:
    """One sentence, without a full stop."""
    who = f" by {off['by']}" if off["by"] else ""
    why = f" ({off['reason']})" if off["reason"] else ""
    end = f", until {_time(off['until_ms'])}" if off["until_ms"] is not None else ""
    return f"the wall is OFF since {_time(off['since_ms'])}{end}{who}{why}: everything passes, nothing is counted"


def _time(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Switch:
    """Follows the switch for the controller: tells of each change, ends what has an end.

    Args:
        clock: both clocks.
        health: says loudly that the wall is off.
        record: takes lines of history; an open incident hears of them, too.
        resumed: called when the wall filters again: for a while nothing was counted.
    """

    def __init__(
        self,
        clock: Clock,
        health: Health,
        *,
        record: Callable[[Changes], None],
        resumed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._health = health
        self._record = record
        self._resumed = resumed
        self._looked = False
        self.state: OffState | None = None
        """How it stands, as of the last look; None: the wall filters."""

    @property
    def result(self) -> OffResult | None:
        """For the answer of ``status``."""
        return off_result(self.state, self._clock.mono_ns())

    def look(self, wall: Dataplane | None) -> None:
        """In each second, and when a verb says that it turned it."""
        try:
            found = None if wall is None else wall.off()
            over = found is not None and found.is_over(self._clock.mono_ns())
            if wall is not None and over:  # the kernel filters again already; this makes it free of cost
                wall.turn_on()
        except DataplaneError as error:
            self._health.set("switch", f"whether the wall is off cannot be told: {error.message}")
            return
        self._health.clear("switch")
        known, self.state = self.state, None if over else found
        first, self._looked = not self._looked, True
        if self.state is not None and self.state != known:
            text = words(off_result(self.state, 0) or _NOTHING)
            self._health.set("off", f"{text}; `xdpwall on` turns it on again")
            log.warning("%s", text)
            if not first:  # else somebody has told of it, and this controller only began anew
                self._tell("off", detail(self.state))
        elif self.state is None:
            self._health.clear("off")
            if known is not None or over:
                log.warning("the wall is on again")
                self._tell("on", "its time off is over" if over else "")
                self._resumed()

    def _tell(self, event: str, text: str) -> None:
        self._record(Changes(events=(Event(self._clock.wall_ms(), event, None, "operator", text),)))


_NOTHING = OffResult(since_ms=0, until_ms=None, by="", reason="")


def detail(state: OffState) -> str:
    """For a line of history."""
    parts = [f"by {state.by}" if state.by else ""]
    if state.until_ms is not None:
        parts.append(f"for {format_duration_ms(max(1, state.until_ms - state.since_ms))}")
    parts.append(state.reason)
    return ", ".join(part for part in parts if part)
