# SPDX-License-Identifier: Apache-2.0
"""Feeds what lanes bring in to the state file, once a minute."""

from __future__ import annotations

from concurrent.futures import Future

from xdpwall.clock import Clock
from xdpwall.control import learned
from xdpwall.control.learning import Learned, Learning
from xdpwall.control.store import Store
from xdpwall.dataplane.interface import Dataplane

_SAVE_NS = 60_000_000_000


class LaneRecord:
    """The record of one controller's life.

    Args:
        store: the state file. What it cannot take is lost: it is a month's statistics, no ban.
        clock: both clocks.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
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
        totals = {lane: (count.asking.packets, count.asking.bytes) for lane, count in wall.lanes().items()}
        self._learning.second(totals, attack=attack, mono_ns=now, wall_ms=self._clock.wall_ms())
        if now >= self._next_ns:
            self._next_ns = now + _SAVE_NS
            self._save(self._learning.take())

    def restart(self) -> None:
        """The wall was let go."""
        self._learning.restart()

    def close(self) -> None:
        """The controller stops: nothing waits any more."""
        self._save(self._learning.take(everything=True))

    def _save(self, parts: list[Learned]) -> None:
        if parts:
            now = self._clock.wall_ms()
            saved: Future[None] = self._store.read(
                lambda database: database.work(lambda db: learned.add(db, parts, now))
            )
            # A failed write shows in the store's own figures with the next ban; nobody waits for this one.
            saved.add_done_callback(lambda done: done.exception())
