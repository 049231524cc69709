# SPDX-License-Identifier: Apache-2.0
"""One tick of detection: two snapshots in, findings out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import Keys, Mask
from xdpwall.detection.limiter import Limiter
from xdpwall.detection.limits import Limits
from xdpwall.detection.prefixes import attribute
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.rates import RateMeter, Rates
from xdpwall.snapshot import MeterSnapshot


@dataclass(frozen=True, slots=True)
class Detection:
    """What one tick showed: rates of both scopes, and new findings, the worst first.

    A source that is over is told once, be it for itself or for its prefix.
    """

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
        self._banned = banned
        self._spared = spared
        self._source_meter = RateMeter()
        self._prefix_meter = RateMeter()
        self._sources = Limiter(Scope.SOURCE, source_limits)
        self._prefixes = Limiter(Scope.PREFIX, prefix_limits)
        self._blamed: dict[int, Keys] = {}

    def observe(self, sources: MeterSnapshot, prefixes: MeterSnapshot) -> Detection:
        """Take in one tick's snapshots."""
        source_rates = self._source_meter.update(sources)
        prefix_rates = self._prefix_meter.update(prefixes)
        findings = self._sources.observe(source_rates, self._skip_source)
        self._settle_blame()
        known = {key for keys in self._blamed.values() for key in keys.tolist()}
        findings = [finding for finding in findings if finding.key not in known]
        attribution = attribute(
            self._prefixes.observe(prefix_rates, self._skip_prefix), source_rates, self._skip_source
        )
        self._blamed.update(attribution.blamed)
        if attribution.findings:
            known.update(self._sources.over.tolist())
        findings += [
            finding
            for finding in attribution.findings
            if finding.scope is Scope.PREFIX or finding.key not in known
        ]
        findings.sort(key=lambda finding: -finding.severity)
        return Detection(source_rates, prefix_rates, findings)

    def set_limits(self, source_limits: Limits, prefix_limits: Limits) -> None:
        """Put other limits in force from the next tick on."""
        self._sources.set_limits(source_limits)
        self._prefixes.set_limits(prefix_limits)

    def release(self, findings: list[Finding]) -> None:
        """Forget these findings, because no ban came of them: they are found again if the traffic goes on."""
        sources = [finding.key for finding in findings if finding.scope is Scope.SOURCE]
        prefixes = [finding.key for finding in findings if finding.scope is Scope.PREFIX]
        blamed = set(sources)
        for prefix, keys in list(self._blamed.items()):
            if not blamed.isdisjoint(keys.tolist()):
                prefixes.append(prefix)
                del self._blamed[prefix]
        self._sources.release(np.array(sources, np.uint64))
        self._prefixes.release(np.array(prefixes, np.uint64))

    @property
    def over(self) -> tuple[Keys, Keys]:
        """Sources and prefixes that are over now and not banned."""
        return self._sources.over, self._prefixes.over

    def _settle_blame(self) -> None:
        """Let a spared prefix be found again once the sources blamed for it are banned: the rest may be over too.

        Until then it stays over, so that the same sources are not found again in every tick (under
        ``policy = "observe"`` they are never banned).
        """
        still_over = set(self._prefixes.over.tolist())
        done = [
            prefix
            for prefix, keys in self._blamed.items()
            if prefix not in still_over or self._skip_source(keys).all()
        ]
        for prefix in done:
            del self._blamed[prefix]
        if done:
            self._prefixes.release(np.array(done, np.uint64))

    def _skip_source(self, keys: Keys) -> Mask:
        return self._banned.covers_sources(keys) | self._spared.covers_sources(keys)

    def _skip_prefix(self, keys: Keys) -> Mask:
        return self._banned.covers_prefixes(keys) | self._spared.covers_prefixes(keys)
