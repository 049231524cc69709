# SPDX-License-Identifier: Apache-2.0
"""`load` and `unload` killed with SIGKILL before each of the calls by which they change anything."""

from __future__ import annotations

import itertools

import pytest

from tests.faults.checks import (
    BANNED,
    FREE,
    SIX,
    WIDE,
    bans,
    filters,
    flooded,
    nothing_left,
    offline_status,
    programs,
    whole,
)
from tests.faults.inject import ALL, Call, Shim
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, more, sources
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.wall import Wall
from xdpwall.lab.topology import Lab

TELLING = ("rename", "attach", "rmdir", "send")
"""Stages of a first load that differ: what is between two pins of maps does not."""


@pytest.mark.timeout(1200)
def test_a_swap(lab: Lab, field: Field, shim: Shim, ledger: Ledger) -> None:
    """In a flood of banned sources; a bystander comes through all the while."""
    lab.load()
    load = ("load", "-c", str(lab.config_path))
    banned = sources(BANNED, 50)
    lab.wall("ban", "add", *banned, WIDE, SIX, "--for", "perm")
    held = bans(lab)
    stages = shim.calls(lab, *load)
    assert {"link", "pin", "file", "net"} <= {call.kind for call in stages}
    recoveries = []
    with flooded(field, banned) as flood:
        for call in stages if ALL else thinned(stages, 12):
            before = programs(lab)
            assert shim.killed(lab, call.number, *load), call
            between(lab, before, call)
            watch = Stopwatch()
            lab.wall(*load)
            recoveries.append(watch.ms)
            more(flood, 1)
            whole(lab)
        sent = flood.latest().sent
    assert field.passed().of(0) == 0, "a banned source came through"
    assert bans(lab) == held
    assert field.send(BANNED) == 0
    assert field.send(FREE) == 20
    ledger.put(
        Loss(f"load killed while it swaps, at {len(recoveries)} stages", sent, recovery_ms=max(recoveries))
    )


def between(lab: Lab, before: dict[str, int], call: Call) -> None:
    """After the kill: an interface runs the old program or the new one, and the wall can be opened."""
    now = programs(lab)
    assert now.keys() == before.keys()
    assert 0 not in now.values(), call
    with Wall.open(lab.paths) as wall:
        assert [state.name for state in wall.interfaces()] == ["wan0", "wan1"]
        assert len(wall.bans) == 52
    changed = [now[name] != before[name] for name in now]
    if any(changed) and not all(changed):
        assert Pins(lab.paths).unfinished.exists(), call


@pytest.mark.timeout(1200)
def test_a_first_load_and_an_unload(lab: Lab, shim: Shim, ledger: Ledger) -> None:
    """Turn about, each time at another stage: the load finds what the unload left."""
    load = ("load", "-c", str(lab.config_path))
    lab.load()  # from now on nothing has to be compiled
    lab.wall("unload")
    loading = shim.calls(lab, *load)
    whole(lab)
    unloading = shim.calls(lab, "unload")
    nothing_left(lab)
    up = loading if ALL else chosen(loading)
    down = unloading if ALL else thinned(unloading[2:], len(up))
    recoveries = []
    for rise, fall in itertools.zip_longest(up, down):
        if rise is not None:
            assert shim.killed(lab, rise.number, *load), rise
            half(lab, rise)
        watch = Stopwatch()
        lab.wall(*load)
        recoveries.append(watch.ms)
        whole(lab)
        if fall is not None:
            assert shim.killed(lab, fall.number, "unload"), fall
            if Pins(lab.paths).exist():
                lab.wall(*load)
                whole(lab)
                lab.wall("unload")
            assert set(programs(lab).values()) == {0}, fall
            assert set(filters(lab).values()) == {0}, fall
    lab.wall("unload", check=False)
    nothing_left(lab)
    ledger.put(
        Loss(f"first load killed at {len(up)} stages, unload at {len(down)}", recovery_ms=max(recoveries))
    )


def half(lab: Lab, call: Call) -> None:
    """After the kill there is no wall, or one that says that it is not done, and hides no program of its own."""
    pins = Pins(lab.paths)
    running = {name for name, ident in programs(lab).items() if ident}
    if not pins.exist():
        assert running == set(), call
        return
    status = offline_status(lab)
    assert running <= {entry["name"] for entry in status["interfaces"]}, call
    if pins.unfinished.exists():
        assert any("cut short" in text for text in status["problems"]), call


def test_the_rest_of_a_killed_load_is_no_wall(lab: Lab, shim: Shim) -> None:
    """A load that names no interface does not call it done; `run` completes it; `unload` removes it."""
    lab.write_config("interfaces = []")
    load = ("load", "-c", str(lab.config_path), "-i", "wan0", "-i", "wan1")
    lab.wall(*load)
    lab.wall("unload")
    calls = shim.calls(lab, *load)
    lab.wall("unload")
    first = next(call.number for call in calls if call.what == "attach")
    assert shim.killed(lab, first - 8, *load)
    lab.at_end(lambda: lab.wall("unload", check=False))
    assert Pins(lab.paths).exist()
    done = lab.wall("load", "-c", str(lab.config_path), check=False)
    assert (done.returncode, "no interface is named" in done.stderr) == (2, True)
    lab.start_controller("-i", "wan0", "-i", "wan1", timeout=90)
    assert [entry["attached"] for entry in lab.ask("status")["interfaces"]] == [True, True]
    assert not Pins(lab.paths).unfinished.exists()


def chosen(calls: list[Call]) -> list[Call]:
    """One before each stage that differs from the one before it."""
    found = [call for call in calls if call.what.split()[0] in TELLING and "/run/" not in call.what]
    pins = [call for call in calls if call.what == "pin"]
    return sorted({*thinned(found, 8), pins[len(pins) // 2]}, key=lambda call: call.number)


def thinned(calls: list[Call], most: int) -> list[Call]:
    """So many of them at most, evenly spread, the first and the last among them."""
    if len(calls) <= most:
        return calls
    return [calls[round(index * (len(calls) - 1) / (most - 1))] for index in range(most)]
