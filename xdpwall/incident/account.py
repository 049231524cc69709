# SPDX-License-Identifier: Apache-2.0
"""The incident that is open: its sums, step by step, and the record made of them.

Totals are differences of the wall's own counters, which count since load: what is kept is where they stood when it
began. So a controller that was killed in the middle misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from xdpwall.incident.facts import Facts
from xdpwall.incident.known import Known
from xdpwall.incident.model import (
    Action,
    BanCounts,
    Burst,
    Crossing,
    Incident,
    Ledger,
    Point,
    Saturation,
    Totals,
)
from xdpwall.incident.reading import BANS, MALFORMED, Pair, Rates, Reading
from xdpwall.incident.targets import Targets
from xdpwall.incident.thresholds import Measure
from xdpwall.incident.timeline import Timeline
from xdpwall.incident.vectorbook import VectorBook
from xdpwall.incident.vectors import Name
from xdpwall.incident.words import verdict
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

MOST_ACTIONS = 300
MOST_CROSSINGS = 200
UNLANED = BANS | {
    Reason.SOURCE_PPS, Reason.SOURCE_BPS, Reason.SOURCE_SYN, Reason.PREFIX_PPS, Reason.PREFIX_BPS, Reason.PREFIX_SYN,
}  # fmt: skip
"""Drops before the lanes count."""
_MALFORMED = Name(
    "Malformed packets", Lane.OTHER, "other", 0.9, "dropped by the checks of headers that cannot be real"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled packet, read."""

    facts: Facts
    reason: Reason
    lane: Lane


@dataclass(frozen=True, slots=True)
class Second:
    """What happened in one second.

    Args:
        rates: what the wall counted.
        found: measures, whatever their ratio.
        samples: packets that were sampled.
        mix: in what proportion packets that never reached a lane were of each; empty while it is not known.
        background: packets/s that are normal, by lane and in all (``all``).
        over: a threshold is passed.
    """

    rates: Rates
    found: list[Measure]
    samples: list[Sample]
    mix: Mapping[Lane, float]
    background: Mapping[str, float]
    over: bool


class Account:
    """Keeps the sums of one incident.

    Args:
        record: what it is so far: fresh, or read back after a restart.
        base: the counters when it began.
        carried: what was counted on walls before this one (a reboot sets counters to zero).
        frozen: what was counted up to the last moment over a threshold.
    """

    def __init__(self, record: Incident, base: Reading, carried: Reading, frozen: Reading) -> None:
        self._record = record
        self._base = base
        self._carried = carried
        self._frozen = frozen
        self.last = base
        self._timeline = Timeline(record.timeline)
        self._vectors = VectorBook(record.vectors)
        self._targets = Targets()
        self._known_targets = record.targets
        self._was_over = False
        self._over_now: set[str] = set()
        self._unlaned: Pair = (0, 0)

    @classmethod
    def begin(cls, record: Incident, base: Reading) -> Account:
        """A fresh one. ``base``: the counters just before its first packet."""
        nothing = Reading(base.at_ms, base.mono_ns)
        return cls(record, base, nothing, nothing)

    # --- what happens ---

    def second(self, step: Second, now: Reading) -> dict[Lane, Pair]:
        """Take in one second. Gives packets and bytes of the attack in it, by lane."""
        if now.shrank(self.last):
            self._carried = self.last.minus(self._base).plus(self._carried)
            self._base = Reading(now.at_ms, now.mono_ns)
        counted = now.minus(self._base).plus(self._carried)
        if step.over or self._was_over:
            # One second longer than it is over: the last packets come after the last look that was over.
            self._frozen = counted
        self._was_over = step.over
        self.last = now
        self._follow_peak(step, now)
        came = self._came(step)
        by_lane: dict[Lane, list[Facts]] = {}
        for sample in step.samples:
            if sample.reason.drops:
                by_lane.setdefault(sample.facts.lane, []).append(sample.facts)
        if step.over or came:
            self._vectors.take(now.at_ms, step.rates.seconds, came, by_lane)
            self._take_malformed(step, now.at_ms)
        for lane, facts in by_lane.items():
            self._targets.take(facts, max(1.0, came.get(lane, (0, 0))[0] / len(facts)))
        self._timeline.add(self._point(step, now), step.rates.seconds)
        return came

    def before(self, rates: Rates, now: Reading) -> None:
        """A second before it began, for the timeline."""
        self._timeline.add(self._point(Second(rates, [], [], {}, {}, False), now), rates.seconds)

    def burst(self, from_ms: int, now_ms: int) -> None:
        """It is over a threshold right now; ``from_ms`` since when."""
        bursts = self._record.bursts
        if bursts and bursts[-1].from_ms == from_ms:
            bursts = (*bursts[:-1], replace(bursts[-1], until_ms=now_ms))
        else:
            bursts = (*bursts[-199:], Burst(from_ms, now_ms))
        self._record = replace(self._record, bursts=bursts, ended_ms=None)

    def act(self, at_ms: int, what: str, detail: str = "") -> None:
        """Note something that the wall did. The first and the last are kept when there are too many."""
        actions = (*self._record.actions, Action(at_ms, what, detail))
        if len(actions) > MOST_ACTIONS:
            half = MOST_ACTIONS // 2
            actions = (*actions[:half], *actions[-half + 1 :])
        self._record = replace(self._record, actions=actions)

    def banned(self, exact: int, prefix: int) -> None:
        """Bans were written because of it."""
        bans = self._record.bans
        self._record = replace(self._record, bans=BanCounts(bans.exact + exact, bans.prefix + prefix))

    def ledger(self, **steps: float) -> None:
        """When a step first happened; what is known already stays."""
        known = self._record.ledger
        fresh = {name: at for name, at in steps.items() if getattr(known, name) in (None, 0.0)}
        if fresh:
            self._record = replace(self._record, ledger=replace(known, **fresh))

    def saturated(self, entries: tuple[Saturation, ...]) -> None:
        """What was full before the wall."""
        self._record = replace(self._record, saturation=entries)

    def know(self, **found: Unpack[Known]) -> None:
        """Put in what other parts found out. None is nothing new."""
        fresh: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
        self._record = replace(self._record, **fresh)

    def close(self, ended_ms: int, now_ms: int) -> None:
        """It is over since ``ended_ms``."""
        self.act(now_ms, "closed")
        self._record = replace(self._record, state="closed", ended_ms=ended_ms, closed_ms=now_ms)

    def reopen(self, now_ms: int, base: Reading) -> None:
        """The attack came back. What was counted since the end, up to ``base``, was no attack."""
        self._carried, self._base, self.last = self._frozen, base, base
        self.act(now_ms, "reopened", "the attack came back")
        self._record = replace(self._record, state="open", ended_ms=None, closed_ms=None)

    # --- how it stands ---

    @property
    def id(self) -> int:
        """The record's id."""
        return self._record.id

    @property
    def brief(self) -> Incident:
        """The record; timeline, vectors and sentences, which cost time, are as of the last :meth:`record`."""
        return self._record

    @property
    def counted(self) -> Reading:
        """All that the incident counted, up to the last moment over a threshold."""
        return self._frozen

    def carpet(self) -> str | None:
        """See :meth:`Targets.carpet`."""
        return self._targets.carpet()

    def crossed(self) -> frozenset[str]:
        """What was over its threshold at any time: by this an attack that comes back is known again."""
        return frozenset(crossing.what for crossing in self._record.thresholds)

    def record(self, now_ms: int) -> Incident:
        """The whole record, as it stands."""
        vectors = self._vectors.vectors()
        targets = self._targets.targets(self._frozen.total()[0]) or self._known_targets
        known = replace(
            self._record,
            updated_ms=now_ms,
            totals=self._totals(),
            vectors=vectors,
            targets=targets,
            timeline=self._timeline.points(),
            confidence=max((vector.confidence for vector in vectors), default=0.5),
        )
        self._record = replace(known, verdict=verdict(known))
        return self._record

    def state(self) -> dict[str, Any]:
        """What the record does not hold and a restart needs; plain values."""
        return {
            "base": self._base.to_json(),
            "carried": self._carried.to_json(),
            "frozen": self._frozen.to_json(),
            "last": self.last.to_json(),
        }

    @classmethod
    def from_state(cls, record: Incident, state: Mapping[str, Any], mono_at: Mapping[str, int]) -> Account:
        """The inverse of :meth:`state` and :meth:`record`.

        Args:
            record: as it was written last.
            state: as it was written with it.
            mono_at: what the clock that never jumps would have shown at the time of ``base`` and ``last``.
        """
        base = Reading.from_json(state["base"], mono_at["base"])
        account = cls(
            record,
            base,
            Reading.from_json(state["carried"], mono_at["base"]),
            Reading.from_json(state["frozen"], mono_at["last"]),
        )
        account.last = Reading.from_json(state["last"], mono_at["last"])
        return account

    # --- inside ---

    def _follow_peak(self, step: Second, now: Reading) -> None:
        pps, bps = round(step.rates.all_pps()), round(step.rates.all_bps())
        severity = max((m.ratio for m in step.found), default=0.0)
        changes: dict[str, Any] = {"severity": max(self._record.severity, round(severity, 2))}
        if pps > self._record.peak_pps:
            changes |= {"peak_pps": pps, "peak_at_ms": now.at_ms}
        changes["peak_bps"] = max(self._record.peak_bps, bps)
        if self._record.bursts and step.over:
            last = self._record.bursts[-1]
            changes["bursts"] = (*self._record.bursts[:-1], replace(last, peak_pps=max(last.peak_pps, pps)))
        over = {m.what: m for m in step.found if m.ratio >= 1.0}
        crossed = tuple(
            Crossing(now.at_ms, m.what, round(m.value, 1), round(m.limit, 1), m.unit)
            for what, m in over.items()
            if what not in self._over_now
        )
        self._over_now = set(over)
        if crossed:
            changes["thresholds"] = (*self._record.thresholds, *crossed)[:MOST_CROSSINGS]
        self._record = replace(self._record, **changes)

    def _came(self, step: Second) -> dict[Lane, Pair]:
        """Packets of the attack by lane: lanes that are loud, less what is normal there, and what never reached one."""
        rates = step.rates
        loud = {m.lane for m in step.found if m.lane is not None and m.ratio >= 0.5}
        if Lane.CLOSED.label in loud:
            loud |= {Lane.SYN.label, Lane.TCP.label, Lane.UDP.label}
        came: dict[Lane, Pair] = {}
        for lane, (packets, size) in rates.delta.lanes.items():
            if lane.label not in loud or not packets:
                continue
            usual = step.background.get(f"lane {lane.label}", 0.0) * rates.seconds
            extra = max(0, round(packets - usual))
            came[lane] = (extra, size * extra // packets)
        packets, size = self._unlaned
        for reason in UNLANED:
            pair = rates.delta.reasons.get(reason, (0, 0))
            packets, size = packets + pair[0], size + pair[1]
        self._unlaned = (packets, size)
        if packets and step.mix:
            self._unlaned = (0, 0)
            for lane, share in step.mix.items():
                known = came.get(lane, (0, 0))
                came[lane] = (known[0] + round(packets * share), known[1] + round(size * share))
        return came

    def _take_malformed(self, step: Second, at_ms: int) -> None:
        packets = size = 0
        for reason in MALFORMED:
            pair = step.rates.delta.reasons.get(reason, (0, 0))
            packets, size = packets + pair[0], size + pair[1]
        if packets > 0.02 * step.rates.delta.total()[0]:
            self._vectors.give(_MALFORMED, (packets, size), at_ms, step.rates.seconds)

    def _point(self, step: Second, now: Reading) -> Point:
        rates = step.rates
        by_lane = {lane.label: round(rates.lane_pps(lane)) for lane in rates.delta.lanes}
        unlaned = rates.pps(*UNLANED)
        for lane, share in step.mix.items():
            by_lane[lane.label] = by_lane.get(lane.label, 0) + round(unlaned * share)
        seen, dropped = rates.all_pps(), rates.dropped_pps()
        return Point(
            now.at_ms - round(rates.seconds * 1000),
            round(seen),
            round(seen) - round(dropped),
            round(dropped),
            round(rates.all_bps()),
            {name: pps for name, pps in by_lane.items() if pps},
        )

    def _totals(self) -> Totals:
        counted = self._frozen
        packets, size = counted.total()
        dropped, dropped_size = counted.total(drops=True)
        seconds = max(0, counted.at_ms - self._record.first_packet_ms) / 1000
        return Totals(
            packets=packets,
            bytes=size,
            dropped_packets=dropped,
            dropped_bytes=dropped_size,
            passed_packets=packets - dropped,
            passed_bytes=size - dropped_size,
            background_packets=min(packets, round(self._background * seconds)),
            dropped_by_reason={r.label: p for r, (p, _) in sorted(counted.reasons.items()) if r.drops and p},
            passed_by_reason={
                r.label: p for r, (p, _) in sorted(counted.reasons.items()) if not r.drops and p
            },
        )

    _background = 0.0

    def expect(self, background_pps: float) -> None:
        """What would have come anyway, packets per second."""
        self._background = background_pps


def fresh(key: str, number: int, first: Reading, opened_ms: int, *, instance: str, policy: str) -> Incident:
    """The record of an incident in its first moment.

    Args:
        key: its name for people.
        number: its id.
        first: the counters just before its first packet.
        opened_ms: now.
        instance: the wall's.
        policy: ``enforce`` or ``observe``.
    """
    return Incident(
        id=number,
        key=key,
        state="open",
        opened_ms=opened_ms,
        instance=instance,
        policy=policy,
        first_packet_ms=first.at_ms,
        updated_ms=opened_ms,
        ledger=Ledger(),
    )
