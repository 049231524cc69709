# SPDX-License-Identifier: Apache-2.0
"""The busiest sources, for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from xdpwall.detection.finding import Scope
from xdpwall.detection.keys import Keys, Places, find, prefix_of, source_of
from xdpwall.detection.rates import COUNTERS, Counts, Rates, full_ticks
from xdpwall.model import Prefix
from xdpwall.snapshot import Meters, MeterSnapshot


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

    Totals are since its meter slots began; rates are per second over the time of the given rates. ``fragments`` and
    ``drops`` are 32-bit counters of the kernel and wrap. ``first_ago_ms`` and ``last_ago_ms`` are milliseconds before
    the snapshot.
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


_RATES = {
    SortBy.PPS: "packets",
    SortBy.BPS: "bytes",
    SortBy.SYN: "syn",
    SortBy.UDP: "udp",
    SortBy.ICMP: "icmp",
}
"""The counter of the rates behind each order by rate; the other orders are named after a field of the slots."""


def top(
    snapshot: MeterSnapshot,
    rates: Rates,
    *,
    sort: SortBy = SortBy.PPS,
    limit: int = 20,
    scope: Scope = Scope.SOURCE,
) -> list[SourceRow]:
    """The first ``limit`` sources of a table in the order asked for.

    Sources that are quiet now are in it too, behind those that send; in an order by rate equals come by packets.

    Args:
        snapshot: the whole table.
        rates: of the same table. Over a second or more they are steadier for people than over one tick: keep a
            ``RateMeter`` of its own for them.
        sort: the order.
        limit: at most so many.
        scope: whether the table is of sources or of prefixes.
    """
    slots = snapshot.slots
    held_keys = slots["key"].copy()  # read once: the table may be a live view
    held = np.flatnonzero(held_keys)
    if limit <= 0 or not len(held):
        return []
    order = held[np.argsort(held_keys[held])]
    ordered = held_keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    keys: Keys = ordered[starts]
    packets = _sums(slots["packets"], order, starts)
    if sort in _RATES:
        measure = np.zeros(len(keys), np.uint64)
        places, present = find(keys, rates.keys)
        measure[places[present]] = rates.counter(_RATES[sort])[present]
    elif sort is SortBy.LAST:
        last = full_ticks(slots["last"][order], snapshot.now_tick)
        measure = np.maximum.reduceat(last, starts).astype(np.uint64)
    else:
        measure = _sums(slots[sort.value], order, starts)
    stops = np.append(starts[1:], len(order))
    return [
        _row(snapshot, keys[place : place + 1], slots[order[starts[place] : stops[place]]], rates, scope)
        for place in _largest(measure, packets, limit).tolist()
    ]


def _sums(column: npt.NDArray[np.generic], order: Places, starts: Places) -> Counts:
    sums: Counts = np.add.reduceat(column[order], starts, dtype=np.uint64)
    return sums


def _largest(measure: Counts, packets: Counts, limit: int) -> Places:
    """Places of the largest, in order. Only as many as needed are sorted."""
    if limit < len(measure):
        least = np.partition(measure, len(measure) - limit)[len(measure) - limit]
        above, equal = np.flatnonzero(measure > least), np.flatnonzero(measure == least)
        wanted = limit - len(above)
        if wanted < len(equal):
            equal = equal[np.argpartition(packets[equal], len(equal) - wanted)[len(equal) - wanted :]]
        places = np.concatenate([above, equal])
    else:
        places = np.arange(len(measure))
    # Not negated: these are unsigned. Reversed, the last key of lexsort still counts most.
    return places[np.lexsort((places, packets[places], measure[places]))[::-1]]


def _row(snapshot: MeterSnapshot, keys: Keys, slots: Meters, rates: Rates, scope: Scope) -> SourceRow:
    """One row, of the one key in ``keys`` and its slots."""
    key = int(keys[0])
    places, present = find(rates.keys, keys)
    sent = rates.deltas[:, places[0]].tolist() if present[0] else [0] * len(COUNTERS)
    per_second = {
        name: round(count * 1e9 / rates.dt_ns) for name, count in zip(COUNTERS, sent, strict=True) if count
    }
    first = int(full_ticks(slots["first"], snapshot.now_tick).min())
    last = int(full_ticks(slots["last"], snapshot.now_tick).max())
    return SourceRow(
        prefix=source_of(key) if scope is Scope.SOURCE else prefix_of(key),
        key=key,
        packets=int(slots["packets"].sum()),
        bytes=int(slots["bytes"].sum()),
        fragments=int(slots["fragments"].sum(dtype=np.uint64)),
        drops=int(slots["drops"].sum(dtype=np.uint64)),
        pps=per_second.get("packets", 0),
        bps=8 * per_second.get("bytes", 0),
        syn_pps=per_second.get("syn", 0),
        udp_pps=per_second.get("udp", 0),
        icmp_pps=per_second.get("icmp", 0),
        first_ago_ms=(snapshot.now_tick - first) * 1_000 // snapshot.tick_hz,
        last_ago_ms=(snapshot.now_tick - last) * 1_000 // snapshot.tick_hz,
    )
