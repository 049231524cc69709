# SPDX-License-Identifier: Apache-2.0
"""How the legitimate users fared: figures over their tries, in all and by kind. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdpwall.lab.legit import KINDS, Visit

LATE_MS = 500.0
"""An answer that takes longer was lost on the way and asked for again, or stood in a long queue."""


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of them do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 1000) // 1000) - 1)]


def figures(visits: Sequence[Visit], began_ns: int, attack_ns: int, ended_ns: int) -> dict[str, Any]:
    """The result's ``legit``.

    Args:
        visits: all tries.
        began_ns: when the baseline began.
        attack_ns: when the attack did.
        ended_ns: and when it ended.
    """
    before = [visit for visit in visits if began_ns <= visit.start_ns < attack_ns]
    during = [visit for visit in visits if attack_ns <= visit.start_ns < ended_ns]
    found = _figures(before, during)
    found["by_kind"] = {
        kind: _figures([v for v in before if v.kind == kind], [v for v in during if v.kind == kind])
        for kind in KINDS
        if any(visit.kind == kind for visit in during)
    }
    return found


def _figures(before: list[Visit], during: list[Visit]) -> dict[str, Any]:
    times = [visit.ms for visit in during if visit.ok]
    earlier = [visit.ms for visit in before if visit.ok]
    errors: dict[str, int] = {}
    for visit in during:
        if not visit.ok:
            errors[visit.error] = errors.get(visit.error, 0) + 1
    found = {
        "attempted": len(during),
        "succeeded": len(times),
        "late": sum(ms > LATE_MS for ms in times),
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "max_ms": max(times, default=None),
        "baseline_p50_ms": percentile(earlier, 0.5),
        "baseline_p99_ms": percentile(earlier, 0.99),
        "errors": errors,
    }
    connects = [visit.connect_ms for visit in during if visit.ok and visit.connect_ms is not None]
    if connects:
        first = [visit.connect_ms for visit in before if visit.ok and visit.connect_ms is not None]
        found["connect_p50_ms"] = percentile(connects, 0.5)
        found["connect_p99_ms"] = percentile(connects, 0.99)
        found["baseline_connect_p99_ms"] = percentile(first, 0.99)
    return found
