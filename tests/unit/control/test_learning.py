# SPDX-License-Identifier: Apache-2.0
"""What counts as a quiet second, and the record of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xdpwall.clock import ManualClock
from xdpwall.control import learned
from xdpwall.control.database import Database
from xdpwall.control.learning import HOUR_MS, Learned, Learning
from xdpwall.detection.levels import Levels, Observed
from xdpwall.lanes import Lane

SYN, UDP = Lane.SYN, Lane.UDP
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS


class Life:
    """Seconds of a host."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.learning = Learning()
        self.packets = 0
        self.wall_ms = START_MS
        self.live(1, 0)

    def live(self, seconds: int, pps: int, *, attack: bool = False, span: float = 1.0) -> None:
        for _ in range(seconds):
            self.clock.advance_ms(int(span * 1000))
            self.wall_ms += int(span * 1000)
            self.packets += pps
            self.learning.second(
                {SYN: (self.packets, self.packets * 60), UDP: (0, 0)},
                attack=attack,
                mono_ns=self.clock.mono_ns(),
                wall_ms=self.wall_ms,
            )

    def seconds(self, *, quiet: bool, lane: Lane = SYN) -> list[int]:
        """How often each figure was seen, as (figure, times), exact below 32."""
        total = Levels()
        for part in self.learning.take():
            if part.lane is lane and part.quiet is quiet:
                total.take(part.observed.pps)
        return sorted(value for value, times in total.counts.items() for _ in range(times))


def test_a_second_counts_a_minute_later() -> None:
    life = Life()
    life.live(60, 7)
    assert life.seconds(quiet=True) == []
    life.live(10, 9)
    assert life.seconds(quiet=True) == [7] * 10
    assert life.seconds(quiet=False) == []


def test_the_minutes_around_an_attack_are_kept_apart() -> None:
    life = Life()
    life.live(100, 3)
    assert life.seconds(quiet=True) == [3] * 40
    life.live(5, 20, attack=True)
    life.live(59, 10)
    life.live(200, 4)
    parts = life.learning.take()
    quiet = next(p.observed.pps for p in parts if p.lane is SYN and p.quiet)
    busy = next(p.observed.pps for p in parts if p.lane is SYN and not p.quiet)
    assert set(quiet.counts) == {4}
    assert busy.counts == {3: 60, 20: 5, 10: 59}


def test_bits_are_of_the_bytes() -> None:
    life = Life()
    life.live(70, 10)
    (part, _) = life.learning.take()
    assert part.observed.bps.highest == 10 * 60 * 8


def test_a_time_that_is_no_second_is_left_out() -> None:
    life = Life()
    life.live(1, 10_000, span=10)  # the machine slept
    life.live(80, 5)
    assert set(life.seconds(quiet=True)) == {5}


def test_rates_are_per_second() -> None:
    life = Life()
    life.live(50, 40, span=2)
    assert set(life.seconds(quiet=True)) == {20}


def test_another_wall_begins_at_nothing() -> None:
    life = Life()
    life.live(70, 5)
    life.packets = 0
    life.live(70, 5)
    assert set(life.seconds(quiet=True)) == {5}
    life.packets = 1_000_000
    life.learning.restart()
    life.live(70, 5)
    assert set(life.seconds(quiet=True)) == {5}


def test_what_waits_is_taken_at_the_end() -> None:
    life = Life()
    life.live(10, 5)
    assert life.learning.take() == []
    (part, _) = life.learning.take(everything=True)
    assert part.observed.pps.counts == {5: 10}


def test_hours_are_apart() -> None:
    life = Life()
    life.live(3_700, 5)
    assert {part.hour_ms for part in life.learning.take()} == {START_MS, START_MS + HOUR_MS}


def observed(*figures: int) -> Observed:
    made = Observed()
    for figure in figures:
        made.pps.add(figure)
        made.bps.add(figure * 480)
    return made


def store(database: Database, parts: Sequence[Learned], at: int) -> None:
    database.work(lambda db: learned.add(db, parts, at))


def test_the_record_adds_up_and_forgets(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    now = START_MS + 40 * 24 * HOUR_MS

    def add(*parts: Learned, at: int = now) -> None:
        store(database, parts, at)

    add(Learned(START_MS, SYN, True, observed(1)), at=START_MS)
    add(Learned(now, SYN, True, observed(5, 6)), Learned(now, SYN, False, observed(900)))
    add(Learned(now, SYN, True, observed(7)), Learned(now + HOUR_MS, UDP, True, observed(3)))
    found = database.work(lambda db: learned.read(db, 0))
    assert set(found) == {(SYN, True), (SYN, False), (UDP, True)}
    assert found[SYN, True] == observed(5, 6, 7)
    assert found[SYN, False] == observed(900)
    add(at=now + 4 * 24 * HOUR_MS)  # hours become a day
    assert database.work(lambda db: db.execute("SELECT COUNT(*) FROM lane_levels").fetchone()[0]) == 3
    assert database.work(lambda db: learned.read(db, now)) == found
    assert database.work(lambda db: learned.read(db, now + 24 * HOUR_MS)) == {}
    database.close()
    looking = Database(tmp_path / "state.db", read_only=True)
    assert looking.work(lambda db: learned.read(db, 0)) == found
    looking.close()


def test_a_month_is_small(tmp_path: Path) -> None:
    """Not the disk, not the memory: a month of all lanes, in noisy traffic, stays within a few megabytes."""
    path = tmp_path / "state.db"
    database = Database(path)
    noisy = observed(*(step * 37 % 40_000 for step in range(3_600)))
    for hour in range(24 * 35):
        parts = [
            Learned(START_MS + hour * HOUR_MS, lane, True, Observed(noisy.pps, noisy.bps)) for lane in Lane
        ]
        store(database, parts, START_MS + hour * HOUR_MS)
    database.close()
    assert path.stat().st_size < 5 << 20
