# SPDX-License-Identifier: Apache-2.0
"""Killed while bans are written: into the kernel, line by line, and into the state file, write by write."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.faults.checks import BANNED, SIX, WIDE, alive, bans, flooded, said
from tests.faults.inject import ALL, KILLED, Shim
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, sources, wait_for
from xdpwall.control import client
from xdpwall.dataplane import keys
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import NoControllerError
from xdpwall.lab.topology import Lab
from xdpwall.model import Prefix

WRITERS = ("exact_bans.py", "tries.py", "gate.py", "ban_map.py")
"""Most of what they write is memory, shared with the kernel: no call tells of it."""
DATA = "file,data"


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    """A loaded wall; no controller."""
    lab.load()
    yield lab


def same_set(wall: Wall, count: int) -> list[Prefix]:
    """Sources that all belong into one set of the table, so that the last of them overflow."""
    table = wall.bans._exact[4]
    found: dict[int, list[Prefix]] = {}
    for address in sources("45.0.0.1", 100_000):
        prefix = Prefix.parse(address)
        line, _ = table._place(keys.source_key(prefix))
        found.setdefault(line, []).append(prefix)
        if len(found[line]) == count:
            return found[line]
    raise AssertionError("no such sources")


def killed_at_line(number: int, work: Callable[[], object]) -> bool:
    """Do it in a child that is killed at the nth line of those who write bans. Gives whether it came so far."""
    child = os.fork()
    if child == 0:
        lines = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal lines
            if Path(frame.f_code.co_filename).name not in WRITERS:
                return None
            if event == "line":
                lines += 1
                if lines == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        code = 1
        try:
            sys.settrace(trace)
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


@pytest.mark.timeout(600)
def test_a_ban_into_the_kernel(walled: Lab, field: Field, ledger: Ledger) -> None:
    """At every line: other bans stand, this one stands or not, and it can be put and lifted as ever."""
    with Wall.open(walled.paths) as wall:
        crowd = same_set(wall, 6)
        others = [*crowd[:4], Prefix.parse(BANNED), Prefix.parse("198.51.0.0/16")]
        wall.bans.put_many([(prefix, None) for prefix in others])
        stages = 0
        with flooded(field, [prefix.address for prefix in others]) as flood:
            for new in (Prefix.parse("203.0.113.10"), crowd[4], Prefix.parse(WIDE), Prefix.parse(SIX)):
                for work in (
                    lambda prefix=new: wall.bans.put(prefix, 600_000),
                    lambda prefix=new: wall.bans.put(prefix, None),
                    lambda prefix=new: wall.bans.remove(prefix),
                ):
                    number = 1
                    while killed_at_line(number, work):
                        stages += 1
                        sound(walled, others, new)
                        number += 1 if ALL else 3
                with Wall.open(walled.paths) as fresh:
                    fresh.bans.remove(new)
                    assert {held.prefix for held in fresh.bans.entries()} == set(others)
            sent = flood.latest().sent
        assert stages > 60
        assert field.passed().of(0) == 0
    ledger.put(Loss(f"killed while a ban is written to the kernel, at {stages} lines", sent))


def sound(lab: Lab, others: list[Prefix], new: Prefix) -> None:
    """What the next process finds."""
    with Wall.open(lab.paths) as wall:
        listed = {held.prefix for held in wall.bans.entries()}
        assert set(others) <= listed <= {*others, new}
        for prefix in others:
            assert wall.bans.get(prefix) is not None
        if new in listed:
            assert wall.bans.get(new) is not None, "listed, but the kernel does not find it"


@pytest.mark.timeout(600)
def test_a_verb_while_it_writes_the_record(walled: Lab, shim: Shim, ledger: Ledger) -> None:
    """Before each write into the state file: the next verb finds a sound file, and the kernel's bans."""
    walled.wall("ban", "add", BANNED, "--for", "perm")
    add = ("ban", "add", WIDE, SIX, "--for", "1h")
    stages = shim.calls(walled, *add, calls=DATA, path="state.db")
    assert stages
    walled.wall("ban", "del", WIDE, SIX)
    for call in stages if ALL else stages[:: max(1, len(stages) // 6)]:
        assert shim.killed(walled, call.number, *add, calls=DATA, path="state.db"), call
        assert BANNED in bans(walled)
        walled.wall("ban", "add", WIDE, SIX, "--for", "1h")
        assert bans(walled) == {BANNED, WIDE, SIX}
        walled.wall("ban", "del", WIDE, SIX)
    assert not list(walled.paths.state.glob("*.kept-*"))
    ledger.put(Loss(f"a verb killed while it writes the record, at {len(stages)} writes"))


@pytest.mark.timeout(600)
def test_the_controller_while_it_writes_the_record(
    walled: Lab, field: Field, shim: Shim, ledger: Ledger
) -> None:
    """Every ban that was answered for is on record and in force after the next start."""
    hostile = sources("203.0.113.1", 200)
    answered: set[str] = set()
    walled.wall("ban", "add", *hostile[:20], "--for", "perm")
    answered.update(hostile[:20])
    recoveries = []
    with flooded(field, hostile[:20]) as flood:
        for number in (*range(1, 40, 2),) if ALL else (2, 9, 23):
            argv = shim.argv(
                walled.wall_argv("run", "-c", str(walled.config_path)),
                calls=DATA,
                path="state.db",
                kill=number,
            )
            with (walled.folder / "controller.log").open("ab") as log:
                process = walled.popen_in("wall", argv, stdout=log, stderr=log)
            wait_for(lambda process=process: process.poll() is not None or alive(walled), "it is up, or dead")  # type: ignore[misc]
            for address in hostile[20:]:
                if process.poll() is not None:
                    break
                try:
                    client.call(walled.paths, "ban.add", items=[{"prefix": address, "for_ms": None}])
                except NoControllerError:
                    continue
                answered.add(address)
            wait_for(lambda process=process: process.poll() is not None, "it is killed")  # type: ignore[misc]
            assert process.returncode == KILLED, said(walled)
            watch = Stopwatch()
            next_one = walled.start_controller()
            recoveries.append(watch.ms)
            held = {row["prefix"]: row["origin"] for row in walled.ask("ban.list")["bans"]}
            assert answered <= held.keys()
            assert {held[address] for address in answered} == {"operator"}, (
                "from the record, not from the kernel"
            )
            next_one.kill()
            next_one.wait()
        sent = flood.latest().sent
    assert not alive(walled)
    assert field.passed().of(0) == 0
    ledger.put(Loss("controller killed while it writes the record", sent, recovery_ms=max(recoveries)))
