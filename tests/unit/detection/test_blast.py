# SPDX-License-Identifier: Apache-2.0
"""How many known sources may be banned in an hour."""

from __future__ import annotations

import pytest

from xdpwall.detection.blast import HOUR_NS, LEAST, BlastRadius


@pytest.mark.parametrize(
    ("percent", "known", "most"),
    [(5, 0, LEAST), (5, 59, LEAST), (5, 1_000, 50), (100, 10, 10), (0, 10_000, 0)],
)
def test_a_share_and_a_few(percent: int, known: int, most: int) -> None:
    assert BlastRadius(percent).room(known, 0) == most


def test_what_was_taken_comes_back_after_an_hour() -> None:
    radius = BlastRadius(5)
    radius.took(30, 0)
    radius.took(15, HOUR_NS // 2)
    assert radius.room(1_000, HOUR_NS - 1) == 5
    assert radius.room(1_000, HOUR_NS) == 35
    assert radius.room(100, HOUR_NS) == 0
    assert radius.room(1_000, 2 * HOUR_NS) == 50
