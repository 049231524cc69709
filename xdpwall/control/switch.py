# SPDX-License-Identifier: Apache-2.0
"""Off and on: everything passes, or the wall filters again. For the controller, and for verbs.

A verb does it on the pins itself, so that a controller that hangs cannot keep it from being done, and then tells the
controller, which keeps the record. Where none runs, the verb writes the line of history.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypedDict

from xdpwall.clock import Clock
from xdpwall.control import identity, lock, syncookies
from xdpwall.control.client import call
from xdpwall.control.database import Changes, Database, Event
from xdpwall.control.health import Health
from xdpwall.control.results import OffResult
from xdpwall.control.views import off_result
from xdpwall.dataplane.interface import Dataplane, OffState
from xdpwall.errors import DataplaneError, NoControllerError, StoreError, XdpwallError
from xdpwall.model import format_duration_ms
from xdpwall.paths import Paths

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 3.0
_LOCK_SECONDS = 0.5


class SwitchResult(TypedDict):
    """`xdpwall off` and `on`. ``changed``: it was the other way before. ``off`` is null once the wall filters."""

    changed: bool
    off: OffResult | None
    interfaces: list[str]
    warnings: list[str]


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


# --- verbs ---


def turn_off(paths: Paths, clock: Clock, *, by: str, reason: str, for_ms: int | None) -> SwitchResult:
    """Pass everything, with a controller or without.

    Args:
        paths: the instance.
        clock: both clocks.
        by: who does it.
        reason: why.
        for_ms: how long; the kernel itself ends it. None: until somebody turns the wall on.

    Raises:
        NotLoadedError: there is no wall.
        KernelError: the kernel refused.
    """
    from xdpwall.dataplane import bypass, switch  # noqa: PLC0415  (only when it is really needed)
    from xdpwall.dataplane.pins import Pins  # noqa: PLC0415

    pins = Pins(paths)
    now_ms, mono_ns = clock.wall_ms(), clock.mono_ns()
    until_ms = until_ns = None
    if for_ms is not None:
        until_ms, until_ns = now_ms + for_ms, mono_ns + for_ms * 1_000_000
    state = OffState(now_ms, until_ms, until_ns, by, reason)
    before = bypass.read(pins) if pins.exist() else None
    done = switch.turn_off(pins, state)
    warnings = _told(paths, clock, Event(now_ms, "off", None, "operator", detail(state)))
    stands = bypass.read(pins) or state
    return SwitchResult(
        changed=before is None or before.is_over(mono_ns),
        off=off_result(stands, 0),
        interfaces=done,
        warnings=warnings,
    )


def turn_on(paths: Paths, clock: Clock, *, by: str) -> SwitchResult:
    """Filter again, with a controller or without.

    Raises:
        NotLoadedError: there is no wall.
        KernelError: the kernel refused.
    """
    from xdpwall.dataplane import switch  # noqa: PLC0415  (only when it is really needed)
    from xdpwall.dataplane.pins import Pins  # noqa: PLC0415

    pins = Pins(paths)
    changed = switch.turn_on(pins)
    event = Event(clock.wall_ms(), "on", None, "operator", f"by {by}") if changed else None
    return SwitchResult(
        changed=changed, off=None, interfaces=pins.interfaces(), warnings=_told(paths, clock, event)
    )


def _told(paths: Paths, clock: Clock, event: Event | None) -> list[str]:
    """Tell the controller; without one, write the line of history, and end what it would have ended."""
    try:
        call(paths, "switch", timeout=_ANSWER_SECONDS)
    except NoControllerError:
        who = lock.holder(paths)
        if who is not None:
            return [f"done, but {who} does not answer: it takes note once it does"]
        return [] if event is None else _without_controller(paths, clock, event)
    except XdpwallError as error:  # an older controller
        return [f"done, but the controller was not told: {error.message}"]
    return []


def _without_controller(paths: Paths, clock: Clock, event: Event) -> list[str]:
    warnings: list[str] = []
    try:
        with identity.as_owner(paths), lock.hold(paths, "a command", wait_seconds=_LOCK_SECONDS):
            database = Database(paths.database, now_ms=clock.wall_ms(), read_only=False)
            try:
                database.apply([Changes(events=(event,))])
            finally:
                database.close()
    except (StoreError, lock.LockedError) as error:
        warnings.append(f"done, but not on record: {error.message}")
    if event.event == "off":
        warnings += _end_cookies(paths)
    return warnings


def _end_cookies(paths: Paths) -> list[str]:
    """A killed controller may have left SYN cookies on: they are the wall's, which answers nobody now."""
    from xdpwall.dataplane.wall import Wall  # noqa: PLC0415

    try:
        with Wall.open(paths) as wall:
            wall.set_cookies(False)
    except DataplaneError as error:  # another version's
        return [f"SYN cookies are as they were: {error.message}"]
    return syncookies.restore(paths)


def who(environment: Any) -> str:
    """Who runs this process, for people.

    Args:
        environment: the process's own.
    """
    import os  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    asked = environment.get("SUDO_USER") or environment.get("DOAS_USER")
    return f"{asked} ({name})" if asked and asked != name else name
