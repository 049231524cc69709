# SPDX-License-Identifier: Apache-2.0
"""Bans written while packets are judged: no packet ever meets half a ban.

Two threads run the real program over and over (BPF_PROG_TEST_RUN gives up Python's lock, so the kernel runs on another
CPU) while the test puts, renews, lifts and sweeps bans of the same sets, one by one and in bulk. Every packet of a
source that stays banned must be dropped, every packet of one that never was must pass: the program's own counters say
so for each one shown.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.bpf.packets import frame_from
from tests.bpf.scene import NO_BUDGETS, Probe, config, loaded
from tests.bpf.test_expiry import ago
from tests.bpf.test_overflow import neighbours, strangers, told_to_ask
from xdpwall.dataplane import sys_bpf
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

HOUR, MINUTE = 3_600_000, 60_000
ROUNDS, LEAST_RUNS, MOST_ROUNDS = 700, 100, 30_000
REPEAT = 20_000
RENEWALS = 30
"""A write that is wrong for a microsecond is met once in so many."""


@pytest.fixture(scope="module")
def small() -> Iterator[Probe]:
    """Few sets, so that bans of the same set meet, in their places and in the overflow map."""
    with loaded(config(bans={"capacity": 1024, "prefix_capacity": 64}, lanes=NO_BUDGETS)) as probe:
        yield probe


@dataclass
class Reader:
    """A thread that shows packets of some sources to the program, in turn."""

    program: int
    sources: list[Prefix]
    cpu: int
    done: threading.Event
    runs: int = 0
    faults: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            os.sched_setaffinity(0, {self.cpu})
            frames = [frame_from(source.address) for source in self.sources]
            while not self.done.is_set():
                sys_bpf.test_run(self.program, frames[self.runs % len(frames)], repeat=REPEAT)
                self.runs += 1
        except BaseException as error:  # noqa: BLE001 - raised by the test
            self.faults.append(error)


def packets(probe: Probe) -> dict[Reason, int]:
    return {reason: count.packets for reason, count in probe.wall.verdicts()["wt0"].items()}


def churn(
    probe: Probe, stay: list[Prefix], come_and_go: list[Prefix], crowd: list[Prefix], seed: int
) -> Iterator[None]:
    """Change bans for ever. Those of ``stay`` are renewed, those of the two others come and go."""
    bans, choice = probe.wall.bans, random.Random(seed)
    while True:
        some = choice.sample(come_and_go, choice.randint(1, len(come_and_go)))
        for prefix in some:
            bans.put(prefix, choice.choice([None, HOUR, MINUTE]))
        yield
        for prefix in stay * RENEWALS:
            bans.put(prefix, choice.choice([None, HOUR, 2 * HOUR]))
        yield
        bans.remove_many(choice.sample(some, choice.randint(1, len(some))))
        yield
        # In bulk, by numpy: old and new ones in one batch, those that stay among them.
        bans.put_many((prefix, choice.choice([HOUR, 2 * HOUR])) for prefix in [*stay, *some, *crowd])
        yield
        bans.remove_many([*some, *crowd])
        yield
        with ago(probe, HOUR):
            bans.put_many((prefix, MINUTE) for prefix in some)  # lapsed already: their places are free
        bans.put(choice.choice(some), HOUR)
        yield
        bans.sweep()
        bans.remove_many(come_and_go)
        yield


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("standing", [2, 6], ids=["in the set", "in the overflow map, too"])
def test_no_packet_meets_half_a_ban(small: Probe, version: int, standing: int) -> None:
    """Sources that share one set: some stay banned, some come and go, some are never banned."""
    together = neighbours(small, version, standing + 8 + 4)
    stay, come_and_go, never = together[:standing], together[standing:-4], together[-4:]
    bans = small.wall.bans
    for prefix in stay:
        bans.put(prefix, HOUR)
    before, done = packets(small), threading.Event()
    cpus = sorted(os.sched_getaffinity(0))
    readers = [
        Reader(small.fd, stay, cpus[-1], done),
        Reader(small.fd, never, cpus[0], done),
    ]
    writer = churn(small, stay, come_and_go, strangers(version), version * 10 + standing)
    rounds = 0
    try:
        while rounds < ROUNDS or (
            min(reader.runs for reader in readers) < LEAST_RUNS and rounds < MOST_ROUNDS
        ):
            next(writer)
            rounds += 1
    finally:
        done.set()
        for reader in readers:
            reader.thread.join()
    assert [reader.faults for reader in readers] == [[], []]
    dropped, passed = (reader.runs * REPEAT for reader in readers)
    assert min(reader.runs for reader in readers) >= LEAST_RUNS, "they ran side by side"
    after = packets(small)
    moved = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    assert {reason: count for reason, count in moved.items() if count} == {
        Reason.BANNED_SOURCE: dropped,
        Reason.PASS: passed,
    }
    # What is left is what should be, and counted what it dropped.
    bans.remove_many(come_and_go)
    bans.remove_many(strangers(version))
    bans.sweep()
    assert {entry.prefix for entry in bans.entries()} == set(stay)
    bans.remove_many(stay)
    assert (len(bans), told_to_ask(small, version)) == (0, 0)
