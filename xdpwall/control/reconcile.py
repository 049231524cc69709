# SPDX-License-Identifier: Apache-2.0
"""Compares what ought to stand with what the kernel holds, and mends the difference.

Once in one go at start; from then on piece by piece between ticks: :meth:`Reconciler.scan` yields whenever it has done
a little, and may be dropped at any point. The book can change between two pieces, so before anything is mended, the
kernel is asked again about that very ban.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.database import Changes, Event
from xdpwall.control.desk import write_bans
from xdpwall.control.guard import Guard
from xdpwall.dataplane.interface import Dataplane, KernelBan
from xdpwall.errors import DataplaneError, RefusedError
from xdpwall.model import Ban, Origin, Prefix

log = logging.getLogger(__name__)

DRIFT_MS = 2_000
"""How far an end in the kernel may be off. The kernel compares in steps of 64 jiffies: 256 ms at 250 Hz."""
_SLICE = 500
_NAMED = 5


@dataclass
class Mended:
    """What one comparison mended."""

    put_back: int = 0
    lifted: int = 0
    moved: int = 0
    adopted: int = 0
    allowed: int = 0
    disallowed: int = 0
    failed: int = 0

    def words(self) -> str:
        """For people; empty when nothing was wrong."""
        texts = (
            (self.put_back, "bans put back"),
            (self.lifted, "unknown bans lifted"),
            (self.moved, "ends of bans corrected"),
            (self.adopted, "bans of the kernel taken over"),
            (self.allowed, "allowlist entries put back"),
            (self.disallowed, "unknown allowlist entries taken out"),
            (self.failed, "bans not taken by the kernel"),
        )
        return ", ".join(f"{count} {text}" for count, text in texts if count)


class Reconciler:
    """Holds the kernel to the book.

    Args:
        book: the intended bans.
        guard: the intended allowlist.
        clock: Unix time.
        record: takes changes of the record that come of it.
    """

    def __init__(self, book: Book, guard: Guard, clock: Clock, record: Callable[[Changes], None]) -> None:
        self._book = book
        self._guard = guard
        self._clock = clock
        self._record = record

    def allowlist(self, wall: Dataplane, mended: Mended) -> None:
        """Compare the allowlist. It is short: always in one go."""
        held = set(wall.allow.entries())
        wanted = {prefix for prefix, _ in self._guard.allow.items()}
        for prefix in wanted - held:
            wall.allow.put(prefix)
            mended.allowed += 1
        for prefix in held - wanted:
            wall.allow.remove(prefix)
            mended.disallowed += 1

    def start(self, wall: Dataplane) -> Mended:
        """Compare everything at once, and take over live bans of the kernel that nobody knows.

        A ban that the guard refuses is lifted instead of taken over.
        """
        mended = Mended()
        self.allowlist(wall, mended)
        now = self._clock.wall_ms()
        adopted: list[Ban] = []
        for held in list(wall.bans.entries()):
            if (
                held.remaining_ms is not None
                and held.remaining_ms <= DRIFT_MS
                and held.prefix not in self._book
            ):
                continue  # lapsed, or about to: the kernel itself sees to that
            if held.prefix in self._book:
                self._check_end(wall, held, mended)
                continue
            try:
                self._guard.check(held.prefix)
            except RefusedError as error:
                log.warning("a ban found in the kernel is lifted: %s", error.message)
                mended.lifted += wall.bans.remove(held.prefix)
                continue
            end = None if held.remaining_ms is None else now + held.remaining_ms
            adopted.append(Ban(held.prefix, now, end, "found in the kernel", Origin.KERNEL))
        for ban in adopted:
            self._book.put(ban)
        mended.adopted = len(adopted)
        if adopted:
            events = tuple(
                Event(now, "adopt", ban.prefix, Origin.KERNEL.value, ban.reason) for ban in adopted
            )
            self._record(Changes(bans=tuple(adopted), events=events))
        for _ in self._put_back(wall, mended):
            pass
        wall.bans.sweep()
        return mended

    def scan(self, wall: Dataplane) -> Iterator[Mended]:
        """Compare the bans piece by piece. Each step gives the tally so far; the last one is the whole."""
        mended = Mended()
        self.allowlist(wall, mended)
        matched = 0
        for number, held in enumerate(wall.bans.entries(), 1):
            if number % _SLICE == 0:
                yield mended
            if held.remaining_ms == 0:
                continue
            if held.prefix in self._book:
                matched += 1
                self._check_end(wall, held, mended)
            elif held.remaining_ms is None or held.remaining_ms > DRIFT_MS:
                mended.lifted += wall.bans.remove(held.prefix)
                self._name("an unknown ban in the kernel is lifted: %s", held.prefix, mended.lifted)
        yield mended
        if matched < len(self._book):
            yield from self._put_back(wall, mended)
        wall.bans.sweep()
        self.tell(mended)
        yield mended

    def tell(self, mended: Mended) -> None:
        """Put what was mended into log and history."""
        words = mended.words()
        if words:
            log.warning("the kernel differed from the record: %s", words)
            self._record(Changes(events=(Event(self._clock.wall_ms(), "repair", None, "", words),)))

    def _put_back(self, wall: Dataplane, mended: Mended) -> Iterator[Mended]:
        now = self._clock.wall_ms()
        missing: list[Ban] = []
        for number, ban in enumerate(self._book.bans(), 1):
            if number % _SLICE == 0:
                self._write(wall, missing, mended)
                missing = []
                yield mended
            held = wall.bans.get(ban.prefix)
            gone = held is None or (held.remaining_ms == 0 and not ban.is_over(now + DRIFT_MS))
            if gone and not ban.is_over(now) and ban.prefix in self._book:
                missing.append(ban)
        self._write(wall, missing, mended)

    def _write(self, wall: Dataplane, bans: list[Ban], mended: Mended) -> None:
        faults = write_bans(wall, bans, self._clock.wall_ms())
        mended.put_back += len(bans) - len(faults)
        mended.failed += len(faults)

    def _check_end(self, wall: Dataplane, held: KernelBan, mended: Mended) -> None:
        if not self._drifted(held):
            return
        again = wall.bans.get(held.prefix)  # it may have been prolonged since the list was read
        if again is None or not self._drifted(again):
            return
        end = self._book.expires_ms(held.prefix)
        left = None if end is None else max(0, end - self._clock.wall_ms())
        try:
            wall.bans.put(held.prefix, left)
        except DataplaneError as error:
            log.error("the end of the ban on %s cannot be corrected: %s", held.prefix, error.message)
            mended.failed += 1
            return
        mended.moved += 1
        self._name("the end of the ban on %s was off in the kernel", held.prefix, mended.moved)

    def _drifted(self, held: KernelBan) -> bool:
        end = self._book.expires_ms(held.prefix)
        if end is None or held.remaining_ms is None:
            return (end is None) != (held.remaining_ms is None)
        return abs(max(0, end - self._clock.wall_ms()) - held.remaining_ms) > DRIFT_MS

    @staticmethod
    def _name(text: str, prefix: Prefix, count: int) -> None:
        if count <= _NAMED:
            log.warning(text, prefix)
