# SPDX-License-Identifier: Apache-2.0
"""The busiest sources, for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from xdpwall.detection.rates import Rates
from xdpwall.model import Prefix
from xdpwall.snapshot import MeterSnapshot


class SortBy(StrEnum):
    """What to sort by, largest first; ``LAST`` is the newest packet first."""

    PPS = "pps"
    BPS = "bps"
    SYN = "syn"
    UDP = "udp"
    ICMP = "icmp"
    PACKETS = "packets"
    BYTES = "bytes"
    FRAGMENTS = "fragments"
    DROPS = "drops"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source or prefix.

    Totals are since its meter slots began; rates are per second over the time of the given rates. ``first_ago_ms`` and
    ``last_ago_ms`` are milliseconds before the snapshot.
    """

    prefix: Prefix
    key: int
    packets: int
    bytes: int
    fragments: int
    drops: int
    pps: int
    bps: int
    syn_pps: int
    udp_pps: int
    icmp_pps: int
    first_ago_ms: int
    last_ago_ms: int


def top(
    snapshot: MeterSnapshot, rates: Rates, *, sort: SortBy = SortBy.PPS, limit: int = 20
) -> list[SourceRow]:
    """The first ``limit`` sources of a table in the order asked for.

    Args:
        snapshot: the whole table: sources that are quiet now are in it too.
        rates: of the same table. Over a second or more they are steadier for people than over one tick: keep a
            ``RateMeter`` of its own for them.
        sort: the order; equals are ordered by packets, then key.
        limit: at most so many.
    """
    raise NotImplementedError
