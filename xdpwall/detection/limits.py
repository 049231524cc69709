# SPDX-License-Identifier: Apache-2.0
"""What a source or a prefix may send: plain numbers, filled in by control from the config."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a limit counts, per second: packets, bits (of L2 bytes), SYNs, UDP packets, ICMP packets."""

    PPS = "pps"
    BPS = "bps"
    SYN = "syn"
    UDP = "udp"
    ICMP = "icmp"


KINDS: tuple[Kind, ...] = tuple(Kind)
"""The kinds in the order of every array with one row a kind."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per second of one scope; 0 switches a kind off.

    Args:
        pps: packets.
        bps: bits of L2 bytes.
        syn: TCP with SYN and without ACK.
        udp: UDP packets.
        icmp: ICMP and ICMPv6 packets.
        burst_s: how many seconds' worth of a limit may come at once: the depth of the token bucket.

    Raises:
        ValueError: a negative limit, or a burst that is not above 0.
    """

    pps: int = 0
    bps: int = 0
    syn: int = 0
    udp: int = 0
    icmp: int = 0
    burst_s: float = 1.0

    def __post_init__(self) -> None:
        if min(self.per_kind()) < 0:
            raise ValueError(f"limits are 0 (off) or more, not {min(self.per_kind())}")
        if not 0 < self.burst_s < float("inf"):
            raise ValueError(f"burst_s must be above 0, not {self.burst_s}")

    def per_kind(self) -> tuple[int, ...]:
        """The limits in the order of :data:`KINDS`."""
        return (self.pps, self.bps, self.syn, self.udp, self.icmp)
