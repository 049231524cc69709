# SPDX-License-Identifier: Apache-2.0
"""A state folder that is full, read-only, damaged, or of another version: the wall goes on, and says so."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.checks import (
    BANNED,
    SIX,
    WIDE,
    bans,
    flooded,
    said,
    wait_for_problem,
    wait_until_well,
)
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, sources, wait_for
from xdpwall.control.schema import STEPS, VERSION
from xdpwall.lab.topology import Lab

ALLOWED = "192.0.2.0/24"
KEPT = {BANNED, WIDE, SIX}


@pytest.fixture
def disk(lab: Lab) -> Iterator[Lab]:
    """A loaded wall whose state folder is a small disk of its own, with three bans and an allowlist entry on record."""
    state = lab.paths.state
    state.mkdir(parents=True, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(state)], check=True)
    try:
        lab.load()
        lab.wall("ban", "add", *KEPT, "--for", "perm")
        lab.wall("allow", "add", ALLOWED)
        yield lab
    finally:
        lab.close()
        subprocess.run(["umount", "--lazy", str(state)], check=True)
        shutil.rmtree(state, ignore_errors=True)


def fill(lab: Lab) -> Path:
    """Leave no room."""
    filler = lab.paths.state / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4_096)):
                pass
        except OSError:
            pass
    return filler


def remount(lab: Lab, how: str) -> None:
    """``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(lab.paths.state)], check=True)


def allowed(lab: Lab) -> set[str]:
    """The allowlist, as a person sees it."""
    return {row["prefix"] for row in lab.wall_json("allow", "list")["allow"]}


def on_record(lab: Lab) -> set[str]:
    """Bans in the state file itself."""
    with sqlite3.connect(f"file:{lab.paths.database}?mode=ro", uri=True) as db:
        return {f"{row[0].hex()}/{row[1]}" for row in db.execute("SELECT packed, length FROM bans")}


@pytest.mark.timeout(240)
def test_it_fills_up(disk: Lab, field: Field, ledger: Ledger) -> None:
    """Bans are enforced all the same, `ban add` says what it could not do, and all is written once there is room."""
    disk.start_controller()
    before = on_record(disk)
    filler = fill(disk)
    new = sources("203.0.113.100", 100)
    with flooded(field, [BANNED, *new]) as flood:
        done = disk.wall("ban", "add", *new, "--for", "perm")
        assert "not on record" in done.stderr
        wait_for_problem(disk, "bans are enforced all the same")
        mark = field.passed().of(0), flood.latest().sent
        wait_for(lambda: flood.latest().sent > mark[1] + 500, "the flood goes on")
        leaked = field.passed().of(0) - mark[0]
        sent = flood.latest().sent - mark[1]
    assert leaked == 0
    assert on_record(disk) <= before
    watch = Stopwatch()
    filler.unlink()
    wait_until_well(disk, "bans are enforced all the same")
    ledger.put(Loss("full disk", sent, leaked, recovery_ms=watch.ms))
    assert len(on_record(disk)) == len(KEPT) + len(new)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_start_with_no_room(disk: Lab, fault: str, ledger: Ledger) -> None:
    """The record is read as far as it can be; what the kernel holds counts, and nothing of it is taken back."""
    filler = fill(disk)
    if fault == "read-only":
        remount(disk, "ro")
    controller = disk.start_controller()
    assert bans(disk) == KEPT
    assert ALLOWED in allowed(disk)
    assert "DEGRADED" in disk.wall("status").stdout
    done = disk.wall("ban", "add", "203.0.113.77", "--for", "perm")
    assert "not on record" in done.stderr
    assert bans(disk) == {*KEPT, "203.0.113.77"}
    watch = Stopwatch()
    remount(disk, "rw")
    filler.unlink()
    wait_until_well(disk, "bans are enforced all the same")
    took = watch.ms
    controller.kill()
    controller.wait()
    disk.start_controller()
    listed = {row["prefix"]: row["origin"] for row in disk.ask("ban.list")["bans"]}
    assert listed.keys() == {*KEPT, "203.0.113.77"}
    assert ALLOWED in allowed(disk)
    ledger.put(
        Loss(f"start on a disk that is {fault}", recovery_ms=took, note=str(sorted(set(listed.values()))))
    )


@pytest.mark.timeout(240)
def test_a_verb_with_no_room(disk: Lab) -> None:
    """The panic button needs no disk."""
    remount(disk, "ro")
    done = disk.wall("ban", "add", "203.0.113.78")
    assert done.returncode == 0
    assert "not on record" in done.stderr
    assert "203.0.113.78" in bans(disk)
    assert disk.wall("ban", "del", "203.0.113.78").returncode == 0
    status = json.loads(disk.wall("status", "-o", "json").stdout)
    assert status["interfaces"][0]["attached"]


def make_older(path: Path) -> None:
    """A state file as the first version wrote it, with one ban."""
    path.unlink()
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    db = sqlite3.connect(path)
    for statement in STEPS[0]:
        db.execute(statement)
    db.execute(
        "INSERT INTO bans VALUES (?, ?, ?, NULL, 'operator', 1, 'of old')", (bytes([203, 0, 113, 200]), 32, 1)
    )
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def make_newer(path: Path) -> None:
    """A state file of a version to come."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.commit()
    db.close()


def make_damaged(path: Path) -> None:
    """The head is right, the rest is not."""
    size = path.stat().st_size
    if size <= 4_096:
        return
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))


@pytest.mark.timeout(240)
def test_an_older_file(disk: Lab) -> None:
    """Is brought up to date; what it knows is put into force, what only the kernel knows is taken over."""
    make_older(disk.paths.database)
    disk.start_controller()
    origins = {row["prefix"]: row["origin"] for row in disk.ask("ban.list")["bans"]}
    assert origins == {"203.0.113.200": "operator", **dict.fromkeys(KEPT, "kernel")}
    assert not list(disk.paths.state.glob("*.kept-*"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("spoil", [make_newer, make_damaged])
def test_a_file_that_is_of_no_use(disk: Lab, spoil: Callable[[Path], None], ledger: Ledger) -> None:
    """Kept aside, begun anew, said; bans and allowlist of the kernel are taken over."""
    with sqlite3.connect(disk.paths.database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(disk.paths.database)
    watch = Stopwatch()
    disk.start_controller()
    took = watch.ms
    assert bans(disk) == KEPT
    assert ALLOWED in allowed(disk)
    assert "could not be used" in said(disk)
    assert list(disk.paths.state.glob("state.db.kept-*"))
    ledger.put(Loss(f"state file {spoil.__name__.removeprefix('make_')}", records=1, recovery_ms=took))


@pytest.mark.timeout(240)
def test_it_is_damaged_under_the_controller(disk: Lab) -> None:
    """And the controller is killed: the next one keeps all parts of it aside."""
    controller = disk.start_controller()
    controller.kill()
    controller.wait()
    for part in disk.paths.state.glob("state.db*"):
        make_damaged(part)
    disk.start_controller()
    assert bans(disk) == KEPT
    assert ALLOWED in allowed(disk)
    assert list(disk.paths.state.glob("state.db.kept-*"))
    wait_for(lambda: len(on_record(disk)) == len(KEPT), "they are on record again")
