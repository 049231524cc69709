# SPDX-License-Identifier: Apache-2.0
"""When an incident begins and ends. A state machine over ratios, with the clock passed in.

It opens on evidence: the time above a threshold, weighted by how far above (at most :data:`CAP` times), must reach
``open_after``. It ends after ``close_after`` with everything below ``close_below`` of its threshold. In between,
between ``close_below`` and 1, nothing changes: that is the hysteresis. So a pulse wave is one incident.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

CAP = 5.0
"""However far above, evidence grows at most this fast: one odd tick must not open an incident."""
BURST_GAP_NS = 2_000_000_000
"""A pulse is over once it was quiet for this long: a botnet that stumbles does not pulse."""
_FADE = 0.5


class Turn(Enum):
    """What a step led to."""

    NONE = auto()
    OPENED = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class LifeRules:
    """From the config, section ``incident``. Milliseconds."""

    open_after_ms: int = 1_000
    close_after_ms: int = 120_000
    close_below: float = 0.5


class Lifecycle:
    """One wall's state: an incident is open, or not.

    Args:
        rules: thresholds in time.
    """

    def __init__(self, rules: LifeRules) -> None:
        self.rules = rules
        self.open = False
        self._evidence_ms = 0.0
        self._began_ns: int | None = None
        self._last_over_ns = 0
        self._last_loud_ns = 0
        self._in_burst = False
        self._burst_began_ns = 0

    @property
    def suspect_since_ns(self) -> int | None:
        """When what may become an incident was first above a threshold, while none is open yet."""
        return self._began_ns

    @property
    def last_over_ns(self) -> int:
        """Last moment at or above a threshold."""
        return self._last_over_ns

    @property
    def in_burst(self) -> bool:
        """Whether it is above a threshold right now, or was a moment ago."""
        return self._in_burst

    def resume(self, last_over_ns: int) -> None:
        """Take over an incident that was open before a restart."""
        self.open = True
        self._last_over_ns = self._last_loud_ns = last_over_ns
        self._in_burst = False

    def step(self, opening: float, keeping: float, from_ns: int, now_ns: int) -> Turn:
        """The ratios of the span from ``from_ns`` to ``now_ns``.

        Args:
            opening: highest ratio of the measures that may open an incident.
            keeping: highest ratio of all measures.
            from_ns: when the span began.
            now_ns: now, on the clock that never jumps.
        """
        if self.open:
            return self._step_open(keeping, now_ns)
        if opening >= 1.0:
            if self._began_ns is None:
                self._began_ns = from_ns
            self._evidence_ms += min(opening, CAP) * (now_ns - from_ns) / 1e6
            if self._evidence_ms >= self.rules.open_after_ms:
                self.open = self._in_burst = True
                self._last_over_ns = self._last_loud_ns = now_ns
                self._evidence_ms = 0.0
                self._began_ns = None
                return Turn.OPENED
        else:
            self._evidence_ms -= _FADE * (now_ns - from_ns) / 1e6
            if self._evidence_ms <= 0 or opening < self.rules.close_below:
                self._evidence_ms, self._began_ns = 0.0, None
        return Turn.NONE

    def _step_open(self, keeping: float, now_ns: int) -> Turn:
        if keeping >= 1.0:
            self._last_over_ns = now_ns
            self._in_burst = True
        if keeping >= self.rules.close_below:
            self._last_loud_ns = now_ns
            return Turn.NONE
        quiet_ns = now_ns - self._last_loud_ns
        if quiet_ns >= BURST_GAP_NS:
            self._in_burst = False
        if quiet_ns >= self.rules.close_after_ms * 1_000_000:
            self.open = self._in_burst = False
            return Turn.CLOSED
        return Turn.NONE
