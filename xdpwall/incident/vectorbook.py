# SPDX-License-Identifier: Apache-2.0
"""Splits what came over the vectors: a lane's counters in the proportion of its samples.

Counters say how much came in a lane, samples what it was. What bans and limits dropped never reached a lane; it is
laid to lanes in the proportion that the caller gives (from the kinds that the meters count).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xdpwall.incident.facts import Facts
from xdpwall.incident.model import Vector
from xdpwall.incident.reading import Pair
from xdpwall.incident.vectors import Name, of_lane, of_packet
from xdpwall.lanes import Lane

MOST_VECTORS = 24
_LEAST_SHARE = 0.02
"""What makes up less of its lane is no vector of its own."""
_MEMORY = 4_000
"""Samples after which older ones weigh half: an attack that changes its face gets another name."""
_LANES = {lane.label: lane for lane in Lane}


@dataclass(slots=True)
class _Kind:
    """What is known of one name. ``local`` counts ports of ours that were meant."""

    name: Name
    first_ms: int
    local: Counter[int]
    packets: float = 0.0
    bytes: float = 0.0
    peak_pps: float = 0.0
    last_ms: int = 0
    sampled: int = 0


class VectorBook:
    """The vectors of one incident.

    Args:
        vectors: those of before a restart.
    """

    def __init__(self, known: Iterable[Vector] = ()) -> None:
        self._kinds: dict[tuple[str, Lane], _Kind] = {}
        self._weights: dict[Lane, Counter[str]] = {}
        for vector in known:
            self._recall(vector)

    def take(
        self, at_ms: int, seconds: float, came: Mapping[Lane, Pair], samples: Mapping[Lane, list[Facts]]
    ) -> None:
        """One span.

        Args:
            at_ms: Unix milliseconds of its end.
            seconds: its length.
            came: packets and bytes of the attack by lane; never :attr:`Lane.CLOSED`.
            samples: packets of the attack that were sampled, by lane.
        """
        fresh: dict[Lane, Counter[str]] = {}
        for lane, seen in samples.items():
            for facts in seen:
                name = of_packet(facts)
                kind = self._kind(name, at_ms)
                kind.sampled += 1
                if facts.target_port is not None and not facts.later_fragment and len(kind.local) < 4_096:
                    kind.local[facts.target_port] += 1
                fresh.setdefault(lane, Counter())[name.name] += 1
        for lane, counted in fresh.items():
            weights = self._weights.setdefault(lane, Counter())
            if weights.total() > _MEMORY:
                for key in weights:
                    weights[key] //= 2
            weights.update(counted)
        for lane, pair in came.items():
            if pair[0]:
                self._spread(lane, pair, fresh.get(lane) or self._weights.get(lane), at_ms, seconds)

    def give(self, name: Name, pair: Pair, at_ms: int, seconds: float) -> None:
        """Packets whose kind the caller knows."""
        kind = self._kind(name, at_ms)
        kind.packets += pair[0]
        kind.bytes += pair[1]
        kind.peak_pps = max(kind.peak_pps, pair[0] / seconds)
        kind.last_ms = at_ms

    def vectors(self) -> tuple[Vector, ...]:
        """The biggest first. Small ones are left out, all but the biggest of each lane."""
        totals = Counter[Lane]()
        for kind in self._kinds.values():
            totals[kind.name.lane] += round(kind.packets)
        kinds = sorted(self._kinds.values(), key=lambda kind: kind.packets, reverse=True)
        found: list[Vector] = []
        for kind in kinds:
            first = all(other.lane != kind.name.lane.label for other in found)
            if kind.packets >= 1 and (first or kind.packets >= _LEAST_SHARE * totals[kind.name.lane]):
                found.append(self._vector(kind))
        return tuple(found[:MOST_VECTORS])

    def _spread(
        self, lane: Lane, pair: Pair, weights: Counter[str] | None, at_ms: int, seconds: float
    ) -> None:
        if not weights or not weights.total():
            name = of_lane(lane)
            self._kind(name, at_ms)
            weights = Counter({name.name: 1})
        whole = weights.total()
        for name_text, weight in weights.items():
            kind = self._kinds.get((name_text, lane))
            if kind is None or not weight:
                continue
            packets = pair[0] * weight / whole
            kind.packets += packets
            kind.bytes += pair[1] * weight / whole
            kind.peak_pps = max(kind.peak_pps, packets / seconds)
            kind.last_ms = at_ms

    def _kind(self, name: Name, at_ms: int) -> _Kind:
        key = (name.name, name.lane)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(name, at_ms, Counter())
        elif name.confidence > kind.name.confidence:
            kind.name = name
        return kind

    def _vector(self, kind: _Kind) -> Vector:
        name = kind.name
        alone = (
            sum(other.name.lane is name.lane and other.packets >= 1 for other in self._kinds.values()) == 1
        )
        local, confidence = name.local_port, name.confidence
        if kind.local:
            port, count = kind.local.most_common(1)[0]
            local = port if count >= 0.6 * kind.local.total() else None
        if 0 < kind.sampled < 5:
            confidence = min(confidence, 0.5 + 0.05 * kind.sampled)
        why = f"{name.why}; {kind.sampled} samples" if kind.sampled else name.why
        return Vector(
            name=name.name,
            lane=name.lane.label,
            protocol=name.protocol,
            local_port=local,
            remote_port=name.remote_port,
            packets=round(kind.packets),
            bytes=round(kind.bytes),
            estimated=not alone,
            peak_pps=round(kind.peak_pps),
            first_ms=kind.first_ms,
            last_ms=kind.last_ms,
            confidence=round(confidence, 2),
            why=why,
        )

    def _recall(self, vector: Vector) -> None:
        lane = _LANES.get(vector.lane)
        if lane is None:
            return
        why, _, tail = vector.why.rpartition("; ")
        sampled = int(tail.split()[0]) if tail.endswith(" samples") and tail.split()[0].isdigit() else 0
        name = Name(
            vector.name,
            lane,
            vector.protocol,
            vector.confidence,
            why if sampled else vector.why,
            vector.local_port,
            vector.remote_port,
        )
        kind = _Kind(name, vector.first_ms, Counter(), vector.packets, vector.bytes, vector.peak_pps)
        kind.last_ms, kind.sampled = vector.last_ms, sampled
        if vector.local_port is not None and sampled:
            kind.local[vector.local_port] = sampled
        self._kinds[vector.name, lane] = kind
        if sampled:
            self._weights.setdefault(lane, Counter())[vector.name] = sampled
