# SPDX-License-Identifier: Apache-2.0
"""What observed parts would have dropped, and whom it would have hit.

Packets and bytes are the kernel's own counts. Good sources are found in the samples: of a sampled packet that passed
only because its reason observes, the kernel's table of proofs tells whether its source completed a handshake lately, or
whether it belongs to a flow of this host. So their number is a lower bound.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control.logs import Throttle
from xdpwall.control.results_observed import (
    GoodSourceResult,
    ObservedBriefResult,
    ObservedPartResult,
    ObservedResult,
    ObservedRuleResult,
    ReasonCountResult,
)
from xdpwall.dataplane.interface import Count, Dataplane, Flow, WallInfo
from xdpwall.dataplane.keys import source_key
from xdpwall.dataplane.rule_map import HeldRule
from xdpwall.fingerprint_text import describe
from xdpwall.incident.observed import ObservedUse
from xdpwall.model import Prefix
from xdpwall.observe import PART_OF, PARTS
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.control.views import Counts

_MOST = 1_000
"""Good sources that are kept with their figures; more are only counted."""
_MOST_COUNTED = 100_000
_SHOWN = 10
_MOST_READ = 500
"""Samples that are looked into in one tick."""
_PORTED = (6, 17)


@dataclass(slots=True)
class _Good:
    proof: str
    first_ms: int
    last_ms: int = 0
    samples: int = 0
    reasons: set[Reason] = field(default_factory=set)


class Observed:
    """Looks for good sources among what would have been dropped.

    Args:
        clock: Unix time.
        throttle: for log lines that may come often.
    """

    def __init__(self, clock: Clock, throttle: Throttle) -> None:
        self._clock = clock
        self._throttle = throttle
        self._good: dict[Prefix, _Good] = {}
        self._seen: set[Prefix] = set()
        self._since_ms = 0
        self._before: dict[Reason, Count] | None = None

    def step(self, wall: Dataplane, samples: Iterable[Sample]) -> None:
        """One tick.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        shown = [sample for sample in samples if sample.would_drop][:_MOST_READ]
        if not shown:
            return
        since_ms = wall.info.observed_since_ms
        if since_ms != self._since_ms:  # another trial
            self._good, self._seen, self._since_ms = {}, set(), since_ms
        now = self._clock.wall_ms()
        for sample, proof in zip(shown, _proofs(wall, shown), strict=True):
            if proof:
                self._take(sample, proof, now)

    def _take(self, sample: Sample, proof: str, now_ms: int) -> None:
        source = _source(sample)
        if source not in self._seen and len(self._seen) < _MOST_COUNTED:
            self._seen.add(source)
            self._throttle.line(
                "observed",
                f"{source} is known to be good, and {sample.reason.label}, which only observes, would have dropped it",
                logging.WARNING,
                source=source,
            )
        good = self._good.get(source)
        if good is None:
            if len(self._good) >= _MOST:
                return
            good = self._good[source] = _Good(proof, now_ms)
        good.last_ms = now_ms
        good.samples += 1
        good.reasons.add(sample.reason)

    @property
    def count(self) -> int:
        """Good sources found so far in this trial."""
        return len(self._seen)

    def good(self, limit: int) -> list[GoodSourceResult]:
        """Those of which most was sampled."""
        top = sorted(self._good.items(), key=lambda entry: -entry[1].samples)[:limit]
        return [
            GoodSourceResult(
                source=str(source),
                proof=good.proof,
                reasons=sorted(reason.label for reason in good.reasons),
                samples=good.samples,
                first_ms=good.first_ms,
                last_ms=good.last_ms,
            )
            for source, good in top
        ]

    def good_of(self, part: str) -> int:
        """Good sources that one part would have hit, of those that are kept."""
        return sum(any(reason in PARTS[part] for reason in good.reasons) for good in self._good.values())

    def incident_opened(self, wall: Dataplane) -> None:
        """From here on what would be dropped belongs to an incident."""
        self._before = by_reason(wall.observed())

    def during_incident(self, wall: Dataplane) -> ObservedUse | None:
        """What would have been dropped since; None when nothing observes, or it opened before this controller came."""
        if self._before is None:
            return None
        before = {reason.label: count.packets for reason, count in self._before.items()}
        now = {reason.label: count.packets for reason, count in by_reason(wall.observed()).items()}
        grown = {label: packets - before.get(label, 0) for label, packets in now.items()}
        grown = {label: packets for label, packets in grown.items() if packets > 0}
        parts = observing(wall.info)
        if not grown and not parts:
            return None
        return ObservedUse(
            parts=parts,
            packets=sum(grown.values()),
            by_reason=grown,
            good_sources=self.count,
            examples=tuple(entry["source"] for entry in self.good(5)),
        )


def by_reason(counts: Counts) -> dict[Reason, Count]:
    """All interfaces together."""
    total: dict[Reason, Count] = {}
    for reasons in counts.values():
        for reason, count in reasons.items():
            known = total.get(reason, Count())
            total[reason] = Count(known.packets + count.packets, known.bytes + count.bytes)
    return total


def enforced(wall: Dataplane) -> dict[Reason, Count]:
    """Verdicts as they were: what passed only because its reason observes has passed.

    Under ``policy = "observe"`` they are what they would have been, and whoever shows them says so.
    """
    counted, would = by_reason(wall.verdicts()), by_reason(wall.observed())
    if not would or wall.info.policy == "observe":
        return counted
    for reason, count in would.items():
        for to, sign in ((reason, -1), (Reason.PASS, 1)):
            known = counted.get(to, Count())
            counted[to] = Count(known.packets + sign * count.packets, known.bytes + sign * count.bytes)
    return counted


def observing(info: WallInfo | None) -> tuple[str, ...]:
    """The parts that only observe."""
    if info is None:
        return ()
    return tuple(part for part, reasons in PARTS.items() if set(reasons) <= set(info.observed))


def brief(info: WallInfo | None, would: Counts, good: int | None) -> ObservedBriefResult:
    """For ``status``."""
    counts = by_reason(would).values()
    return ObservedBriefResult(
        parts=list(observing(info)),
        since_ms=0 if info is None else info.observed_since_ms,
        would_drop_packets=sum(count.packets for count in counts),
        would_drop_bytes=sum(count.bytes for count in counts),
        good_sources=good,
    )


def result(
    info: WallInfo, would: Counts, rules: Iterable[HeldRule], known: Observed | None = None
) -> ObservedResult:
    """The answer of the op ``observed``. ``known``: the controller's; None where there is none."""
    counts, parts = by_reason(would), set(observing(info))
    parts_now = parts | {PART_OF[reason] for reason in counts if reason in PART_OF}
    return ObservedResult(
        policy=info.policy,
        since_ms=info.observed_since_ms,
        parts=[_part(part, part in parts, counts, known) for part in PARTS if part in parts_now],
        rules=[
            ObservedRuleResult(
                id=held.rule.id,
                text=describe(held.rule.pattern),
                packets=held.matched.packets,
                bytes=held.matched.bytes,
                proven_packets=held.proven.packets,
            )
            for held in rules
            if held.rule.observe
        ],
        good_sources=[] if known is None else known.good(_SHOWN),
        good_source_count=None if known is None else known.count,
    )


def _part(
    part: str, observes: bool, counts: Mapping[Reason, Count], known: Observed | None
) -> ObservedPartResult:
    rows = [
        ReasonCountResult(reason=reason.label, packets=counts[reason].packets, bytes=counts[reason].bytes)
        for reason in PARTS[part]
        if reason in counts
    ]
    return ObservedPartResult(
        part=part,
        observes=observes,
        packets=sum(row["packets"] for row in rows),
        bytes=sum(row["bytes"] for row in rows),
        reasons=rows,
        good_sources=0 if known is None else known.good_of(part),
    )


def _source(sample: Sample) -> Prefix:
    return Prefix.covering(sample.source, 32 if sample.version == 4 else 64)


def _proofs(wall: Dataplane, samples: list[Sample]) -> list[str]:
    """What speaks for the source of each; empty for nothing."""
    import numpy as np  # noqa: PLC0415  (a verb without a controller needs none)

    keys = np.array([source_key(_source(sample)) for sample in samples], dtype=np.uint64)
    proven = wall.proven(keys).tolist()
    flows = [_flow(sample) for sample in samples]
    known = iter(wall.known([flow for flow in flows if flow is not None]))
    in_flow = [flow is not None and bool(next(known)) for flow in flows]
    return [
        "flow" if flow else "handshake" if source else ""
        for flow, source in zip(in_flow, proven, strict=True)
    ]


def _flow(sample: Sample) -> Flow | None:
    local, peer = sample.target_port, sample.source_port
    if sample.protocol not in _PORTED or local is None or peer is None:
        return None
    return Flow(sample.protocol, sample.target, local, sample.source, peer)
