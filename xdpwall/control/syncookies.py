# SPDX-License-Identifier: Apache-2.0
"""When the wall answers connection requests with SYN cookies, and the kernel settings that this needs.

The stack takes up whoever acknowledges a cookie only while it sends cookies itself: ``net.ipv4.tcp_syncookies`` is 2
as long as the wall sends any. Window scale and SACK travel in the timestamp, which the stack can read back only if it
adds no random offset: ``net.ipv4.tcp_timestamps`` is 2. (net/ipv4/syncookies.c and secure_seq.c of the kernel.) Both
are put back when it has been calm for a while, when the controller stops, and by an unload.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control.database import Changes, Event
from xdpwall.control.health import Health
from xdpwall.control.results import CookiesResult
from xdpwall.control.sysctl import Change, Memory, Sysctls, put_back
from xdpwall.control.views import Counts
from xdpwall.dataplane.interface import Dataplane
from xdpwall.errors import DataplaneError
from xdpwall.paths import Paths
from xdpwall.reasons import Reason

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)

COOKIES, TIMESTAMPS = "net.ipv4.tcp_syncookies", "net.ipv4.tcp_timestamps"
ALWAYS = 2
"""Of both: cookies for every request; timestamps without a random offset (Documentation/networking/ip-sysctl.rst)."""
CALM_NS = 180_000_000_000
"""So long after the last request over budget all is put back. The stack takes cookies for two minutes."""
SETTLE_NS = 5_000_000_000
"""No new cookies for so long before timestamps get their offset again: acknowledgements are on their way."""
STOP_SECONDS = 1.0
"""The same when the controller stops: nobody waits for long, and most acknowledgements come at once."""
_RETRY_NS = 60_000_000_000
_MOST_QUARRELS = 3
_SEEN = (Reason.LANE_SYN, Reason.COOKIE_SENT)


def build(
    config: Config, clock: Clock, health: Health, record: Callable[[Changes], None], paths: Paths
) -> SynCookies:
    """Cookies of an instance, over this host's own settings."""
    return SynCookies(config, clock, health, record=record, memory=Memory(paths.state), sysctls=Sysctls())


class Stage(Enum):
    """``ENDING``: no more cookies are sent; settings are about to be put back."""

    OFF = "off"
    ON = "on"
    ENDING = "ending"


class SynCookies:
    """Turns cookies on and off.

    Args:
        config: the configuration in force.
        clock: both clocks.
        health: told what is wrong.
        record: takes lines of history.
        memory: what settings were, on disk.
        sysctls: the settings.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        health: Health,
        *,
        record: Callable[[Changes], None],
        memory: Memory,
        sysctls: Sysctls,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config.syncookies
        self._clock = clock
        self._health = health
        self._record = record
        self._memory = memory
        self._sysctls = sysctls
        self._sleep = sleep
        self._changes: dict[str, Change] = {}
        self._held: set[str] = set()
        self._seen: int | None = None
        self._busy_ns = 0
        self._ended_ns = 0
        self._not_before_ns = 0
        self._quarrels = 0
        self.stage = Stage.OFF
        self.since_ms = 0
        """Unix time from which on the wall has been sending cookies, while it does."""

    @property
    def on(self) -> bool:
        """Whether the wall answers requests over budget."""
        return self.stage is Stage.ON

    def result(self) -> CookiesResult:
        """For people."""
        return CookiesResult(on=self.on, since_ms=self.since_ms if self.on else None)

    def start(self, wall: Dataplane) -> None:
        """Take over what a controller left that did not come to put things back."""
        try:
            noted = self._memory.read()
        except (OSError, ValueError) as error:
            log.error("what kernel settings were before cannot be read: %s", error)
            self._health.set(
                "cookies memory", f"{error}; {COOKIES} may be {ALWAYS} for no reason: see `sysctl {COOKIES}`"
            )
            noted = None
        if noted is None and not wall.cookies:
            try:
                self._memory.forget()  # of an earlier boot, if anything
            except OSError as error:
                log.warning("%s: %s", self._memory.place, error.strerror)
            return
        self._changes = noted or {}
        self._held = {COOKIES, *self._changes}
        self._busy_ns = self._clock.mono_ns()
        self.stage, self.since_ms = Stage.ON, self._clock.wall_ms()
        if not wall.cookies or not self._is_wanted(wall):
            self._end(wall, "left by a controller that was killed")

    def step(self, wall: Dataplane, counts: Counts) -> None:
        """In each tick.

        Args:
            wall: the wall.
            counts: its newest totals.
        """
        seen = sum(reasons[r].packets for reasons in counts.values() for r in _SEEN if r in reasons)
        before, self._seen = self._seen, seen
        if before is None or seen <= before:
            return
        now = self._clock.mono_ns()
        self._busy_ns = now
        if self.stage is not Stage.ON and now >= self._not_before_ns and self._is_wanted(wall):
            self._begin(wall)

    def second(self, wall: Dataplane | None) -> None:
        """Once a second: is all as it should be, and is it over?"""
        now = self._clock.mono_ns()
        if self.stage is Stage.ON:
            if wall is None:
                self._seen = None
                self._end(None, "the wall was unloaded")
            elif not self._is_wanted(wall):
                self._end(wall, "turned off")
            elif now - self._busy_ns >= CALM_NS:
                self._end(wall, "calm")
            else:
                self._keep(wall)
        elif self.stage is Stage.ENDING and now - self._ended_ns >= SETTLE_NS:
            self._finish()
        elif now - self._busy_ns >= CALM_NS:
            self._health.clear("cookies")  # whatever it was, nobody needs any now

    def configure(self, config: Config) -> None:
        """Another configuration is in force."""
        self._config = config.syncookies

    def close(self, wall: Dataplane | None) -> None:
        """The controller stops: nobody will look after the settings, so cookies end and all is put back now."""
        if self.stage is Stage.ON:
            self._end(wall, "the controller stops")
        if self.stage is Stage.ENDING:
            self._sleep(STOP_SECONDS)
            self._finish()

    def _is_wanted(self, wall: Dataplane) -> bool:
        try:
            able = wall.cookies_possible and wall.info.policy == "enforce" and wall.off() is None
            return self._config.enabled and able
        except DataplaneError:  # it is being unloaded just now
            return False

    def _begin(self, wall: Dataplane) -> None:
        if self._sysctls.read(COOKIES) is None:
            self._fail(f"this kernel has no {COOKIES}")
            return
        wanted = [COOKIES]
        if (
            self._config.timestamps and self._sysctls.read(TIMESTAMPS) == 1
        ):  # 0: there are none, and it stays so
            wanted.append(TIMESTAMPS)
        for name in wanted:
            value = self._sysctls.read(name)
            if value is not None and value != ALWAYS:
                self._changes.setdefault(name, Change(value, ALWAYS)).set = ALWAYS
        try:
            self._memory.write(self._changes)
        except OSError as error:
            self._fail(f"{self._memory.place}: {error.strerror}: what {COOKIES} was could not be put back")
            return
        refused = {name: fault for name in wanted if (fault := self._set(name)) is not None}
        if COOKIES in refused:
            self._fail(f"{COOKIES} cannot be set: {refused[COOKIES]}")
            self._put_back()
            return
        text = f"{TIMESTAMPS} cannot be set ({refused.get(TIMESTAMPS)}): no window scaling by SYN cookies"
        self._health.put("cookies stamps", text if TIMESTAMPS in refused else None)
        self._health.clear("cookies")
        if not wall.set_cookies(True):
            self._put_back()
            return
        if self.stage is Stage.OFF:
            self._quarrels = 0
        self._held = {name for name in (COOKIES, TIMESTAMPS) if self._sysctls.read(name) == ALWAYS}
        self.stage, self.since_ms = Stage.ON, self._clock.wall_ms()
        settings = ", ".join(f"{name} {c.before} -> {c.set}" for name, c in self._changes.items())
        self._tell("on" + (f": {settings}" if settings else ""))

    def _set(self, name: str) -> str | None:
        """Set one of them, unless it is so. Gives what the kernel said against it."""
        if self._sysctls.read(name) == ALWAYS:
            return None
        try:
            self._sysctls.write(name, ALWAYS)
        except OSError as error:
            self._changes.pop(name, None)
            return error.strerror or str(error)
        return None

    def _keep(self, wall: Dataplane) -> None:
        """Somebody may have set them meanwhile (sysctl --system, another wall): that is then what to put back."""
        for name in sorted(self._held):
            value = self._sysctls.read(name)
            if value is None or value == ALWAYS:
                continue
            self._quarrels += 1
            if self._quarrels > _MOST_QUARRELS:
                self._fail(f"something else sets {name} to {value} again and again")
                self._end(wall, f"{name} is set by something else")
                return
            log.warning("%s was set to %s meanwhile; SYN cookies need %s for now", name, value, ALWAYS)
            self._changes[name] = Change(value, ALWAYS)
            try:
                self._memory.write(self._changes)
                self._sysctls.write(name, ALWAYS)
            except OSError as error:
                self._fail(f"{name} cannot be set: {error.strerror}")
                self._end(wall, f"{name} cannot be set")
                return
        if not wall.cookies:  # loaded anew
            wall.set_cookies(True)

    def _end(self, wall: Dataplane | None, why: str) -> None:
        """No more cookies; those that are out there are taken until :meth:`_finish`."""
        if wall is not None:
            wall.set_cookies(False)
        self.stage, self._ended_ns = Stage.ENDING, self._clock.mono_ns()
        change = self._changes.get(COOKIES)
        if change is not None and self._sysctls.read(COOKIES) == change.set and change.set != 1:
            # With 1 the stack still takes what is out there, and sends no new ones.
            try:
                self._sysctls.write(COOKIES, 1)
                change.set = 1
                self._memory.write(self._changes)
            except OSError as error:
                log.warning("%s: %s", COOKIES, error.strerror)
        self._tell(f"off: {why}")

    def _finish(self) -> None:
        self.stage = Stage.OFF
        self._put_back()

    def _put_back(self) -> None:
        result = put_back(self._sysctls, self._changes)
        for name, fault in result.failed.items():
            before = self._changes[name].before
            log.error("%s cannot be put back to %d: %s", name, before, fault)
            self._health.set(f"cookies {name}", f"{name} cannot be put back: `sysctl -w {name}={before}`")
        if not result.failed:
            self._changes = {}
            try:
                self._memory.forget()
            except OSError as error:
                log.warning("%s: %s", self._memory.place, error.strerror)

    def _fail(self, text: str) -> None:
        self._not_before_ns = self._clock.mono_ns() + _RETRY_NS
        self._health.set("cookies", f"no SYN cookies: {text}")
        log.error("no SYN cookies: %s", text)

    def _tell(self, detail: str) -> None:
        log.info("SYN cookies %s", detail)
        self._record(Changes(events=(Event(self._clock.wall_ms(), "cookies", None, "", detail),)))


def restore(paths: Paths) -> list[str]:
    """Put back what a controller left changed; for after an unload. Gives what there is to say, one line each."""
    memory = Memory(paths.state)
    lines = []
    try:
        changes = memory.read()
    except (OSError, ValueError) as error:
        return [f"{error}: see whether {COOKIES} is what it should be"]
    if changes:
        time.sleep(STOP_SECONDS)
        result = put_back(Sysctls(), changes)
        lines += [f"{name} is {value} again" for name, value in result.back.items()]
        lines += [
            f"{name} cannot be put back ({fault}): `sysctl -w {name}={changes[name].before}`"
            for name, fault in result.failed.items()
        ]
        if result.failed:
            return lines
    try:
        memory.forget()
    except OSError as error:
        lines.append(f"{memory.place}: {error.strerror}")
    lines += [
        f"{path}: settings of another network namespace are changed; run `xdpwall unload` in there, too"
        for path in memory.elsewhere()
    ]
    return lines
