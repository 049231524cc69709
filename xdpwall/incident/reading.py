# SPDX-License-Identifier: Apache-2.0
"""The wall's counters at one moment, and what moved between two moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

K = TypeVar("K")
Pair = tuple[int, int]
"""Packets, L2 bytes."""

LANE_OF: Mapping[Reason, Lane] = {
    Reason.LANE_SYN: Lane.SYN,
    Reason.COOKIE_SENT: Lane.SYN,
    Reason.LANE_TCP: Lane.TCP,
    Reason.LANE_UDP: Lane.UDP,
    Reason.LANE_ICMP: Lane.ICMP,
    Reason.LANE_FRAGMENT: Lane.FRAGMENT,
    Reason.LANE_OTHER: Lane.OTHER,
    Reason.CLOSED_TCP: Lane.CLOSED,
    Reason.CLOSED_UDP: Lane.CLOSED,
}
"""Drops that happen because a lane is over its budget."""
BANS = frozenset({Reason.BANNED_SOURCE, Reason.BANNED_PREFIX})
MALFORMED = frozenset(
    {
        Reason.TRUNCATED, Reason.VLAN_DEPTH, Reason.IP_HEADER, Reason.IP_LENGTH, Reason.SOURCE_IMPOSSIBLE,
        Reason.SOURCE_OWN, Reason.EXTENSION_CHAIN, Reason.FRAGMENT, Reason.TCP_HEADER, Reason.TCP_FLAGS,
        Reason.UDP_LENGTH, Reason.ICMP_HEADER,
    }
)  # fmt: skip
"""Drops of what cannot be a real packet."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals since the wall was loaded.

    Args:
        at_ms: Unix milliseconds.
        mono_ns: the clock that never jumps.
        reasons: packets and bytes by verdict, all interfaces together.
        lanes: packets and bytes by lane; empty when the wall counts none.
        bans: automatic bans written so far, by the count of whoever reads.
    """

    at_ms: int
    mono_ns: int
    reasons: Mapping[Reason, Pair] = field(default_factory=dict)
    lanes: Mapping[Lane, Pair] = field(default_factory=dict)
    bans: int = 0

    def total(self, drops: bool | None = None) -> Pair:
        """All packets and bytes; only the dropped, or only the passed."""
        return add(pair for reason, pair in self.reasons.items() if drops is None or reason.drops == drops)

    def minus(self, older: Reading) -> Reading:
        """What was counted since ``older``. A total that shrank (a new wall) counts from zero."""
        return Reading(
            self.at_ms,
            self.mono_ns,
            _minus(self.reasons, older.reasons),
            _minus(self.lanes, older.lanes),
            max(0, self.bans - older.bans),
        )

    def plus(self, other: Reading) -> Reading:
        """Both together, at the time of this one."""
        return Reading(
            self.at_ms,
            self.mono_ns,
            _plus(self.reasons, other.reasons),
            _plus(self.lanes, other.lanes),
            self.bans + other.bans,
        )

    def shrank(self, older: Reading) -> bool:
        """Whether this comes from a wall that began afresh after ``older``."""
        return any(self.reasons.get(reason, (0, 0))[0] < pair[0] for reason, pair in older.reasons.items())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the database."""
        return {
            "at_ms": self.at_ms,
            "reasons": {reason.label: list(pair) for reason, pair in self.reasons.items()},
            "lanes": {lane.label: list(pair) for lane, pair in self.lanes.items()},
            "bans": self.bans,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], mono_ns: int) -> Reading:
        """The inverse; ``mono_ns`` is what that clock would have shown then. Unknown labels are passed over."""
        reasons = {reason.label: reason for reason in Reason}
        lanes = {lane.label: lane for lane in Lane}
        return cls(
            int(data["at_ms"]),
            mono_ns,
            {reasons[name]: (int(p), int(b)) for name, (p, b) in data["reasons"].items() if name in reasons},
            {lanes[name]: (int(p), int(b)) for name, (p, b) in data["lanes"].items() if name in lanes},
            int(data.get("bans", 0)),
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """What moved in ``seconds``; ``delta`` holds the differences."""

    seconds: float
    delta: Reading

    @classmethod
    def between(cls, old: Reading, new: Reading) -> Rates | None:
        """None when no time has passed."""
        span = new.mono_ns - old.mono_ns
        return cls(span / 1e9, new.minus(old)) if span > 0 else None

    def pps(self, *reasons: Reason) -> float:
        """Packets per second with any of these verdicts."""
        return sum(self.delta.reasons.get(reason, (0, 0))[0] for reason in reasons) / self.seconds

    def lane_pps(self, lane: Lane) -> float:
        """Packets per second of a lane."""
        return self.delta.lanes.get(lane, (0, 0))[0] / self.seconds

    def denied_pps(self, lane: Lane) -> float:
        """Packets per second dropped (or answered with a cookie) because this lane is over its budget."""
        return self.pps(*(reason for reason, its in LANE_OF.items() if its is lane))

    def all_pps(self) -> float:
        """Packets per second, whatever became of them."""
        return self.delta.total()[0] / self.seconds

    def all_bps(self) -> float:
        """Bits per second of L2 frames."""
        return self.delta.total()[1] * 8 / self.seconds

    def dropped_pps(self) -> float:
        """Packets per second dropped."""
        return self.delta.total(drops=True)[0] / self.seconds


def add(pairs: Iterable[Pair]) -> Pair:
    """The sum of many pairs."""
    packets = size = 0
    for pair in pairs:
        packets += pair[0]
        size += pair[1]
    return packets, size


def _minus(new: Mapping[K, Pair], old: Mapping[K, Pair]) -> dict[K, Pair]:
    found: dict[K, Pair] = {}
    for key, (packets, size) in new.items():
        before = old.get(key, (0, 0))
        if packets < before[0]:
            before = (0, 0)
        if packets > before[0]:
            found[key] = (packets - before[0], max(0, size - before[1]))
    return found


def _plus(one: Mapping[K, Pair], other: Mapping[K, Pair]) -> dict[K, Pair]:
    return {key: add((one.get(key, (0, 0)), other.get(key, (0, 0)))) for key in {**one, **other}}
