# SPDX-License-Identifier: Apache-2.0
"""Keeps those protected whom this host must not cut off: finds them every few seconds, and clears the way for them.

Each of them is known to the guard, so that no ban covers it. A ban that comes to cover one is lifted, or cut around it.
Its packets beyond a lane's budget pass, because the wall is told again and again that its address is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control.admin_sessions import Announced
from xdpwall.control.book import Book
from xdpwall.control.database import Changes, Event
from xdpwall.control.desk import write_bans
from xdpwall.control.health import Health
from xdpwall.control.logs import about
from xdpwall.control.protect import ANNOUNCED, Evidence, Wanted, gateways, own
from xdpwall.control.protection import SETTING, VOUCHED, Found, Kind, Memory, Protected, to_text
from xdpwall.control.record import Record
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.keys import source_key
from xdpwall.errors import DataplaneError
from xdpwall.model import Ban, Prefix

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)

EVERY_NS = 5_000_000_000
_MOST_ANNOUNCED = 64
Collect = Callable[[Wanted], Evidence]


class Protector:
    """Who is protected, kept up to date.

    Args:
        config: the table ``protect`` of it.
        known: the record as read at start: its guard is told of them, and bans of its book may stand in their way.
        clock: both clocks.
        health: told what goes wrong.
        record: takes what changes, and tells everybody.
        changed: called when the protected addresses have changed.
        submit: runs a look in a thread.
    """

    def __init__(
        self,
        config: Config,
        known: Record,
        clock: Clock,
        health: Health,
        *,
        record: Callable[[Changes], object],
        changed: Callable[[], None],
        submit: Callable[[Callable[[], Evidence]], Future[Evidence]] | None = None,
    ) -> None:
        self._config = config
        self._guard = known.guard
        self._book = known.book
        self._kept = known.kept
        self._clock = clock
        self._health = health
        self._record = record
        self._changed = changed
        self.collect: Collect | None = None
        """Looks for them; None: nobody does, and only :meth:`set_addresses` counts. Set before :meth:`start`."""
        self.started_from = ""
        """``SSH_CONNECTION`` of whoever started the controller. Set before :meth:`start`."""
        self._submit = submit or _in_thread
        self._running: Future[Evidence] | None = None
        self._next_ns = 0
        self._memory = Memory()
        self._evidence = Evidence()
        self._told: tuple[Found, ...] = ()
        self._announced: dict[Announced, bool] = {}
        self._written = ""

    @property
    def evidence(self) -> Evidence:
        """What the last look found."""
        return self._evidence

    def start(self, wall: Dataplane) -> None:
        """Before the first tick: who was logged in when the last controller looked, and who is now."""
        now = self._clock.wall_ms()
        self._memory.recall(self._kept.entries, now, self._config.protect.grace_ms)
        self._memory.forget(self._config.protect.never)
        if self.collect is not None:
            self._evidence = self.collect(self._wanted())
        self._apply(wall)
        self.announce(self.started_from, wall)

    def second(self, wall: Dataplane | None) -> None:
        """Once a second: look again when it is time, and tell the wall whom it knows."""
        if self._running is not None and self._running.done():
            self._evidence, self._running = self._running.result(), None
            self._follow_announced()
        now = self._clock.mono_ns()
        if self.collect is not None and self._running is None and now >= self._next_ns:
            self._next_ns = now + EVERY_NS
            collect, wanted = self.collect, self._wanted()
            self._running = self._submit(lambda: collect(wanted))
        self._apply(wall)
        fault = None
        try:
            if wall is not None:
                wall.vouch(self.vouched())
        except DataplaneError as error:
            fault = f"protected addresses cannot be told to the wall: {error.message}"
        self._health.put("protect", fault)

    def vouched(self) -> list[int]:
        """Source keys of those whose packets beyond a budget pass."""
        sources = {
            Prefix.covering(entry.prefix.packed, 32 if entry.prefix.version == 4 else 64)
            for entry in self._guard.protected.values()
            if entry.kind in VOUCHED
        }
        return [source_key(source) for source in sources]

    def set_addresses(self, addresses: Iterable[Prefix], hops: Iterable[str], wall: Dataplane | None) -> None:
        """This host's addresses or default routes changed: what netlink says counts at once."""
        self._told = (*own(addresses), *(gateways(hops) if self._config.protect.services else ()))
        self._next_ns = 0
        self._apply(wall)

    def announce(self, text: str, wall: Dataplane | None = None) -> bool:
        """Somebody who uses the command line as root says from where he is logged in. Gives whether it is of use."""
        session = Announced.parse(text)
        if session is None or not self._config.protect.admins:
            return False
        if session not in self._announced:
            while len(self._announced) >= _MOST_ANNOUNCED:
                del self._announced[next(iter(self._announced))]
            self._announced[session] = False
            self._next_ns = 0
        # He was there a moment ago. From here on it must be seen to stand, or the grace time runs.
        now, grace = self._clock.wall_ms(), self._config.protect.grace_ms
        for entry in newly_announced(text, self._config.protect.never, now):
            known = self._guard.protected.get(entry.prefix)
            if known is None or known.until_ms is not None:
                self._memory.recall([entry], now, grace)
                self._apply(wall)
        return True

    def configure(self, config: Config, wall: Dataplane | None) -> None:
        """Put another config in force."""
        self._config = config
        self._memory.forget(config.protect.never)
        if not config.protect.admins:
            self._announced.clear()
        if self.collect is not None:
            self._evidence = self.collect(self._wanted())
        self._apply(wall)

    def shift(self, delta_ms: int) -> None:
        """The machine's clock was set."""
        self._memory.shift(delta_ms)

    def _wanted(self) -> Wanted:
        protect = self._config.protect
        return Wanted(protect.admins, protect.services, tuple(protect.never), tuple(self._announced))

    def _follow_announced(self) -> None:
        """Forget sessions whose connection stood and stands no more."""
        for session, stood in list(self._announced.items()):
            if session.flow in self._evidence.alive:
                self._announced[session] = True
            elif stood:
                del self._announced[session]

    def _apply(self, wall: Dataplane | None) -> None:
        now = self._clock.wall_ms()
        grace = self._config.protect.grace_ms if self._config.protect.admins else 0
        before = self._guard.protected
        entries = self._memory.see((*self._told, *self._evidence.found), now, grace)
        if self._guard.protect(entries):
            self._changed()
        self._tell(before, entries, now)
        for prefix in entries:
            make_way(wall, self._book, entries[prefix], now, self._record)
        text = to_text(entries, self._config.protect)
        if text != self._written:
            self._written = text
            self._record(Changes(settings=((SETTING, text),)))

    def _tell(self, before: dict[Prefix, Protected], after: dict[Prefix, Protected], now: int) -> None:
        """Who is logged in from where belongs into the history."""
        events = []
        for prefix, entry in after.items():
            if entry.kind is Kind.ADMIN and prefix not in before:
                events.append(Event(now, "protect", prefix, "auto", f"{entry.why} ({entry.source})"))
                text = f"{prefix} is protected: {entry.why} ({entry.source})"
                log.info("%s", text, extra=about(event="protect", source=prefix))
        for prefix, entry in before.items():
            if entry.kind is Kind.ADMIN and prefix not in after:
                events.append(
                    Event(now, "unprotect", prefix, "auto", "nobody is logged in from there any more")
                )
                text = f"{prefix} is not protected any more: nobody is logged in from there"
                log.info("%s", text, extra=about(event="unprotect", source=prefix))
        if events:
            self._record(Changes(events=tuple(events)))


def newly_announced(text: str, never: Iterable[Prefix], now_ms: int) -> list[Protected]:
    """Whom an ``SSH_CONNECTION`` speaks for: one entry, or none."""
    session = Announced.parse(text)
    if session is None:
        return []
    peer = Prefix(session.flow.peer, len(session.flow.peer) * 8)
    if any(wide.contains(peer) for wide in never):
        return []
    return [Protected(peer, Kind.ADMIN, ANNOUNCED, "SSH_CONNECTION", now_ms)]


def make_way(
    wall: Dataplane | None, book: Book, entry: Protected, now_ms: int, record: Callable[[Changes], object]
) -> None:
    """Lift every ban that covers a protected address; of one of more than its source, keep all that lies around it."""
    hole = Prefix.covering(entry.prefix.packed, 32 if entry.prefix.version == 4 else 64)
    while (ban := book.covering(entry.prefix, now_ms)) is not None:
        rest = [
            Ban(part, ban.created_ms, ban.expires_ms, ban.reason, ban.origin, ban.strikes)
            for part in ban.prefix.without(hole)
            if book.get(part) is None
        ]
        try:
            faults = write_bans(wall, rest, now_ms)
            if wall is not None:
                wall.bans.remove(ban.prefix)
        except DataplaneError as error:
            log.error(
                "the ban on %s covers %s, and cannot be lifted: %s", ban.prefix, entry.prefix, error.message
            )
            return
        rest = [part for part in rest if part.prefix not in faults]
        book.remove(ban.prefix)
        for part in rest:
            book.put(part)
        what = f"cut around {entry.prefix}" if rest else "lifted"
        text = f"the ban on {ban.prefix} is {what}: {entry.why}"
        log.warning("%s", text, extra=about(event="cut" if rest else "unban", source=ban.prefix))
        event = Event(now_ms, "cut" if rest else "unban", ban.prefix, "auto", f"{entry.prefix}: {entry.why}")
        record(
            Changes(
                lifted=(ban.prefix,),
                bans=tuple(rest),
                forgiven=() if rest else (ban.prefix,),
                events=(event,),
            )
        )


def _in_thread(work: Callable[[], Evidence]) -> Future[Evidence]:
    """Run it in a thread that dies with the process."""
    future: Future[Evidence] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (handed to whoever takes the result)
            future.set_exception(error)

    Thread(target=run, name="protect", daemon=True).start()
    return future
