# SPDX-License-Identifier: Apache-2.0
"""Reads the quiet events of ``bpf/watch.h``: a ring for each class on each CPU."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from xdpwall.dataplane.interface import WatchEvent

if TYPE_CHECKING:
    from xdpwall.dataplane.mapped import MappedArray

CLASSES, RING = 4, 512
"""``WATCH_CLASSES`` and ``WATCH_RING``."""
_EVENT = struct.Struct("<QIHHBB6x16s16s8x")
_STATE = struct.Struct("<4Q32x")


class WatchRings:
    """The maps ``watch_events`` and ``watch_states``. Begins with what comes from now on.

    Args:
        events, states: the maps.
        cpus: possible CPUs.
    """

    def __init__(self, events: MappedArray, states: MappedArray, cpus: int) -> None:
        self._events = events
        self._states = states
        self._rings = cpus * CLASSES
        self._read = [self._state(ring)[0] for ring in range(self._rings)]
        self.overwritten = 0
        """Events that were told and overwritten before they were read."""

    def drain(self) -> list[WatchEvent]:
        """Events since the last time, by ring, oldest first. What was overwritten meanwhile is left out."""
        found: list[WatchEvent] = []
        for ring in range(self._rings):
            told, _ = self._state(ring)
            self.overwritten += max(0, told - self._read[ring] - RING)
            for number in range(max(self._read[ring], told - RING), told):
                at = (ring * RING + number % RING) * _EVENT.size
                got, tick, local_port, peer_port, kind, is_v6, local, peer = _EVENT.unpack_from(
                    self._events.memory, at
                )
                if got == number + 1:
                    size = 16 if is_v6 else 4
                    found.append(WatchEvent(tick, kind, local[:size], peer[:size], local_port, peer_port))
            self._read[ring] = told
        return found

    def missed(self) -> int:
        """Events since load that were not told, because there were too many."""
        return sum(self._state(ring)[1] for ring in range(self._rings))

    def _state(self, ring: int) -> tuple[int, int]:
        told, _, _, missed = _STATE.unpack_from(self._states.memory, ring * _STATE.size)
        return told, missed
