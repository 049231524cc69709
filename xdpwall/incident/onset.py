# SPDX-License-Identifier: Apache-2.0
"""When an attack began, from readings a tick apart: finer than the tick, by how full the first one was."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from xdpwall.incident.reading import Rates, Reading

_PART = 0.1


@dataclass(frozen=True, slots=True)
class Onset:
    """Unix milliseconds with fractions. ``resolution_ms``: how far off they may be."""

    first_packet_ms: float
    threshold_ms: float
    first_drop_ms: float | None
    resolution_ms: float


def rewind(readings: list[Reading], usual_pps: float) -> list[Reading]:
    """From the reading before the first packet of an attack on.

    A threshold may be passed later than the first packet comes: until a limit trips, packets pass. So go back from the
    newest reading for as long as much more came than is usual, and a good part of what comes now.

    Args:
        readings: oldest first, a tick apart.
        usual_pps: what is normal here, all packets.
    """
    spans = [Rates.between(old, new) for old, new in pairwise(readings)]
    now_pps = max((span.all_pps() for span in spans[-3:] if span is not None), default=0.0)
    least = max(3 * usual_pps, _PART * now_pps)
    first = len(readings) - 1
    for at in range(len(spans) - 1, -1, -1):
        span = spans[at]
        if span is None or span.all_pps() <= least:
            break
        first = at
    return readings[first:]


def onset(readings: list[Reading]) -> Onset:
    """The beginning of what these readings saw.

    The first of them is the last one before a threshold was passed. If the attack came at an even rate from somewhere
    within the first span, that span is as full as the attack's share of it was long.

    Args:
        readings: oldest first; at least one.
    """
    start = readings[0]
    if len(readings) < 2:
        return Onset(float(start.at_ms), float(start.at_ms), None, 0.0)
    first = Rates.between(start, readings[1])
    assert first is not None  # readings are taken at different times
    share = 1.0
    if len(readings) > 2:
        after = Rates.between(readings[1], readings[2])
        if after is not None and after.all_pps() > 0:
            share = min(1.0, first.all_pps() / after.all_pps())
    span_ms = first.seconds * 1000
    end_ms = float(readings[1].at_ms)
    drop = next((float(new.at_ms) for old, new in pairwise(readings) if _dropped(old, new)), None)
    return Onset(round(end_ms - share * span_ms, 1), end_ms, drop, round(span_ms, 1))


def _dropped(old: Reading, new: Reading) -> bool:
    return new.total(drops=True)[0] > old.total(drops=True)[0]
