# SPDX-License-Identifier: Apache-2.0
"""When packets are due, with a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.lab.pace import CHUNK, TICK_NS, Pace, Pulsed, Recorded, Steady, Swarm, Until, drive

SECOND = 1_000_000_000


class Machine:
    """Pushes at most so many packets a second, on a clock of its own."""

    def __init__(self, speed: int) -> None:
        self.now = 0
        self.sent = 0
        self.pushes: list[tuple[int, int]] = []
        self._speed = speed

    def push(self, packets: int) -> int:
        assert 0 < packets <= CHUNK
        self.pushes.append((self.now, packets))
        self.now += packets * SECOND // self._speed + 30_000
        self.sent += packets
        return self.sent

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * SECOND) + 50_000

    def run(self, pace: Pace, until: Until) -> None:
        drive(self.push, pace, until, lambda: True, lambda: self.now, self.sleep)


@pytest.mark.parametrize("pps", [1, 1_000, 333_333, 2_000_000])
def test_a_steady_pace_is_kept(pps: int) -> None:
    machine = Machine(10_000_000)
    machine.run(Steady(pps), Until(4.0, 0, 10.0))
    assert machine.sent == pytest.approx(4 * pps, rel=0.02, abs=2)
    assert machine.now == pytest.approx(4 * SECOND, rel=0.01)


def test_a_slow_machine_gives_up_what_is_late() -> None:
    """It never catches up in a burst, and ends in time."""
    machine = Machine(100_000)
    machine.run(Steady(1_000_000), Until(2.0, 0, 10.0))
    assert machine.now < 2.1 * SECOND
    assert 150_000 < machine.sent < 210_000


def test_the_end_waits_for_packets_but_not_for_ever() -> None:
    patient = Machine(10_000_000)
    patient.run(Steady(1_000), Until(1.0, 3_000, 10.0))
    assert 3_000 <= patient.sent < 3_100
    hurried = Machine(10_000_000)
    hurried.run(Steady(1_000), Until(1.0, 1_000_000, 2.0))
    assert hurried.now < 2.1 * SECOND


def test_lost_packets_do_not_count_as_arrived() -> None:
    assert Until(1.0, 100, 9.0).over(2 * SECOND, 100)
    assert not Until(1.0, 100, 9.0, lost=1).over(2 * SECOND, 100)


def test_the_end_waits_for_those_who_join_late() -> None:
    assert not Until(1.0, 100, 9.0, growing=True).over(2 * SECOND, 100)
    assert Until(1.0, 100, 9.0, growing=True).over(9 * SECOND, 100)
    assert Until(1.0, 0, 9.0, growing=True).over(2 * SECOND, 100), "a run of a given length just ends"
    assert not Until(1.0, 0, 9.0).over(SECOND // 2, 100)


def test_stop_is_heard() -> None:
    machine = Machine(1_000_000)
    drive(machine.push, Steady(1_000), Until(9, 0, 9), lambda: False, lambda: machine.now, machine.sleep)
    assert TICK_NS <= machine.now < 2 * TICK_NS


def test_a_capture_keeps_its_own_times() -> None:
    offsets = [0, 1_000_000, 500_000_000]
    pace = Recorded(offsets, SECOND)
    assert [pace.due(at) for at in (0, 999_999, 1_000_000, 500_000_000, SECOND, SECOND + 1_000_000)] == [
        1, 1, 2, 3, 4, 5,
    ]  # fmt: skip
    machine = Machine(10_000_000)
    machine.run(pace, Until(3.0, 0, 3.0))
    assert machine.sent == 9
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(machine.pushes)]
    assert max(gaps) == pytest.approx(500_000_000, rel=0.02)


@given(
    st.lists(st.integers(0, SECOND), min_size=1, max_size=50),
    st.lists(st.integers(0, 10 * SECOND), min_size=2),
)
def test_a_capture_never_runs_backwards(offsets: list[int], times: list[int]) -> None:
    pace = Recorded(sorted(offsets), SECOND + 1)
    due = [pace.due(at) for at in sorted(times)]
    assert due == sorted(due)


def swarm_on(speed: int, seconds: int) -> tuple[Swarm, Machine]:
    """A swarm that would send a million a second, on a machine of this speed."""
    machine = Machine(speed)
    swarm = Swarm(1_000_000, ramp_seconds=5.0)
    before = [0, 0]

    def tick() -> bool:
        swarm.adapt((machine.sent - before[0]) * SECOND / (machine.now - before[1]))
        before[:] = [machine.sent, machine.now]
        return True

    drive(machine.push, swarm, Until(seconds, 0, seconds), tick, lambda: machine.now, machine.sleep)
    return swarm, machine


def test_a_swarm_grows_to_its_full_size() -> None:
    swarm, machine = swarm_on(20_000_000, 10)
    assert swarm.joined == 1.0
    assert swarm.complete
    assert machine.sent == pytest.approx(7_500_000, rel=0.05)


def test_a_swarm_on_a_slow_machine_stays_small() -> None:
    """Fewer bots at their full rate, not all bots at a lower one."""
    swarm, machine = swarm_on(200_000, 10)
    assert 0.1 < swarm.joined < 0.35
    assert not swarm.complete
    late = [packets for at, packets in machine.pushes if at > 5 * SECOND]
    assert sum(late) / 5 > 0.7 * 200_000, "and the machine is used"


def test_a_swarm_never_dies_out() -> None:
    swarm = Swarm(1_000_000, 1.0)
    for _ in range(100):
        swarm.adapt(0.0)
    assert swarm.joined == Swarm.least


def test_waves() -> None:
    pulsed = Pulsed(1_000, 5 * SECOND, 5 * SECOND)
    assert [pulsed.due(second * SECOND) for second in (0, 3, 5, 7, 10, 12, 20)] == [
        0, 3_000, 5_000, 5_000, 5_000, 7_000, 10_000,
    ]  # fmt: skip
    assert pulsed.room(0) == 50
