# SPDX-License-Identifier: Apache-2.0
"""How often a figure was how high: a histogram of whole numbers with steps of 6 %, and what it says of budgets.

Thirty days of seconds are 2.6 million figures a lane; a histogram holds them in a few hundred numbers, histograms of
two hours add up to one of both, and any percentile can be asked of it later, the far ones too. Sixteen steps an octave,
the numbers below 32 exactly (the scheme is that of Tene's HdrHistogram, 2012).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_STEPS = 16
_ENTRY = struct.Struct("<HI")
_MOST = 0xFFFFFFFF


def step_of(value: int) -> int:
    """The number of the step that holds a value of 0 or more."""
    if value < 2 * _STEPS:
        return value
    shift = value.bit_length() - 5
    return shift * _STEPS + (value >> shift)


def top_of(step: int) -> int:
    """The highest value of a step."""
    if step < 2 * _STEPS:
        return step
    shift = step // _STEPS - 1
    return ((step - shift * _STEPS + 1) << shift) - 1


@dataclass(slots=True)
class Levels:
    """A histogram. ``counts``: how many figures by step; ``highest``: the highest figure, exactly."""

    counts: dict[int, int] = field(default_factory=dict)
    highest: int = 0

    def add(self, value: int, times: int = 1) -> None:
        """Count a figure; below 0 counts as 0."""
        value = max(0, value)
        step = step_of(value)
        self.counts[step] = self.counts.get(step, 0) + times
        self.highest = max(self.highest, value)

    def take(self, other: Levels) -> None:
        """Count what another one counted, too."""
        for step, times in other.counts.items():
            self.counts[step] = self.counts.get(step, 0) + times
        self.highest = max(self.highest, other.highest)

    @property
    def total(self) -> int:
        """How many figures there are."""
        return sum(self.counts.values())

    def percentile(self, percent: float) -> int:
        """The figure that so many percent of all are not above; at most 6 % too high, never too low. 0 of none."""
        total = self.total
        wanted = total * percent / 100
        reached = 0
        for step in sorted(self.counts):
            reached += self.counts[step]
            # A hair's breadth: 99.9 % of 1000 must not become 999.0000001.
            if reached >= wanted - total * 1e-9:
                return min(top_of(step), self.highest)
        return self.highest

    def above(self, limit: int) -> int:
        """How many figures are above a limit; those of the limit's own step are counted when any can be."""
        return sum(times for step, times in self.counts.items() if min(top_of(step), self.highest) > limit)

    def pack(self) -> bytes:
        """For a database: 6 bytes a step that was met, and the highest figure."""
        entries = (_ENTRY.pack(step, min(times, _MOST)) for step, times in sorted(self.counts.items()))
        return struct.pack("<Q", self.highest) + b"".join(entries)

    @classmethod
    def unpack(cls, raw: bytes) -> Levels:
        """The inverse of :meth:`pack`.

        Raises:
            ValueError: it is none.
        """
        if len(raw) < 8 or (len(raw) - 8) % _ENTRY.size:
            raise ValueError(f"{len(raw)} bytes are no histogram")
        return cls(dict(_ENTRY.iter_unpack(raw[8:])), struct.unpack_from("<Q", raw)[0])


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one lane: packets and bits of each second, in quiet times and in attacks."""

    pps: Levels = field(default_factory=Levels)
    bps: Levels = field(default_factory=Levels)

    def take(self, other: Observed) -> None:
        """Add another time's."""
        self.pps.take(other.pps)
        self.bps.take(other.bps)


def proposed_budget(levels: Levels, *, percent: float, factor: float, floor: int) -> int:
    """A budget from what was seen: the percentile times the factor, rounded up to two digits, not below the floor."""
    return max(floor, round_up(levels.percentile(percent) * factor))


def round_up(value: float) -> int:
    """To two digits: 1234 becomes 1300. What people put into a file is no measurement."""
    whole = int(-(-value // 1))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // unit) * unit
