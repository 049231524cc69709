# SPDX-License-Identifier: Apache-2.0
"""Rates of the bans' own counters, and which meters lie in a prefix."""

from __future__ import annotations

import numpy as np
import pytest

from xdpwall.dataplane.keys import source_key
from xdpwall.detection.knocking import KnockMeter, Knocks
from xdpwall.detection.within import only_within
from xdpwall.model import Prefix
from xdpwall.snapshot import METER_DTYPE

SECOND = 1_000_000_000


def look(meter: KnockMeter, seconds: float, *rows: tuple[int, int, int]) -> Knocks:
    keys, packets, size = np.array(rows, np.uint64).reshape(-1, 3).T
    return meter.update(keys, packets, size, round(seconds * SECOND))


def test_rates_between_two_looks() -> None:
    meter = KnockMeter()
    assert look(meter, 1, (7, 100, 6_400)).busiest(10) == []
    knocks = look(meter, 3, (9, 50, 3_200), (7, 300, 6_800), (5, 0, 0))
    assert knocks.busiest(10) == [(7, 100, 1_600), (9, 25, 12_800)]
    assert knocks.busiest(1, by_bytes=True) == [(9, 25, 12_800)]
    assert knocks.of(9) == (25, 12_800)
    assert knocks.of(5) == (0, 0)
    assert look(meter, 3, (7, 301, 6_900)).busiest(10) == [], "time stood still"


def test_counters_wrap_and_begin_anew() -> None:
    meter = KnockMeter()
    look(meter, 1, (7, (1 << 32) - 10, (1 << 36) - 16), (8, 500, 500 * 64))
    knocks = look(meter, 2, (7, 20, 16), (8, 3, 3 * 64))
    assert knocks.of(7) == (30, 32 * 8)
    assert knocks.of(8) == (3, 3 * 64 * 8), "the ban was lifted and made again"


def test_nobody_is_banned() -> None:
    meter = KnockMeter()
    for second in (1, 2):
        assert len(look(meter, second).keys) == 0


@pytest.mark.parametrize(
    ("within", "found"),
    [
        ("198.51.100.0/24", {"198.51.100.1", "198.51.100.255"}),
        ("198.51.100.1", {"198.51.100.1"}),
        ("0.0.0.0/0", {"198.51.100.1", "198.51.100.255", "198.51.101.1"}),
        ("2001:db8::/32", {"2001:db8::/64", "2001:db8:ff::/64"}),
        ("2001:db8::7", {"2001:db8::/64"}),
        ("::/0", {"2001:db8::/64", "2001:db8:ff::/64", "2001:db9::/64"}),
        ("10.0.0.0/8", set()),
    ],
)
def test_only_within(within: str, found: set[str]) -> None:
    names = [
        "198.51.100.1", "198.51.100.255", "198.51.101.1", "2001:db8::1", "2001:db8:ff::", "2001:db9::",
    ]  # fmt: skip
    slots = np.zeros(20, METER_DTYPE)
    slots["key"][3:9] = [source_key(Prefix.parse_source(name)) for name in names]
    kept = only_within(slots, Prefix.parse(within))
    assert set(kept["key"].tolist()) == {source_key(Prefix.parse_source(n)) for n in found}
