# SPDX-License-Identifier: Apache-2.0
"""A wall that never was: meters that move as the record says. What decides on it is the controller's own code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.dataplane.fake import TICK_HZ, FakeWall, default_info
from xdpwall.detection.keys import Keys, Mask, find
from xdpwall.detection.past import PROVEN, TENTH, Floats, Rows
from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

if TYPE_CHECKING:
    from xdpwall.control.traffic import Traffic

_SHORTEST_FRAME, _LONGEST_FRAME = 14, 65_536
_KINDS = ("syn", "udp", "icmp")


class Meters:
    """One meter table. Whoever is in the part that is played has a slot."""

    def __init__(self, slots: int) -> None:
        self._slots = np.zeros(slots, METER_DTYPE)
        self._sums = np.zeros((5, slots))
        self._places: npt.NDArray[np.intp] = np.empty(0, np.intp)

    def hold(self, keys: Keys) -> None:
        """Only these have slots from now on. Who had one keeps it, with its counters."""
        held = self._slots["key"]
        gone = ~np.isin(held, keys) & (held != 0)
        self._slots[gone] = np.zeros((), METER_DTYPE)
        self._sums[:, gone] = 0
        fresh = keys[~np.isin(keys, held)]
        free = np.flatnonzero(self._slots["key"] == 0)[: len(fresh)]
        self._waiting = (free, fresh)
        order = np.argsort(held, kind="stable")
        places, present = find(held[order], keys)
        self._places = np.where(present, order[places], 0)
        self._places[~present] = free

    def count(self, amounts: Floats, tick: int) -> None:
        """Packets, bits, SYN, UDP, ICMP of each key of :meth:`hold`, in its order."""
        if not len(self._places):
            return
        free, fresh = self._waiting
        if len(fresh):
            self._slots["key"][free] = fresh
            self._slots["first"][free] = tick & 0xFFFFFFFF
            self._waiting = (free[:0], fresh[:0])
        sums = self._sums
        packets = amounts[0]
        size = np.clip(amounts[1] / 8, packets * _SHORTEST_FRAME, packets * _LONGEST_FRAME)
        sums[0, self._places] += packets
        sums[1, self._places] += size
        # Rounded in the record, they could come to more than all packets.
        most = np.maximum(amounts[2:].sum(axis=0), packets)
        sums[2:, self._places] += amounts[2:] * np.divide(
            packets, most, out=np.ones_like(most), where=most > 0
        )
        whole = np.floor(sums + 1e-6)
        self._slots["packets"], self._slots["bytes"] = whole[0], whole[1]
        for name, row in zip(_KINDS, whole[2:], strict=True):
            self._slots[name] = row.astype(np.uint64) & np.uint64(0xFFFFFFFF)
        moved = self._places[packets > 0]
        self._slots["last"][moved] = tick & 0xFFFFFFFF

    def snapshot(self, clock: ManualClock) -> MeterSnapshot:
        """The table now."""
        return MeterSnapshot(self._slots, clock.mono_ns(), tick_of(clock), TICK_HZ)


def tick_of(clock: ManualClock) -> int:
    """The kernel's tick."""
    return clock.mono_ns() * TICK_HZ // 1_000_000_000


@dataclass(frozen=True, slots=True)
class EveryLook:
    """Stands for the wall's totals: there was traffic, and reason to look. Detection asks for nothing else."""

    packets: int

    def last_tick(self) -> tuple[float, float]:
        """See ``Traffic.last_tick``."""
        return float("inf"), float("inf")

    def as_traffic(self) -> Traffic:
        """For who wants the real thing."""
        return self  # type: ignore[return-value]


class PastWall(FakeWall):
    """The wall of one run.

    Args:
        clock: moves with the record.
        config: sizes of the tables.
        slots: sources and prefixes that a part has at most.
    """

    def __init__(self, clock: ManualClock, config: Config, slots: tuple[int, int]) -> None:
        info = default_info(
            ban_capacity=config.bans.capacity, ban_prefix_capacity=config.bans.prefix_capacity
        )
        super().__init__(clock, info)
        self._past_clock = clock
        self.past_sources, self.past_prefixes = (Meters(2 * max(64, count)) for count in slots)
        self._proven = np.empty(0, np.uint64)

    def hold(self, sources: Rows, prefixes: Rows) -> None:
        """A part begins."""
        self.past_sources.hold(sources.keys)
        self.past_prefixes.hold(prefixes.keys)
        self._proven = np.sort(sources.keys[(sources.flags & PROVEN) != 0])

    def come_in(self, sources: Floats, prefixes: Floats) -> None:
        """Traffic comes in."""
        tick = tick_of(self._past_clock)
        self.past_sources.count(sources, tick)
        self.past_prefixes.count(prefixes, tick)

    def sources(self) -> MeterSnapshot:
        """See ``Dataplane.sources``."""
        return self.past_sources.snapshot(self._past_clock)

    def prefixes(self) -> MeterSnapshot:
        """See ``Dataplane.prefixes``."""
        return self.past_prefixes.snapshot(self._past_clock)

    def proven(self, keys: Keys) -> Mask:
        """See ``Dataplane.proven``."""
        return find(self._proven, keys)[1]


STEPS = round(1 / TENTH)
"""Looks a second: as many as the controller has by default."""


def steps(rows: Rows, second: int) -> Iterator[Floats]:
    """One second as its busiest tenth, and the rest spread evenly over the other ones."""
    tenth = rows.tenth[:, :, second]
    yield tenth
    rest = np.maximum(rows.total[:, :, second] - tenth, 0) / (STEPS - 1)
    for _ in range(STEPS - 1):
        yield rest
