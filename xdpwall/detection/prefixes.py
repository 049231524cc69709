# SPDX-License-Identifier: Apache-2.0
"""Smallest blast radius: a prefix is not banned for what a few of its sources do."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.detection.finding import Finding
from xdpwall.detection.keys import Keys, SkipKeys
from xdpwall.detection.rates import Rates


@dataclass(frozen=True, slots=True)
class Attribution:
    """What became of findings on prefixes.

    Args:
        findings: on prefixes that stand, and on sources in place of their prefix; the worst first.
        released: keys of the prefixes that were spared, to be handed to ``Limiter.release`` of the prefixes.
    """

    findings: list[Finding]
    released: Keys


def attribute(
    findings: list[Finding],
    sources: Rates,
    skip_keys: SkipKeys = None,
    *,
    share: float = 0.8,
    few: int = 4,
) -> Attribution:
    """Blame sources instead of their prefix where at most ``few`` of them send at least ``share`` of what broke it.

    Args:
        findings: of the prefixes' limiter.
        sources: rates of the sources in the same tick.
        skip_keys: sources that are banned or allowlisted. When they are the ones to blame (their last packets before
            the ban took hold) the finding is dropped.
        share: 0 to 1.
        few: at least 1.
    """
    raise NotImplementedError
