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
    """

    scope: Scope
    prefix: Prefix
    key: int
    kind: Kind
    rate: int
    limit: int
    mono_ns: int

    @property
    def severity(self) -> float:
        """How many times the limit it sent: ``rate / limit``."""
        return self.rate / self.limit

    @property
    def text(self) -> str:
        """For people and for a ban's reason, for example ``syn 812/s over 100/s``."""
        return f"{_LABELS[self.kind]} {_short(self.rate)}/s over {_short(self.limit)}/s"


_LABELS = {Kind.PPS: "packets", Kind.BPS: "bits", Kind.SYN: "syn", Kind.UDP: "udp", Kind.ICMP: "icmp"}


def _short(number: int) -> str:
    """Exact below a hundred thousand, three or more digits and a letter above: ``24M``, ``1.25G``."""
    if number < 100_000:
        return str(number)
    for unit, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.2f}".rstrip("0").rstrip(".") + letter
    raise AssertionError(number)
