# SPDX-License-Identifier: Apache-2.0
"""From rounds to figures: the machine's drift must cancel, and no row may always run at the same place of a round."""

from __future__ import annotations

import pytest

from xdpwall.bench.figures import Spread, differences, ratios, rotated


def test_drift_cancels_in_ratios() -> None:
    """A machine three times slower in some rounds: the ratio stays, the nanoseconds do not."""
    pace = [1.0, 3.0, 1.1, 2.5, 1.0]
    bare = [80 * p for p in pace]
    wall = [120 * p for p in pace]
    assert Spread.of(ratios(wall, bare)) == pytest.approx(Spread(1.5, 1.5, 1.5, 1.5))
    assert Spread.of(wall).relative > 0.5


def test_spread() -> None:
    spread = Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (spread.least, spread.low, spread.median, spread.high) == (1, 2, 3, 4)
    assert spread.relative == pytest.approx(2 / 3)
    assert Spread.of([7.0]) == Spread(7, 7, 7, 7)


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0, 2.0], [1.0])
    assert differences([3.0, 5.0], [1.0, 1.0]) == [2, 4]


def test_every_row_runs_once_a_round_and_at_every_place() -> None:
    names = ["a", "b", "c", "d", "e"]
    orders = [rotated(names, number) for number in range(10)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == set(names)
    # What runs right before a row leaves it caches: it must not always be the same one.
    before = {order[(order.index("c") - 1) % 5] for order in orders}
    assert before == {"b", "d"}
