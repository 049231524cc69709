# SPDX-License-Identifier: Apache-2.0
"""How true the counters of heavy sources stay in a flood of random ones."""

from __future__ import annotations

import statistics

from xdpwall.bench import bars
from xdpwall.bench.gun import Gun
from xdpwall.bench.result import Result
from xdpwall.bench.stand import LoadedWall
from xdpwall.bench.traffic import Family, Traffic, sources
from xdpwall.dataplane.keys import source_key

HEAVY = 1_000
_LISTED = 0.1
KEYS: dict[str, Family] = {"accuracy": 4, "accuracy_v6": 6}
"""Where the result of each family stands in the bench's."""


def measure(gun: Gun, wall: LoadedWall, packets: int, family: Family = 4) -> Result:
    """Send a flood, nine tenths of it from random sources and a tenth from 1,000 heavy ones.

    What each heavy one sent is compared with what the wall's meters say of it, in percent of what it sent. The wall
    must not have seen them before.
    """
    gun.clear_tallies()
    shot = gun.live(wall.lab, Traffic(family, HEAVY, listed=_LISTED), packets, tally=True)
    sent = gun.tallies(HEAVY)
    slots = wall.wall.sources().slots
    counted: dict[int, int] = {}
    for key, number in zip(slots["key"].tolist(), slots["packets"].tolist(), strict=True):
        counted[key] = counted.get(key, 0) + number
    errors = [
        100 * abs(counted.get(source_key(source), 0) - true) / max(1, true)
        for source, true in zip(sources(family, HEAVY), sent, strict=True)
    ]
    median, worst = statistics.median(errors), max(errors)
    return {
        "packets": shot.received,
        "lost_packets": shot.lost,
        "pps": round(1e9 / shot.ns_a_packet),
        "heavy_sources": HEAVY,
        "heavy_packets_each": round(statistics.mean(sent)),
        "exact_sources": sum(1 for error in errors if error == 0),
        "median_percent": round(median, 4),
        "median_bar_percent": bars.ACCURACY_MEDIAN_PERCENT,
        "median_met": bars.met(median, bars.ACCURACY_MEDIAN_PERCENT),
        "worst_percent": round(worst, 4),
        "worst_bar_percent": bars.ACCURACY_WORST_PERCENT,
        "worst_met": bars.met(worst, bars.ACCURACY_WORST_PERCENT),
    }
