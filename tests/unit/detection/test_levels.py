# SPDX-License-Identifier: Apache-2.0
"""Histograms, and budgets from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.detection.levels import Levels, proposed_budget, round_up, step_of, top_of

figures = st.integers(0, 1 << 45)


@given(figures)
def test_a_step_holds_its_value_within_6_percent(value: int) -> None:
    step = step_of(value)
    assert value <= top_of(step) <= value + max(0, value // 16)
    assert value == 0 or top_of(step - 1) < value


@given(st.lists(figures, min_size=1), st.floats(0, 100))
def test_percentiles_are_never_too_low(values: list[int], percent: float) -> None:
    levels = Levels()
    for value in values:
        levels.add(value)
    found = levels.percentile(percent)
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6
    assert found <= max(values)
    assert levels.percentile(100) == max(values)


@given(st.lists(figures), st.lists(figures))
def test_two_times_add_up(one: list[int], other: list[int]) -> None:
    parts = [Levels(), Levels(), Levels()]
    for part, values in zip(parts, (one, other, one + other), strict=True):
        for value in values:
            part.add(value)
    parts[0].take(parts[1])
    assert parts[0] == parts[2]
    assert Levels.unpack(parts[2].pack()) == parts[2]


@given(st.lists(figures, min_size=1), figures)
def test_above_counts_no_second_too_few(values: list[int], limit: int) -> None:
    levels = Levels()
    for value in values:
        levels.add(value)
    above = sum(value > limit for value in values)
    assert above <= levels.above(limit)
    assert levels.above(max(values)) == 0
    assert levels.above(limit) <= sum(value > limit - limit // 16 - 1 for value in values)


def test_the_percentile_of_a_thousand_seconds() -> None:
    levels = Levels()
    levels.add(10, 999)
    levels.add(5_000)
    assert levels.percentile(99.9) == 10
    assert levels.percentile(99.95) == 5_000
    assert Levels().percentile(99.9) == 0


def test_a_broken_record_is_refused() -> None:
    with pytest.raises(ValueError, match="no histogram"):
        Levels.unpack(b"123456789")


@pytest.mark.parametrize(
    ("value", "rounded"), [(0, 0), (0.2, 1), (7, 7), (99, 99), (100.5, 110), (1234, 1300), (99_001, 100_000)]
)
def test_rounding(value: float, rounded: int) -> None:
    assert round_up(value) == rounded


def test_a_budget_has_a_floor() -> None:
    levels = Levels()
    levels.add(1_000, 100)
    assert proposed_budget(levels, percent=99, factor=2, floor=400) == 2_000
    assert proposed_budget(levels, percent=99, factor=2, floor=10_000) == 10_000
    assert proposed_budget(Levels(), percent=99, factor=2, floor=400) == 400
