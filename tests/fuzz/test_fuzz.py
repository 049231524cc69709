# SPDX-License-Identifier: Apache-2.0
"""A short run of the fuzzer, the same packets each time; `make fuzz` goes on from here."""

from __future__ import annotations

from unittest import mock

import pytest

from tests.fuzz import walls
from tests.fuzz.run import Report, fuzz
from tests.fuzz.seeds import seeds
from tests.fuzz.walls import BANNED, Subject, subjects

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
PACKETS = 150_000
LONGEST_S = 300
"""It takes two seconds; a busy machine may take its time."""


def short(subject: Subject, *, packets: int = PACKETS, dice: int = 7) -> Report:
    return fuzz(subject, seeds(), packets=packets, seconds=LONGEST_S, dice=dice)


@pytest.mark.parametrize("name", ["plain", "spent", "storm", "observe", "lax"])
def test_no_packet_breaks_a_rule(driver: None, name: str) -> None:
    report = short(subjects()[name])
    assert report.broken is None
    assert report.findings == []
    assert report.packets >= PACKETS
    assert report.edges >= report.edges_of_seeds > 500
    assert report.states >= 20
    assert (report.echoes > 0) == (name == "storm")


def test_the_same_seed_shows_the_same_packets(driver: None) -> None:
    first, second = (short(subjects()["plain"], packets=30_000, dice=3) for _ in range(2))
    assert (first.packets, first.bytes, first.edges) == (second.packets, second.bytes, second.edges)
    other = short(subjects()["plain"], packets=30_000, dice=4)
    assert other.bytes != first.bytes


def test_a_ban_that_does_not_hold_is_found(driver: None) -> None:
    """The rules are told of a ban that the wall has not: what they are worth."""
    lists = [*walls._lists(), f"role 4 32 {BANNED} c0000207"]  # 192.0.2.7, the source of most seeds
    with mock.patch.object(walls, "_lists", lambda: lists):
        report = short(subjects()["plain"], packets=20_000)
    assert {finding["finding"] for finding in report.findings} == {"banned-passed"}
