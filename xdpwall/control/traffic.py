# SPDX-License-Identifier: Apache-2.0
"""What the whole wall sees per second, from its verdict totals. Cheap enough for every tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from xdpwall.control.results import RatesResult
from xdpwall.control.views import Counts
from xdpwall.reasons import Reason

WINDOW_NS = 1_000_000_000
"""Rates for people are over at least this long; the last tick alone is what decides whether to look closer."""
_BANS = (Reason.BANNED_SOURCE, Reason.BANNED_PREFIX)


@dataclass(frozen=True, slots=True)
class Sample:
    """Totals of one moment: by interface and reason, and sums over them. ``banned`` is what bans drop.

    ``would`` is what of ``dropped`` passed, for its reason only observes; ``observed`` has it by interface and reason.
    """

    mono_ns: int
    counts: Counts
    packets: int
    bytes: int
    dropped: int
    dropped_bytes: int
    banned: int
    banned_bytes: int
    would: int = 0
    would_bytes: int = 0
    observed: Counts = field(default_factory=dict)


class Traffic:
    """The last second or so of totals."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def update(self, counts: Counts, mono_ns: int, observed: Counts | None = None) -> None:
        """Take in the totals of now. Totals that shrank (a new wall) start everything afresh.

        Args:
            counts: totals by interface and reason.
            mono_ns: now.
            observed: what of them passed, for its reason only observes.
        """
        sample = _sample(counts, mono_ns, observed or {})
        if self._samples and (
            sample.packets < self._samples[-1].packets or mono_ns <= self._samples[-1].mono_ns
        ):
            self._samples.clear()
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].mono_ns <= mono_ns - WINDOW_NS:
            self._samples.popleft()

    def reset(self) -> None:
        """Forget everything."""
        self._samples.clear()

    @property
    def counts(self) -> Counts:
        """The newest totals."""
        return self._samples[-1].counts if self._samples else {}

    @property
    def observed(self) -> Counts:
        """What of :attr:`counts` passed, for its reason only observes."""
        return self._samples[-1].observed if self._samples else {}

    @property
    def packets(self) -> int:
        """Packets since load, newest total."""
        return self._samples[-1].packets if self._samples else 0

    @property
    def banned(self) -> int:
        """Packets that bans dropped since load, newest total."""
        return self._samples[-1].banned if self._samples else 0

    def last_tick(self) -> tuple[float, float]:
        """Packets and bits per second between the two newest totals that got past the bans."""
        if len(self._samples) < 2:
            return 0.0, 0.0
        old, new = self._samples[-2], self._samples[-1]
        seconds = (new.mono_ns - old.mono_ns) / 1e9
        packets = new.packets - new.banned - (old.packets - old.banned)
        size = new.bytes - new.banned_bytes - (old.bytes - old.banned_bytes)
        return packets / seconds, size * 8 / seconds

    def banned_pps(self) -> int:
        """Packets per second that bans drop (or would, under ``observe``), over the window."""
        return self._per_second(lambda s: s.banned)

    def rates(self, policy: str) -> RatesResult:
        """For people, over the window."""
        packets = self._per_second(lambda s: s.packets)
        dropped = self._per_second(lambda s: s.dropped)
        bits = self._per_second(lambda s: s.bytes) * 8
        dropped_bits = self._per_second(lambda s: s.dropped_bytes) * 8
        would, would_bits = dropped, dropped_bits
        if policy != "observe":
            would = min(dropped, self._per_second(lambda s: s.would))
            would_bits = min(dropped_bits, self._per_second(lambda s: s.would_bytes) * 8)
        dropped, dropped_bits = dropped - would, dropped_bits - would_bits
        result = RatesResult(
            pps=packets,
            bps=bits,
            dropped_pps=dropped,
            passed_pps=max(0, packets - dropped),
            dropped_bps=dropped_bits,
            passed_bps=max(0, bits - dropped_bits),
        )
        if policy == "observe" or (self._samples and self._samples[-1].would):
            result["would_drop_pps"], result["would_drop_bps"] = would, would_bits
        return result

    def by_verdict(self) -> dict[tuple[str, Reason], int]:
        """Packets per second by interface and reason, over the window."""
        if len(self._samples) < 2:
            return {}
        old, new = self._samples[0], self._samples[-1]
        span = new.mono_ns - old.mono_ns
        rates = {}
        for name, reasons in new.counts.items():
            before = old.counts.get(name, {})
            for reason, count in reasons.items():
                start = before[reason].packets if reason in before else 0
                rates[name, reason] = max(0, count.packets - start) * 1_000_000_000 // span
        return rates

    def _per_second(self, what: Callable[[Sample], int]) -> int:
        if len(self._samples) < 2:
            return 0
        old, new = self._samples[0], self._samples[-1]
        return max(0, what(new) - what(old)) * 1_000_000_000 // (new.mono_ns - old.mono_ns)


def _sample(counts: Counts, mono_ns: int, observed: Counts) -> Sample:
    packets = size = dropped = dropped_bytes = banned = banned_bytes = 0
    for reasons in counts.values():
        for reason, count in reasons.items():
            packets += count.packets
            size += count.bytes
            if reason.drops:
                dropped += count.packets
                dropped_bytes += count.bytes
                if reason in _BANS:
                    banned += count.packets
                    banned_bytes += count.bytes
    passed = [count for reasons in observed.values() for count in reasons.values()]
    return Sample(
        mono_ns,
        counts,
        packets,
        size,
        dropped,
        dropped_bytes,
        banned,
        banned_bytes,
        sum(count.packets for count in passed),
        sum(count.bytes for count in passed),
        observed,
    )
