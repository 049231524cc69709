# SPDX-License-Identifier: Apache-2.0
"""Feeds what comes in to the state file, once a minute: by lane for `learn`, by source for `simulate`."""

from __future__ import annotations

from concurrent.futures import Future

from xdpwall.clock import Clock
from xdpwall.control import learned
from xdpwall.control.learning import Learned, Learning
from xdpwall.control.past_record import PastRecord
from xdpwall.control.store import Store
from xdpwall.dataplane.interface import Dataplane

_SAVE_NS = 60_000_000_000


class LaneRecord:
    """The record of one controller's life.

    Args:
        store: the state file. What it cannot take is lost: it is a month's statistics, no ban.
        clock: both clocks.
        past: keeps who came near a limit; None: nobody does.
    """

    def __init__(self, store: Store, clock: Clock, past: PastRecord | None = None) -> None:
        self._past = past
        self._store = store
        self._clock = clock
        self._learning = Learning()
        self._next_ns = clock.mono_ns() + _SAVE_NS

    def second(self, wall: Dataplane, *, attack: bool) -> None:
        """Called once a second.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        now = self._clock.mono_ns()
        if self._past is not None:
            self._past.second(wall)
        totals = {lane: (count.asking.packets, count.asking.bytes) for lane, count in wall.lanes().items()}
        self._learning.second(totals, attack=attack, mono_ns=now, wall_ms=self._clock.wall_ms())
        if now >= self._next_ns:
            self._next_ns = now + _SAVE_NS
            self._save(self._learning.take())

    def restart(self) -> None:
        """The wall was let go."""
        self._learning.restart()
        if self._past is not None:
            self._past.restart()

    def close(self, wall: Dataplane | None = None) -> None:
        """The controller stops: nothing waits any more."""
        if self._past is not None:
            self._past.close(wall)
        self._save(self._learning.take(everything=True))

    def _save(self, parts: list[Learned]) -> None:
        if parts:
            now = self._clock.wall_ms()
            saved: Future[None] = self._store.read(
                lambda database: database.work(lambda db: learned.add(db, parts, now))
            )
            # A failed write shows in the store's own figures with the next ban; nobody waits for this one.
            saved.add_done_callback(lambda done: done.exception())
