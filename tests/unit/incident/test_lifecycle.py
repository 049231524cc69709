# SPDX-License-Identifier: Apache-2.0
"""When an incident begins and ends."""

from __future__ import annotations

from xdpwall.incident.lifecycle import Lifecycle, LifeRules, Turn

MS = 1_000_000
RULES = LifeRules(open_after_ms=1_000, close_after_ms=60_000, close_below=0.5)


class Story:
    """Lives through spans of one ratio each."""

    def __init__(self) -> None:
        self.life = Lifecycle(RULES)
        self.now = 0
        self.turns: list[tuple[int, Turn]] = []

    def span(self, ratio: float, milliseconds: int, step_ms: int = 100) -> Story:
        for _ in range(milliseconds // step_ms):
            before, self.now = self.now, self.now + step_ms * MS
            turn = self.life.step(ratio, ratio, before, self.now)
            if turn is not Turn.NONE:
                self.turns.append((self.now // MS, turn))
        return self


def test_just_over_opens_after_the_whole_time() -> None:
    story = Story().span(0.2, 1_000).span(1.0, 2_000)
    assert story.turns == [(2_000, Turn.OPENED)]


def test_far_over_opens_sooner_but_never_in_one_tick() -> None:
    assert Story().span(5.0, 1_000).turns == [(200, Turn.OPENED)]
    assert Story().span(10_000.0, 100).span(0.0, 1_000).turns == []


def test_short_bursts_do_not_add_up() -> None:
    story = Story()
    for _ in range(20):
        story.span(1.5, 300).span(0.1, 700)
    assert story.turns == []


def test_it_begins_where_it_was_first_over() -> None:
    story = Story().span(0.1, 500).span(1.2, 200)
    assert story.life.suspect_since_ns == 500 * MS


def test_it_ends_after_quiet() -> None:
    story = Story().span(5.0, 1_000).span(0.1, 70_000)
    assert [turn for _, turn in story.turns] == [Turn.OPENED, Turn.CLOSED]
    assert story.turns[1][0] == 61_000
    assert story.life.last_over_ns == 1_000 * MS


def test_between_the_thresholds_nothing_changes() -> None:
    story = Story().span(5.0, 1_000).span(0.7, 200_000)
    assert story.life.open
    assert not Story().span(0.7, 200_000).life.open


def test_a_pulse_within_the_time_keeps_it_open() -> None:
    story = Story()
    for _ in range(5):
        story.span(5.0, 5_000).span(0.0, 30_000)
    assert story.life.open
    assert len(story.turns) == 1


def test_a_stumble_is_no_end_of_a_pulse() -> None:
    story = Story().span(5.0, 1_000).span(0.0, 1_500)
    assert story.life.in_burst
    assert not story.span(0.0, 1_000).life.in_burst


def test_a_restart_takes_it_over() -> None:
    life = Lifecycle(RULES)
    life.resume(0)
    assert life.step(0.0, 0.0, 30_000 * MS, 30_100 * MS) is Turn.NONE
    assert life.step(0.0, 0.0, 59_900 * MS, 60_000 * MS) is Turn.CLOSED
