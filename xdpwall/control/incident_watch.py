# SPDX-License-Identifier: Apache-2.0
"""Brings the data path's quiet events (scans, admin ports, outbound flows) to those who look for a diversion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xdpwall.clock import Clock
from xdpwall.dataplane.interface import Dataplane
from xdpwall.incident.diversion import DiversionLane, DiversionRules, Kind
from xdpwall.incident.model import Diversion

_FLOODED = frozenset({"udp", "closed"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One event with its time."""

    at_ms: int
    kind: int
    peer: bytes
    local: bytes
    local_port: int
    peer_port: int


class Watchman:
    """Once a second: what came of events.

    Args:
        rules: thresholds.
        clock: both clocks.
        spared: whether an address (packed) is of ours or allowlisted.
    """

    def __init__(self, rules: DiversionRules, clock: Clock, spared: Callable[[bytes], bool]) -> None:
        self._clock = clock
        self._lane = DiversionLane(rules, spared)

    @property
    def window_ms(self) -> int:
        """How far back a scan may have begun."""
        return self._lane.rules.scan_window_ms

    def configure(self, rules: DiversionRules) -> None:
        """Put other thresholds in force."""
        self._lane.rules = rules

    def trust(self, addresses: Iterable[str]) -> None:
        """Sources that were seen on admin ports before a restart."""
        self._lane.trust(addresses)

    def trusted(self) -> list[str]:
        """For the database."""
        return self._lane.trusted()

    def recall(self, known: Iterable[Diversion]) -> None:
        """Findings of an incident that goes on after a restart."""
        self._lane.recall(known)

    def findings(self, since_ms: int) -> tuple[Diversion, ...]:
        """All that moved at or after this time."""
        return self._lane.findings(since_ms)

    def second(
        self, wall: Dataplane, *, alarmed: bool, quiet: bool, loud: frozenset[str] = frozenset()
    ) -> list[Diversion]:
        """Look at the events of the last second. Gives findings that are new.

        Args:
            wall: the wall.
            alarmed: an incident is open.
            quiet: nothing is near a threshold.
            loud: labels of lanes that are over a threshold: stray UDP in a flood of UDP is the flood.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        now_ms = self._clock.wall_ms()
        events = [
            Seen(now_ms, event.kind, event.peer, event.local, event.local_port, event.peer_port)
            for event in wall.watch_events()
            if not (event.kind == Kind.CLOSED_UDP and loud & _FLOODED)
        ]
        if quiet and not alarmed:
            self._lane.learn_quiet(1.0)
        return self._lane.take(events, alarmed=alarmed)
