# SPDX-License-Identifier: Apache-2.0
"""One tick of detection: two snapshots in, findings out."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.detection.finding import Finding
from xdpwall.detection.keys import Keys
from xdpwall.detection.limits import Limits
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.rates import Rates
from xdpwall.snapshot import MeterSnapshot


@dataclass(frozen=True, slots=True)
class Detection:
    """What one tick showed: rates of both scopes, and new findings, the worst first."""

    sources: Rates
    prefixes: Rates
    findings: list[Finding]


class Detector:
    """Rates, limits and attribution of sources and prefixes together.

    Args:
        source_limits: of one source.
        prefix_limits: of one /24 or /48.
        banned: all bans that stand. Kept by reference: the owner adds and removes.
        spared: what is never banned: allowlist, own addresses and the like. Kept by reference too.
    """

    def __init__(
        self, source_limits: Limits, prefix_limits: Limits, *, banned: PrefixSet, spared: PrefixSet
    ) -> None:
        raise NotImplementedError

    def observe(self, sources: MeterSnapshot, prefixes: MeterSnapshot) -> Detection:
        """Take in one tick's snapshots."""
        raise NotImplementedError

    def set_limits(self, source_limits: Limits, prefix_limits: Limits) -> None:
        """Put other limits in force."""
        raise NotImplementedError

    def release(self, findings: list[Finding]) -> None:
        """Forget these findings, because no ban came of them: they are found again if the traffic goes on."""
        raise NotImplementedError

    @property
    def over(self) -> tuple[Keys, Keys]:
        """Sources and prefixes that are over now and not banned."""
        raise NotImplementedError
