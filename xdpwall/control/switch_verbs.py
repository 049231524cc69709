# SPDX-License-Identifier: Apache-2.0
"""`xdpwall off` and `on`: done on the pins themselves, with a controller or without.

So a controller that hangs cannot keep it from being done. It is told afterwards, and keeps the record; where none runs,
the line of history is written here. All that is only needed for that is imported after the wall has been turned.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from xdpwall.dataplane import bypass, switch
from xdpwall.dataplane.interface import OffState
from xdpwall.dataplane.pins import Pins
from xdpwall.errors import DataplaneError, NoControllerError, StoreError, XdpwallError
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.clock import Clock
    from xdpwall.control.results import OffResult

_ANSWER_SECONDS = 3.0
_LOCK_SECONDS = 0.5


class SwitchResult(TypedDict):
    """`xdpwall off` and `on`. ``changed``: it was the other way before. ``off`` is null once the wall filters."""

    changed: bool
    off: OffResult | None
    interfaces: list[str]
    warnings: list[str]


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
    pins = Pins(paths)
    now_ms, mono_ns = clock.wall_ms(), clock.mono_ns()
    until_ms = until_ns = None
    if for_ms is not None:
        until_ms, until_ns = now_ms + for_ms, mono_ns + for_ms * 1_000_000
    state = OffState(now_ms, until_ms, until_ns, by, reason)
    before = bypass.read(pins) if pins.exist() else None
    done = switch.turn_off(pins, state)
    from xdpwall.control.switch import detail  # noqa: PLC0415
    from xdpwall.control.views import off_result  # noqa: PLC0415

    return SwitchResult(
        changed=before is None or before.is_over(mono_ns),
        off=off_result(bypass.read(pins) or state, 0),
        interfaces=done,
        warnings=_told(paths, clock, "off", detail(state)),
    )


def turn_on(paths: Paths, clock: Clock, *, by: str) -> SwitchResult:
    """Filter again, with a controller or without.

    Raises:
        NotLoadedError: there is no wall.
        KernelError: the kernel refused.
    """
    pins = Pins(paths)
    changed = switch.turn_on(pins)
    warnings = _told(paths, clock, "on" if changed else None, f"by {by}")
    return SwitchResult(changed=changed, off=None, interfaces=pins.interfaces(), warnings=warnings)


def _told(paths: Paths, clock: Clock, event: str | None, text: str) -> list[str]:
    """Tell the controller; without one, write the line of history, and end what it would have ended."""
    from xdpwall.control import lock  # noqa: PLC0415
    from xdpwall.control.client import call  # noqa: PLC0415

    try:
        call(paths, "switch", timeout=_ANSWER_SECONDS)
    except NoControllerError:
        who = lock.holder(paths)
        if who is not None:
            return [f"done, but {who} does not answer: it takes note once it does"]
        return [] if event is None else _without_controller(paths, clock, event, text)
    except XdpwallError as error:  # an older controller
        return [f"done, but the controller was not told: {error.message}"]
    return []


def _without_controller(paths: Paths, clock: Clock, event: str, text: str) -> list[str]:
    from xdpwall.control import identity, lock  # noqa: PLC0415
    from xdpwall.control.database import Changes, Database, Event  # noqa: PLC0415

    line = Event(clock.wall_ms(), event, None, "operator", text)
    warnings: list[str] = []
    try:
        with identity.as_owner(paths), lock.hold(paths, "a command", wait_seconds=_LOCK_SECONDS):
            database = Database(paths.database, now_ms=clock.wall_ms(), read_only=False)
            try:
                database.apply([Changes(events=(line,))])
            finally:
                database.close()
    except (StoreError, lock.LockedError) as error:
        warnings.append(f"done, but not on record: {error.message}")
    if event == "off":
        warnings += _end_cookies(paths)
    return warnings


def _end_cookies(paths: Paths) -> list[str]:
    """A killed controller may have left SYN cookies on: they are the wall's, which answers nobody now."""
    from xdpwall.control import syncookies  # noqa: PLC0415
    from xdpwall.dataplane.wall import Wall  # noqa: PLC0415

    try:
        with Wall.open(paths) as wall:
            wall.set_cookies(False)
    except DataplaneError as error:  # another version's
        return [f"SYN cookies are as they were: {error.message}"]
    return syncookies.restore(paths)


def who(environment: Mapping[str, str]) -> str:
    """Who runs this process, for people.

    Args:
        environment: the process's own.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    asked = environment.get("SUDO_USER") or environment.get("DOAS_USER")
    return f"{asked} ({name})" if asked and asked != name else name
