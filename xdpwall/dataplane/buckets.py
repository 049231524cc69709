# SPDX-License-Identifier: Apache-2.0
"""Limits per second into the kernel's token buckets: units in which 32 bits suffice and a tick gains whole numbers.

A packet costs 2**k tokens with the largest k up to 10 that lets the bucket fit 31 bits, so that what a tick gains is
off by 0.05 % at most at 100 packets a second and 1,000 ticks. Bytes cost one token each, or are shifted right where a
limit is beyond 17 Gbit/s.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.config import Config
from xdpwall.config_sections import PrefixLimits, SourceLimits

_LARGEST = (1 << 31) - 1
_FINEST = 10
_SMALLEST_PACKETS = 4
_SMALLEST_BYTES = 131_072
"""A bucket takes at least this: generic mode hands over up to 64 KiB at once."""
_SMALLEST_MS = 20
"""And what comes in two ticks of the slowest kernel (HZ = 100)."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit in the kernel's units. ``cap`` is 0 where the limit is off.

    ``cost``: tokens of a packet; for bytes instead the right shift of a length.
    """

    cap: int
    cost: int
    per_second: int

    def rate(self, hz: int) -> int:
        """What the bucket gains each tick, at least 1."""
        return max(1, round(self.per_second / hz))


OFF = Bucket(0, 0, 0)


def packets(limit: int, burst_ms: int) -> Bucket:
    """Bucket for a limit in packets per second; 0 is off."""
    if limit == 0:
        return OFF
    size = max(limit * max(burst_ms, _SMALLEST_MS) // 1000, _SMALLEST_PACKETS)
    fine = _FINEST
    while fine and size << fine > _LARGEST:
        fine -= 1
    return Bucket(min(size << fine, _LARGEST), 1 << fine, limit << fine)


def data(limit_bits: int, burst_ms: int) -> Bucket:
    """Bucket for a limit in bits per second; 0 is off."""
    if limit_bits == 0:
        return OFF
    size = max(limit_bits // 8 * max(burst_ms, _SMALLEST_MS) // 1000, _SMALLEST_BYTES)
    shift = 0
    while size >> shift > _LARGEST:
        shift += 1
    return Bucket(size >> shift, shift, limit_bits // 8 >> shift)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The limits of one scope that the kernel itself holds."""

    pps: Bucket
    bps: Bucket
    syn: Bucket

    @classmethod
    def of(cls, limits: SourceLimits | PrefixLimits) -> Buckets:
        """From the config's section."""
        burst = limits.burst_ms
        return cls(packets(limits.pps, burst), data(limits.bps, burst), packets(limits.syn, burst))

    def defines(self, scope: str) -> dict[str, int | str]:
        """``-D`` constants; ``scope`` is SOURCE or PREFIX."""
        return {
            f"{scope}_PPS_CAP": f"{self.pps.cap}ULL",
            f"{scope}_PPS_COST": f"{self.pps.cost}ULL",
            f"{scope}_BPS_CAP": f"{self.bps.cap}ULL",
            f"{scope}_BPS_SHIFT": self.bps.cost,
            f"{scope}_SYN_CAP": f"{self.syn.cap}ULL",
            f"{scope}_SYN_COST": f"{self.syn.cost}ULL",
        }

    def rates(self, first_placeholder: int, hz: int) -> dict[int, int]:
        """Load-time constants by their placeholders, those that are compiled in."""
        return {
            first_placeholder + number: bucket.rate(hz)
            for number, bucket in enumerate((self.pps, self.bps, self.syn))
            if bucket.cap
        }


def of_config(config: Config) -> tuple[Buckets, Buckets]:
    """Source and prefix buckets of a config."""
    return Buckets.of(config.limits.source), Buckets.of(config.limits.prefix)
