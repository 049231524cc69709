# SPDX-License-Identifier: Apache-2.0
"""Smallest blast radius: a prefix is not banned for what a few of its sources do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import Keys, SkipKeys, prefix_keys, skip_mask, source_of
from xdpwall.detection.limits import KINDS
from xdpwall.detection.rates import Rates


@dataclass(frozen=True, slots=True)
class Attribution:
    """What became of findings on prefixes.

    Args:
        findings: on prefixes that stand, and on sources in place of their prefix; the worst first.
        blamed: by the key of each prefix that was spared, the keys of the sources to blame, banned ones included.
    """

    findings: list[Finding]
    blamed: dict[int, Keys]


def attribute(
    findings: list[Finding],
    sources: Rates,
    skip_keys: SkipKeys = None,
    *,
    share: float = 0.8,
    few: int = 4,
) -> Attribution:
    """Blame sources instead of their prefix where at most ``few`` of them send at least ``share`` of what broke it.

    The smallest such set is blamed, the busiest first. Sources that the source meters have not seen (one packet each)
    count as others.

    Args:
        findings: of the prefixes' limiter.
        sources: rates of the sources in the same tick.
        skip_keys: sources that are banned or allowlisted: blamed, but not found again. When they alone are to blame
            (their last packets before the ban took hold) nothing is left of the finding.
        share: above 0, at most 1.
        few: at least 1.
    """
    if not findings or sources.dt_ns <= 0:
        return Attribution(findings, {})
    wanted = np.unique(np.array([finding.key for finding in findings], np.uint64))
    keys, sent = sources.within(wanted, KINDS)
    above = prefix_keys(keys)
    order = np.argsort(above, kind="stable")
    keys, sent, above = keys[order], sent[:, order], above[order]
    skipped = skip_mask(skip_keys, keys)
    judged: list[Finding] = []
    blamed: dict[int, Keys] = {}
    for finding in findings:
        start, stop = (
            above.searchsorted(np.uint64(finding.key)),
            above.searchsorted(np.uint64(finding.key), "right"),
        )
        rates = sent[KINDS.index(finding.kind), start:stop] * (1e9 / sources.dt_ns)
        guilty = _smallest_set(rates, finding.rate * share, few)
        if not len(guilty):
            judged.append(finding)
            continue
        guilty += start
        blamed[finding.key] = keys[guilty]
        judged += [
            Finding(
                scope=Scope.SOURCE,
                prefix=source_of(int(keys[place])),
                key=int(keys[place]),
                kind=finding.kind,
                rate=round(rates[place - start]),
                limit=finding.limit,
                mono_ns=finding.mono_ns,
                within=finding.prefix,
                within_rate=finding.rate,
            )
            for place in guilty.tolist()
            if not skipped[place]
        ]
    judged.sort(key=lambda finding: -finding.severity)
    return Attribution(judged, blamed)


def _smallest_set(rates: npt.NDArray[np.float64], enough: float, few: int) -> npt.NDArray[np.intp]:
    """Places of the largest rates that reach ``enough`` together, none when it takes more than ``few``."""
    largest = np.argsort(-rates, kind="stable")[:few]
    reached = np.flatnonzero(np.cumsum(rates[largest]) >= enough)
    return largest[: reached[0] + 1] if len(reached) else largest[:0]
