# SPDX-License-Identifier: Apache-2.0
"""When packets are due. Pure: time comes in, in nanoseconds since the start."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

CHUNK = 4096
"""Packets of one push: about half a millisecond, so pace and clean-up stay exact."""

TICK_NS = 100_000_000
_BACKLOG_NS = 50_000_000
_GATHER_SECONDS = 0.001
_IDLE_SECONDS = 0.001
_SECOND = 1_000_000_000


class Pace(Protocol):
    """How many packets should have gone by when."""

    def due(self, elapsed_ns: int) -> int:
        """Packets that should have been sent by then. Never falls."""

    def room(self, elapsed_ns: int) -> int:
        """Packets that may be late at that time: those of the last 50 ms."""


@dataclass(frozen=True, slots=True)
class Steady:
    """So many packets a second."""

    pps: int

    def due(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.due`."""
        return self.pps * elapsed_ns // _SECOND

    def room(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.room`."""
        del elapsed_ns
        return max(1, self.pps * _BACKLOG_NS // _SECOND)


@dataclass(frozen=True, slots=True)
class Pulsed:
    """So many packets a second for ``on_ns``, none for ``off_ns``, and again."""

    pps: int
    on_ns: int
    off_ns: int

    def due(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.due`."""
        rounds, rest = divmod(elapsed_ns, self.on_ns + self.off_ns)
        return self.pps * (rounds * self.on_ns + min(rest, self.on_ns)) // _SECOND

    def room(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.room`."""
        del elapsed_ns
        return max(1, self.pps * _BACKLOG_NS // _SECOND)


class Recorded:
    """At the times of a capture, again and again.

    Args:
        offsets_ns: when each packet came, from the first one on, ascending.
        round_ns: when the capture begins again.
    """

    def __init__(self, offsets_ns: Sequence[int], round_ns: int) -> None:
        self._offsets = offsets_ns
        self._round = max(1, round_ns)

    def due(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.due`."""
        rounds, rest = divmod(elapsed_ns, self._round)
        return rounds * len(self._offsets) + bisect.bisect_right(self._offsets, rest)

    def room(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.room`."""
        return max(1, self.due(elapsed_ns) - self.due(max(0, elapsed_ns - _BACKLOG_NS)))


class Swarm:
    """Bots that join one after the other; every bot that has joined sends at its own full rate.

    On a machine that cannot push what the bots that have joined should send, nobody else joins, and the last ones
    leave again, rather than all sending less: a heavy bot on a slow machine is a heavy bot all the same.

    Args:
        pps: packets per second of all bots together.
        ramp_seconds: how long it takes until all have joined, if the machine keeps up.
    """

    least = 0.01
    """Share of the bots that begins, and never leaves."""

    def __init__(self, pps: int, ramp_seconds: float) -> None:
        self._pps = pps
        self._step = TICK_NS / _SECOND / ramp_seconds
        self._due = 0.0
        self._at = 0
        self.joined = self.least
        self.complete = False
        """Whether all bots have sent by now."""

    def due(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.due`."""
        self._due += self._pps * self.joined * (elapsed_ns - self._at) / _SECOND
        self._at = elapsed_ns
        return int(self._due)

    def room(self, elapsed_ns: int) -> int:
        """See :meth:`Pace.room`."""
        del elapsed_ns
        return max(1, int(self._pps * self.joined * _BACKLOG_NS / _SECOND))

    def adapt(self, arrived_pps: float) -> None:
        """Once a tick: more bots, or fewer.

        Args:
            arrived_pps: what reached the wall since the last tick, packets per second.
        """
        wanted = self._pps * self.joined
        if arrived_pps >= 0.85 * wanted:
            self.joined = min(1.0, self.joined + self._step)
            self.complete = self.complete or self.joined >= 1.0
        elif arrived_pps < 0.7 * wanted:
            self.joined = max(self.least, arrived_pps / self._pps, self.joined * 0.8)


@dataclass(slots=True)
class Until:
    """When to end.

    Args:
        seconds: not before ...
        packets: ... nor before this many have arrived (0: no matter) ...
        at_most: ... but by this many seconds anyway.
        lost: packets that were pushed and did not arrive; kept up by the caller.
        growing: whether some senders have yet to join, for which it waits when it waits for packets; likewise.
    """

    seconds: float
    packets: int
    at_most: float
    lost: int = 0
    growing: bool = False

    def over(self, elapsed_ns: int, sent: int) -> bool:
        """Whether it is time."""
        elapsed = elapsed_ns / _SECOND
        if elapsed < self.seconds or elapsed >= self.at_most or not self.packets:
            return elapsed >= min(self.seconds, self.at_most)
        return sent - self.lost >= self.packets and not self.growing


def drive(
    push: Callable[[int], int],
    pace: Pace,
    until: Until,
    tick: Callable[[], bool],
    now_ns: Callable[[], int],
    sleep: Callable[[float], None],
) -> None:
    """Push at the pace until the end, or until ``tick`` says stop.

    A machine that cannot keep up falls behind: what is late by more than 50 ms is given up, not pushed in one burst.

    Args:
        push: sends this many packets; gives how many it has sent in all.
        pace: how many are due when.
        until: when to end.
        tick: called every 100 ms; False stops.
        now_ns: clock.
        sleep: waits, seconds.
    """
    start = ticked = now_ns()
    sent = given_up = 0
    while True:
        now = now_ns()
        elapsed = now - start
        if now - ticked >= TICK_NS:
            ticked = now
            if not tick():
                return
        if until.over(elapsed, sent):
            return
        due = pace.due(elapsed) - given_up - sent
        late = due - pace.room(elapsed)
        if late > 0:
            given_up += late
            due -= late
        if due > 0:
            sent = push(min(due, CHUNK))
        if due < CHUNK:  # nothing more to do right now: let some gather
            sleep(_GATHER_SECONDS if due > 0 else _IDLE_SECONDS)
