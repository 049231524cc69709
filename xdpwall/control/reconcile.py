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
from xdpwall.control.database import AllowEntry, Changes, Event
from xdpwall.control.desk import write_bans
from xdpwall.control.guard import Guard
from xdpwall.control.logs import about
from xdpwall.dataplane.interface import Dataplane, KernelBan
from xdpwall.errors import DataplaneError, RefusedError
from xdpwall.model import Ban, Origin, Prefix

log = logging.getLogger(__name__)

DRIFT_MS = 2_000
"""How far an end in the kernel may be off. The kernel compares in steps of 64 jiffies: 256 ms at 250 Hz."""
_SLICE = 500
_BULK = 5_000
_NAMED = 5
_DEEP_NS = 300_000_000_000
"""Single sources are compared one by one this often at least, though nobody wrote to their tables."""


@dataclass
class Mended:
    """What one comparison mended."""

    put_back: int = 0
    lifted: int = 0
    moved: int = 0
    adopted: int = 0
    allowed: int = 0
    disallowed: int = 0
    adopted_allowed: int = 0
    failed: int = 0
    stray: int = 0
    opened: int = 0
    early: int = 0

    @property
    def bans(self) -> int:
        """How many bans were put right."""
        return self.put_back + self.lifted + self.moved + self.adopted + self.stray + self.opened + self.early

    def words(self) -> str:
        """For people; empty when nothing was wrong."""
        texts = (
            (self.put_back, "bans put back"),
            (self.lifted, "unknown bans lifted"),
            (self.moved, "ends of bans corrected"),
            (self.adopted, "bans of the kernel taken over"),
            (self.allowed, "allowlist entries put back"),
            (self.disallowed, "unknown allowlist entries taken out"),
            (self.adopted_allowed, "allowlist entries of the kernel taken over"),
            (self.failed, "bans not taken by the kernel"),
            (self.stray, "words in ban tables that no packet could meet emptied"),
            (self.opened, "closed gates before bans opened"),
            (self.early, "bans of prefixes that would have lapsed too early corrected"),
        )
        return ", ".join(f"{count} {text}" for count, text in texts if count)


class Reconciler:
    """Holds the kernel to the book.

    Args:
        book: the intended bans.
        guard: the intended allowlist.
        clock: Unix time.
        record: takes changes of the record that come of it.
        blank: there was no record to read: at start the kernel's allowlist is taken over, too.
    """

    def __init__(
        self,
        book: Book,
        guard: Guard,
        clock: Clock,
        record: Callable[[Changes], None],
        *,
        blank: bool = False,
    ) -> None:
        self._book = book
        self._guard = guard
        self._clock = clock
        self._record = record
        self._blank = blank
        self._digest: int | None = None
        self._exact = 0
        self._deep_ns = 0

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
        if self._blank:
            self._adopt_allowlist(wall, mended)
        self.allowlist(wall, mended)
        now = self._clock.wall_ms()
        known, matched = len(self._book), 0
        adopted: list[Ban] = []
        for held in wall.bans.entries():
            if held.remaining_ms == 0:
                continue
            if held.prefix in self._book:
                matched += 1
                mended.moved += self._drifted(held, now)
            elif held.remaining_ms is None or held.remaining_ms > DRIFT_MS:
                end = None if held.remaining_ms is None else now + held.remaining_ms
                adopted.append(Ban(held.prefix, now, end, "found in the kernel", Origin.KERNEL))
        self._adopt(wall, adopted, mended)
        if matched < known or mended.moved:
            self.refill(wall, mended)
            mended.put_back = max(0, known - matched - mended.failed)
        wall.bans.sweep()
        return mended

    def _adopt_allowlist(self, wall: Dataplane, mended: Mended) -> None:
        """Nobody is cut off because a disk was full or a file damaged."""
        now = self._clock.wall_ms()
        entries = tuple(
            AllowEntry(prefix, now, "found in the kernel", Origin.KERNEL.value)
            for prefix in list(wall.allow.entries())
            if self._guard.allow.get(prefix) is None
        )
        for entry in entries:
            self._guard.allow.put(entry.prefix, entry)
        mended.adopted_allowed = len(entries)
        if entries:
            events = tuple(Event(now, "adopt", e.prefix, e.origin, "allowlist") for e in entries)
            self._record(Changes(allowed=entries, events=events))

    def refill(self, wall: Dataplane, mended: Mended) -> None:
        """Write every ban of the book at once: into an empty wall, or where much is amiss."""
        rows: list[Ban] = []
        for ban in self._book.bans():
            rows.append(ban)
            if len(rows) == _BULK:
                self._write(wall, rows, mended)
                rows = []
        self._write(wall, rows, mended)

    def _adopt(self, wall: Dataplane, bans: list[Ban], mended: Mended) -> None:
        adopted: list[Ban] = []
        for ban in bans:
            try:
                self._guard.check(ban.prefix)
            except RefusedError as error:
                text = f"a ban found in the kernel is lifted: {error.message}"
                log.warning("%s", text, extra=about(event="reconcile", source=ban.prefix))
                mended.lifted += wall.bans.remove(ban.prefix)
                continue
            self._book.put(ban)
            adopted.append(ban)
        mended.adopted = len(adopted)
        if adopted:
            now = self._clock.wall_ms()
            events = tuple(
                Event(now, "adopt", ban.prefix, Origin.KERNEL.value, ban.reason) for ban in adopted
            )
            self._record(Changes(bans=tuple(adopted), events=events))

    def scan(self, wall: Dataplane) -> Iterator[Mended]:
        """Compare the bans piece by piece. Each step gives the tally so far; the last one is the whole."""
        mended = Mended()
        self.allowlist(wall, mended)
        matched = 0
        digest, now_ns = wall.vitals.ban_digest(), self._clock.mono_ns()
        still = digest == self._digest and self._book.exact == self._exact and now_ns < self._deep_ns
        if still:
            # Nobody wrote to the tables of single sources since they were found right.
            matched = self._book.exact
        else:
            sound = wall.vitals.mend_bans()
            mended.stray, mended.opened = sound.strays, sound.bits
            yield mended
        early = wall.vitals.trie_repairs()
        # What is left of a ban is told as of the moment the list was begun, however long it takes to read.
        began_ms = self._clock.wall_ms()
        for number, held in enumerate(wall.bans.entries(wide_only=still), 1):
            if number % _SLICE == 0:
                yield mended
            if held.remaining_ms == 0:
                continue
            if held.prefix in self._book:
                matched += 1
                if self._drifted(held, began_ms):
                    self._correct_end(wall, held.prefix, mended)
            elif held.remaining_ms is None or held.remaining_ms > DRIFT_MS:
                self._lift_unknown(wall, held.prefix, mended)
        yield mended
        if matched < len(self._book):
            yield from self._put_back(wall, mended)
        wall.bans.sweep()
        mended.early = wall.vitals.trie_repairs() - early
        self.tell(mended)
        if mended.bans or mended.failed:
            self._digest = None
        elif not still:
            self._digest, self._exact = digest, self._book.exact
            self._deep_ns = self._clock.mono_ns() + _DEEP_NS
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

    def _lift_unknown(self, wall: Dataplane, prefix: Prefix, mended: Mended) -> None:
        if wall.bans.remove(prefix):  # else it was lifted since the list was begun
            mended.lifted += 1
            self._name("an unknown ban in the kernel is lifted: %s", prefix, mended.lifted)

    def _correct_end(self, wall: Dataplane, prefix: Prefix, mended: Mended) -> None:
        now = self._clock.wall_ms()
        again = wall.bans.get(prefix)  # it may have been prolonged since the list was begun
        if again is None or not self._drifted(again, now):
            return
        end = self._book.expires_ms(prefix)
        try:
            wall.bans.put(prefix, None if end is None else max(0, end - now))
        except DataplaneError as error:
            log.error("the end of the ban on %s cannot be corrected: %s", prefix, error.message)
            mended.failed += 1
            return
        mended.moved += 1
        self._name("the end of the ban on %s was off in the kernel", prefix, mended.moved)

    def _drifted(self, held: KernelBan, now_ms: int) -> bool:
        end = self._book.expires_ms(held.prefix)
        if end is None or held.remaining_ms is None:
            return (end is None) != (held.remaining_ms is None)
        return abs(max(0, end - now_ms) - held.remaining_ms) > DRIFT_MS

    @staticmethod
    def _name(text: str, prefix: Prefix, count: int) -> None:
        if count <= _NAMED:
            log.warning(text, prefix, extra=about(event="reconcile", source=prefix))
