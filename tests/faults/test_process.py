# SPDX-License-Identifier: Apache-2.0
"""The process itself: stopped, its clocks turned, started twice, robbed of the bpffs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.checks import (
    BANNED,
    FREE,
    SIX,
    WIDE,
    alive,
    bans,
    flooded,
    problems,
    said,
    wait_for_problem,
    wait_until_well,
)
from tests.faults.inject import Clocks, Shim
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, more, wait_for
from xdpwall.dataplane.wall import Wall
from xdpwall.lab.topology import Lab
from xdpwall.model import Prefix

MINUTE = 60.0
HOUR_MS = 3_600_000


@pytest.fixture
def clocks(lab: Lab) -> Clocks:
    """Of the controller alone."""
    return Clocks(lab.folder)


@pytest.fixture
def controlled(lab: Lab, shim: Shim, clocks: Clocks) -> Iterator[tuple[Lab, subprocess.Popen[Any]]]:
    """A wall whose controller goes by :class:`Clocks`, with three bans of an hour."""
    lab.load()
    argv = shim.argv(lab.wall_argv("run", "-c", str(lab.config_path)), within="run", clock=clocks.file)
    with (lab.folder / "controller.log").open("ab") as log:
        process = lab.popen_in("wall", argv, stdout=log, stderr=log)
    wait_for(lambda: alive(lab), "the controller answers")
    lab.wall("ban", "add", BANNED, WIDE, SIX, "--for", "1h")
    yield lab, process


def left_ms(lab: Lab) -> dict[str, int]:
    """What remains of each ban, by the kernel."""
    with Wall.open(lab.paths) as wall:
        return {str(held.prefix): held.remaining_ms or 0 for held in wall.bans.entries()}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [7 * 86_400.0, -7 * 86_400.0, 3_000_000_000.0])
def test_the_clock_is_set(
    controlled: tuple[Lab, subprocess.Popen[Any]],
    field: Field,
    clocks: Clocks,
    ledger: Ledger,
    seconds: float,
) -> None:
    """A week on, a week back, and to the year 2121: bans last as long as was said."""
    lab, _ = controlled
    with flooded(field, [BANNED]) as flood:
        clocks.turn(wall_seconds=seconds)
        watch = Stopwatch()
        wait_for(lambda: "the ends of bans move by" in said(lab), "it is noticed")
        took = watch.ms
        ticks = lab.ask("status")["controller"]["ticks"]
        wait_for(lambda: lab.ask("status")["controller"]["ticks"] > ticks + 20, "ticks go on")
        more(flood, 100)
        sent = flood.latest().sent
        rows = {row["prefix"]: row["remaining_ms"] for row in lab.ask("ban.list")["bans"]}
        assert rows.keys() == {BANNED, WIDE, SIX}
        assert all(HOUR_MS - 300_000 < left <= HOUR_MS for left in rows.values())
        assert all(HOUR_MS - 300_000 < left <= HOUR_MS + 1_000 for left in left_ms(lab).values())
    assert field.passed().of(0) == 0
    assert "met a bug" not in problems(lab)
    ledger.put(Loss(f"clock set by {seconds:+.0f} s", sent, recovery_ms=took))


@pytest.mark.timeout(240)
def test_it_stands_still_for_a_minute(
    controlled: tuple[Lab, subprocess.Popen[Any]], field: Field, clocks: Clocks, ledger: Ledger
) -> None:
    """SIGSTOP; its clocks are a minute on when it goes on. The wall drops meanwhile, and nobody is banned for it."""
    lab, process = controlled
    with flooded(field, [BANNED]) as flood:
        process.send_signal(signal.SIGSTOP)
        more(flood, 2_000)
        clocks.turn(wall_seconds=MINUTE, mono_seconds=MINUTE)
        assert field.send(FREE) == 20
        process.send_signal(signal.SIGCONT)
        watch = Stopwatch()
        wait_for(lambda: alive(lab), "it answers")
        took = watch.ms
        ticks = lab.ask("status")["controller"]["ticks"]
        wait_for(lambda: lab.ask("status")["controller"]["ticks"] > ticks + 20, "ticks go on")
        sent = flood.latest().sent
    assert field.passed().of(0) == 20, "only what was sent by hand"
    assert bans(lab) == {BANNED, WIDE, SIX}, "no false ban"
    assert "met a bug" not in problems(lab)
    ledger.put(Loss("SIGSTOP, a minute", sent, recovery_ms=took))


@pytest.mark.timeout(240)
def test_the_machine_slept(
    controlled: tuple[Lab, subprocess.Popen[Any]], clocks: Clocks, ledger: Ledger
) -> None:
    """Eight hours by the wall clock, none by the other: the kernel's ticks stood still too, and so do the bans."""
    lab, _ = controlled
    clocks.turn(wall_seconds=8 * 3_600.0)
    wait_for(lambda: "the machine slept" in said(lab), "it is noticed")
    assert bans(lab) == {BANNED, WIDE, SIX}
    assert all(left > HOUR_MS - 300_000 for left in left_ms(lab).values())
    ledger.put(Loss("suspend of 8 h"))


@pytest.mark.timeout(240)
def test_two_at_once(lab: Lab, ledger: Ledger) -> None:
    """Of five started in the same moment one runs, and four say who."""
    lab.load()
    argv = lab.wall_argv("run", "-c", str(lab.config_path))
    started = [
        lab.popen_in("wall", argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    wait_for(lambda: sum(process.poll() is None for process in started) == 1, "one is left", 90)
    wait_for(lambda: alive(lab), "it answers")
    for process in started:
        if process.poll() is not None:
            assert process.stderr is not None
            assert (process.returncode, "already held by a controller" in process.stderr.read()) == (1, True)
    ledger.put(Loss("two controllers", note="the second refuses"))


BPFFS_GONE = """
import subprocess, sys
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["umount", "--lazy", "/sys/fs/bpf"], check=True)
raise SystemExit(subprocess.run(sys.argv[1:]).returncode)
"""


@pytest.mark.timeout(240)
def test_without_the_bpffs(lab: Lab, ledger: Ledger) -> None:
    """In a mount namespace where it was unmounted: clear errors, and nothing is done to the wall."""
    lab.load()
    lab.wall("ban", "add", BANNED)

    def verb(*arguments: str) -> subprocess.CompletedProcess[str]:
        inside = ["unshare", "--mount", "--", "/usr/bin/python3", "-c", BPFFS_GONE]
        return lab.exec_in("wall", [*inside, *lab.wall_argv(*arguments)], check=False)

    for arguments in (("status",), ("ban", "list"), ("unload",)):
        done = verb(*arguments)
        assert done.returncode == 4, (arguments, done)
        assert "bpffs" in done.stderr, (arguments, done.stderr)
        assert "hint:" in done.stderr
    assert lab.wall_json("status")["interfaces"][0]["attached"]
    assert bans(lab) == {BANNED}
    ledger.put(Loss("bpffs unmounted", note="4, with a hint"))


@pytest.mark.timeout(240)
def test_full_tables(lab: Lab, field: Field, ledger: Ledger) -> None:
    """Bans of sources and of prefixes beyond what fits are refused by name; what stands, stands."""
    lab.load()
    lab.start_controller()
    lab.wall("ban", "add", BANNED, "--for", "perm")
    sources = [f"45.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(6_000)]
    prefixes = [f"46.{n >> 4}.{n % 16 * 16}.0/24" for n in range(200)]
    with flooded(field, [BANNED]) as flood:
        for many, words in ((sources, "bans.capacity"), (prefixes, "bans.prefix_capacity")):
            done = lab.wall("ban", "add", "-", "--for", "perm", check=False, stdin="\n".join(many))
            assert done.returncode == 5
            assert words in done.stderr, done.stderr[-500:]
            assert "errno" not in done.stderr, done.stderr[-500:]
        wait_for_problem(lab, "are taken: raise bans.capacity")
        wait_for_problem(lab, "are taken: raise bans.prefix_capacity")
        assert lab.wall("ban", "del", "-", check=False, stdin="\n".join(prefixes)).returncode in (0, 4)
        wait_until_well(lab, "bans.prefix_capacity")
        lab.wall("ban", "add", WIDE)
        sent = flood.latest().sent
    assert field.passed().of(0) == 0
    held = lab.ask("status")["bans"]
    with Wall.open(lab.paths) as wall:
        assert held["exact"] == wall.bans.exact_count()
        assert wall.bans.get(Prefix.parse(BANNED)) is not None
    allow = [f"47.{n >> 8 & 255}.{n & 255}.0/24" for n in range(20_000)]
    done = lab.wall("allow", "add", *allow[:3], check=False)
    assert done.returncode == 0
    ledger.put(Loss("full tables of bans", sent, note=f"{held['exact']} sources held"))


def test_the_watchdog_is_fed_by_the_tick(controlled: tuple[Lab, subprocess.Popen[Any]]) -> None:
    """A process that is stopped feeds nobody: systemd would start another, which takes over at once."""
    lab, process = controlled
    process.send_signal(signal.SIGSTOP)
    process.kill()
    process.wait()
    assert os.path.lexists(lab.paths.socket)
    lab.start_controller()
    assert bans(lab) == {BANNED, WIDE, SIX}
