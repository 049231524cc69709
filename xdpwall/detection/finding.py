# SPDX-License-Identifier: Apache-2.0
"""What detection has to say about one source or prefix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from xdpwall.detection.limits import Kind
from xdpwall.model import Prefix


class Scope(StrEnum):
    """Whether a finding speaks of one source (IPv4 /32, IPv6 /64) or of a prefix (/24, /48)."""

    SOURCE = "source"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Finding:
    """A source or prefix went over a limit.

    Args:
        scope: source or prefix.
        prefix: which one.
        key: the same as the kernel packs it.
        kind: the limit it broke; of several the one it broke by the largest factor.
        rate: what it sent in the tick that broke the limit, per second, in the limit's unit.
        limit: the limit per second.
        mono_ns: when the snapshot was read that showed it.
        within: set when it was a prefix that broke its limit, and this source is blamed for it: that prefix ...
        within_rate: ... and what all of it sent per second.
    """

    scope: Scope
    prefix: Prefix
    key: int
    kind: Kind
    rate: int
    limit: int
    mono_ns: int
    within: Prefix | None = None
    within_rate: int = 0

    @property
    def severity(self) -> float:
        """How many times the limit came: ``rate / limit``, of the whole prefix for a source blamed for it."""
        return (self.within_rate if self.within else self.rate) / self.limit

    @property
    def text(self) -> str:
        """For people and for a ban's reason, for example ``syn 812/s over 100/s``."""
        label, rate, limit = _LABELS[self.kind], short_number(self.rate), short_number(self.limit)
        if self.within is None:
            return f"{label} {rate}/s over {limit}/s"
        return f"{label} {rate}/s of {short_number(self.within_rate)}/s in {self.within}, over {limit}/s"


_LABELS = {Kind.PPS: "packets", Kind.BPS: "bits", Kind.SYN: "syn", Kind.UDP: "udp", Kind.ICMP: "icmp"}


def short_number(number: int) -> str:
    """Exact below a hundred thousand; above it two decimals at most and a letter: ``812``, ``24M``, ``1.25G``."""
    if number < 100_000:
        return str(number)
    for unit, letter in ((1_000_000_000, "G"), (1_000_000, "M")):
        if number >= unit:
            return f"{number / unit:.2f}".rstrip("0").rstrip(".") + letter
    return f"{number / 1_000:.2f}".rstrip("0").rstrip(".") + "k"
