# SPDX-License-Identifier: Apache-2.0
"""Writes down how much of each lane comes in second by second, so that budgets can be learned from quiet times.

A second counts as quiet only once the minute after it was quiet, too: an attack begins before anybody calls it one. So
do not the seconds of an attack and of the minute after it; they are kept apart, not thrown away, for a host whose
everyday traffic is above a budget would else never learn a higher one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from xdpwall.detection.levels import Observed
from xdpwall.lanes import Lane

WAIT_NS = 60_000_000_000
"""How long a second waits until it counts as quiet, and how long an attack lasts on."""
_SHORTEST_NS, _LONGEST_NS = 500_000_000, 2_500_000_000
"""Figures over another time are no figures of a second: the machine slept, or was too busy to look."""
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Learned:
    """What a lane brought in, in seconds of one hour. ``quiet``: none of them in an attack, else all of them."""

    hour_ms: int
    lane: Lane
    quiet: bool
    observed: Observed


@dataclass(frozen=True, slots=True)
class _Second:
    mono_ns: int
    hour_ms: int
    rates: Mapping[Lane, tuple[int, int]]


class Learning:
    """The seconds since the last :meth:`take`."""

    def __init__(self) -> None:
        self._before: tuple[int, Mapping[Lane, tuple[int, int]]] | None = None
        self._waiting: deque[_Second] = deque()
        self._attack_until_ns = 0
        self._levels: dict[tuple[int, Lane, bool], Observed] = {}

    def second(
        self, totals: Mapping[Lane, tuple[int, int]], *, attack: bool, mono_ns: int, wall_ms: int
    ) -> None:
        """Called once a second.

        Args:
            totals: packets and bytes of each lane since load.
            attack: whether there is an attack right now.
            mono_ns: monotonic time.
            wall_ms: Unix time.
        """
        before, self._before = self._before, (mono_ns, dict(totals))
        if attack:
            self._attack_until_ns = mono_ns + WAIT_NS
            self._count_all(quiet=False)
        if before is not None and _SHORTEST_NS <= mono_ns - before[0] <= _LONGEST_NS:
            rates = _rates(before[1], totals, mono_ns - before[0])
            if rates is not None:
                self._waiting.append(_Second(mono_ns, wall_ms // HOUR_MS * HOUR_MS, rates))
        if mono_ns < self._attack_until_ns:
            self._count_all(quiet=False)
        while self._waiting and mono_ns - self._waiting[0].mono_ns >= WAIT_NS:
            self._count(self._waiting.popleft(), quiet=True)

    def restart(self) -> None:
        """Another wall: its counters have nothing to do with those before."""
        self._before = None

    def take(self, *, everything: bool = False) -> list[Learned]:
        """What has come together since the last call, to be added to the record.

        Args:
            everything: also the seconds that wait: the controller stops.
        """
        if everything:
            self._count_all(quiet=True)
        found = [
            Learned(hour, lane, quiet, observed)
            for (hour, lane, quiet), observed in sorted(self._levels.items(), key=lambda item: item[0])
        ]
        self._levels = {}
        return found

    def _count_all(self, *, quiet: bool) -> None:
        while self._waiting:
            self._count(self._waiting.popleft(), quiet=quiet)

    def _count(self, second: _Second, *, quiet: bool) -> None:
        for lane, (pps, bps) in second.rates.items():
            observed = self._levels.setdefault((second.hour_ms, lane, quiet), Observed())
            observed.pps.add(pps)
            observed.bps.add(bps)


def _rates(
    before: Mapping[Lane, tuple[int, int]], now: Mapping[Lane, tuple[int, int]], span_ns: int
) -> dict[Lane, tuple[int, int]] | None:
    """Packets and bits per second of each lane; None when a counter went back, for then it is another wall's."""
    rates: dict[Lane, tuple[int, int]] = {}
    for lane, (packets, size) in now.items():
        was_packets, was_size = before.get(lane, (0, 0))
        if packets < was_packets or size < was_size:
            return None
        rates[lane] = (
            round((packets - was_packets) * 1e9 / span_ns),
            round((size - was_size) * 8e9 / span_ns),
        )
    return rates
