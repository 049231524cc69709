# SPDX-License-Identifier: Apache-2.0
"""Another configuration on a real wall and controller: confirmed, timed out, killed, hung up on, under flood."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.traffic import Field, more, wait_for
from xdpwall.control import client, trial, trial_watch
from xdpwall.errors import NoControllerError
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab

OLD = (
    '[limits.source]\nsyn = 100\n[bans]\ntime = "4m"\n[lanes]\nenabled = false\n[incident]\nenabled = false\n'
)
NEW = OLD.replace('"4m"', '"7m"')
PROGRAM = NEW.replace("syn = 100", "syn = 60")
ONE = "203.0.113.9"


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    """A loaded wall with a controller."""
    lab.write_config(OLD)
    lab.load()
    lab.start_controller()
    yield lab
    found = trial.read(lab.config_path)
    if found is not None:
        lab.wall("config", "rollback", "-c", str(lab.config_path), check=False)
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def new_file(lab: Lab, text: str) -> str:
    path = lab.folder / "new.toml"
    path.write_text(f'interfaces = ["{lab.wall_links[0].host.ifname}"]\n{text}')
    return str(path)


def ban_ms(lab: Lab) -> int:
    """How long a ban lasts by what is in force."""
    lab.ask("ban.add", items=[ONE])
    found = lab.ask("ban.test", prefix=ONE)["ban"]["remaining_ms"]
    lab.ask("ban.del", prefixes=[ONE])
    return round(int(found) / 60_000)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def text(lab: Lab) -> str:
    return lab.config_path.read_text()


def over(lab: Lab) -> bool:
    """Nothing is on trial, and nobody watches any more."""
    return trial.read(lab.config_path) is None and not trial_watch.is_watched(lab.config_path)


def answers(lab: Lab) -> bool:
    try:
        return bool(client.call(lab.paths, "ping"))
    except NoControllerError:
        return False


def pending(lab: Lab) -> bool:
    found = trial.read(lab.config_path)
    return found is not None and not found.putting


def program(lab: Lab) -> int:
    return int(lab.wall_json("status")["interfaces"][0]["program_id"])


def test_confirmed(walled: Lab) -> None:
    before = text(walled)
    done = walled.wall_json("config", "apply", new_file(walled, NEW), "--confirm", "60s")
    assert (done["applied"], done["reloaded"], done["loaded"]) == (True, True, False)
    assert [row["key"] for row in done["differences"]] == ["bans.time"]
    assert ban_ms(walled) == 7
    wait_for(lambda: any("on trial" in text for text in walled.ask("status")["problems"]), "status says so")
    second = walled.wall("config", "apply", new_file(walled, PROGRAM), "--confirm", "60s", check=False)
    assert second.returncode == 5
    assert "waits to be confirmed" in second.stderr
    assert walled.wall_json("config", "confirm")["confirmed"]
    wait_for(lambda: over(walled), "the watch ends")
    assert ban_ms(walled) == 7
    assert Path(done["kept"]).read_text() == before
    assert walled.wall("config", "confirm", check=False).returncode == 4
    wait_for(lambda: not walled.ask("status")["problems"], "status is clean again")


def test_not_confirmed_in_time(walled: Lab) -> None:
    before, was = text(walled), program(walled)
    done = walled.wall_json("config", "apply", new_file(walled, PROGRAM), "--confirm", "15s")
    assert done["loaded"]
    wait_for(lambda: program(walled) != was, "status knows the new program: it looks once a second")
    assert text(walled) != before
    wait_for(lambda: over(walled), "it is rolled back", 90)
    assert text(walled) == before
    assert ban_ms(walled) == 4
    assert walled.wall_json("status")["interfaces"][0]["attached"]
    log = (walled.folder / "controller.log").read_text()
    assert "nobody confirmed" in log


def test_at_once_and_back_at_once(walled: Lab) -> None:
    before = text(walled)
    walled.wall("config", "apply", new_file(walled, NEW), "--confirm", "1h")
    assert "bans.time" in walled.wall("config", "show", "--diff").stdout
    assert walled.wall_json("config", "rollback")["rolled_back"]
    assert text(walled) == before
    assert ban_ms(walled) == 4
    wait_for(lambda: over(walled), "the watch ends")
    walled.wall("config", "apply", new_file(walled, NEW))
    assert ban_ms(walled) == 7
    assert walled.wall("config", "rollback", check=False).returncode == 4


def test_the_controller_is_killed_meanwhile(walled: Lab) -> None:
    before = text(walled)
    walled.wall("config", "apply", new_file(walled, NEW), "--confirm", "5s")
    os.kill(walled.ask("ping")["pid"], signal.SIGKILL)
    wait_for(lambda: not answers(walled), "it is dead")
    wait_for(lambda: over(walled), "it is rolled back all the same", 60)
    assert text(walled) == before
    walled.start_controller()
    assert ban_ms(walled) == 4


def test_everybody_is_killed_meanwhile(walled: Lab) -> None:
    """Who watches and the controller: the next controller goes back at its start."""
    before = text(walled)
    done = walled.wall_json("config", "apply", new_file(walled, NEW), "--confirm", "5s")
    os.kill(int(done["watched_by"].split()[-1]), signal.SIGKILL)
    os.kill(walled.ask("ping")["pid"], signal.SIGKILL)
    wait_for(lambda: not answers(walled), "it is dead")
    found = trial.read(walled.config_path)
    assert found is not None
    wait_for(found.is_due, "the deadline passes")
    assert text(walled) != before
    walled.start_controller()
    assert text(walled) == before
    assert ban_ms(walled) == 4
    assert over(walled)


def test_only_the_watch_is_killed(walled: Lab) -> None:
    """The controller goes back."""
    before = text(walled)
    done = walled.wall_json("config", "apply", new_file(walled, NEW), "--confirm", "5s")
    os.kill(int(done["watched_by"].split()[-1]), signal.SIGKILL)
    wait_for(lambda: over(walled), "the controller rolls it back", 60)
    assert text(walled) == before
    assert ban_ms(walled) == 4


@pytest.mark.parametrize("when", ["watched", "pending"])
def test_the_session_is_lost(walled: Lab, when: str) -> None:
    """The terminal goes away in the middle, and afterwards: SIGHUP to all that ran in it."""
    before = text(walled)
    argv = walled.argv(
        "wall", walled.wall_argv("config", "apply", new_file(walled, PROGRAM), "--confirm", "5s")
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    try:
        reached = pending if when == "pending" else (lambda lab: trial_watch.is_watched(lab.config_path))
        wait_for(lambda: reached(walled), "it got that far", 60)
    finally:
        os.close(terminal)  # hangs up: the kernel sends SIGHUP to the session
        os.waitpid(pid, 0)
    wait_for(lambda: over(walled), "it is rolled back", 90)
    assert text(walled) == before
    assert ban_ms(walled) == 4


def test_the_applier_is_killed_half_way(walled: Lab) -> None:
    """kill -9 while the program is being compiled: back at once, not at the deadline."""
    before = text(walled)
    argv = walled.wall_argv("config", "apply", new_file(walled, PROGRAM), "--confirm", "1h")
    process = subprocess.Popen(walled.argv("wall", argv), stdout=subprocess.DEVNULL)
    wait_for(lambda: text(walled) != before, "the file is in place", 60)
    process.kill()
    process.wait()
    wait_for(lambda: over(walled), "it is rolled back", 90)
    assert text(walled) == before
    assert ban_ms(walled) == 4


def test_a_faulty_file_changes_nothing(walled: Lab) -> None:
    before, files = text(walled), names(walled.folder)
    done = walled.wall(
        "config", "apply", new_file(walled, OLD + "colour = 5\n"), "--confirm", "5s", check=False
    )
    assert done.returncode == 2
    assert "colour" in done.stderr
    assert text(walled) == before
    assert names(walled.folder) - {"new.toml"} == files


def test_a_program_that_cannot_be_swapped_undoes_it(walled: Lab) -> None:
    """Tables that stand cannot change their size: the load says so, and everything is as before."""
    before, was = text(walled), program(walled)
    file = new_file(walled, OLD.replace("[bans]\n", "[bans]\ncapacity = 65536\n"))
    done = walled.wall("config", "apply", file, "--confirm", "30s", "-o", "json", check=False)
    assert done.returncode == 1, done.stdout
    assert "could not be swapped" in json.loads(done.stdout)["error"]["message"]
    assert text(walled) == before
    wait_for(lambda: over(walled), "the watch ends")
    assert program(walled) == was or walled.wall_json("status")["interfaces"][0]["attached"]


def test_nothing_leaks_at_the_swap(field: Field) -> None:
    """A banned flood goes on while the program is swapped there and back: not one packet comes through."""
    lab = field.lab
    lab.write_config(OLD)
    lab.load()
    lab.start_controller()
    try:
        bots = [f"203.0.113.{n}" for n in range(1, 17)]
        assert lab.ask("ban.add", items=bots)["refused"] == []
        with field.under_flood(bots, pps=20_000) as attack:
            more(attack, 1_000)
            before = field.passed().of(0)
            lab.wall("config", "apply", new_file(lab, PROGRAM), "--confirm", "5s")
            more(attack, 1_000)
            wait_for(lambda: over(lab), "it is rolled back", 90)
            more(attack, 1_000)
        assert field.passed().of(0) == before
    finally:
        shutil.rmtree(lab.paths.state, ignore_errors=True)


def test_simulate_tells_of_a_recorded_attack(field: Field) -> None:
    """A flood that no limit stopped: what limits would have done, against what was sent."""
    lab = field.lab
    lab.write_config(OLD)
    lab.load()
    controller = lab.start_controller()
    try:
        bots = [f"198.51.100.{n}" for n in range(1, 9)]
        attack = field.flood(bots, pps=16_000, seconds=6.0)
        attack.go()
        wait_for(lambda: attack.latest().done, "the flood ends", 60)
        sent = attack.finish().sent
        time.sleep(1.5)
        controller.terminate()
        assert controller.wait(20) == 0
        found = lab.wall_json("simulate", "--since", "1h", "--set", "limits.source.udp=500", "--top", "50")
        now, tried = found["runs"]
        assert (now["sources_over"], now["dropped_packets"]) == (0, 0)
        assert {row["prefix"] for row in tried["over"]} == set(bots)
        assert tried["sources_banned"] == 8
        seen = sum(row["sent_packets"] for row in tried["over"])
        assert seen == pytest.approx(sent, rel=0.05)
        # Each has 500 packets at once and 500 a second until it is over; then all of it is dropped.
        assert 0.6 * sent <= tried["dropped_packets"] <= sent
        assert found["record"]["real_bans"] == 0
    finally:
        shutil.rmtree(lab.paths.state, ignore_errors=True)


def test_namespaces_are_those_of_the_lab(walled: Lab) -> None:
    """Who watches sees the wall's network, not the host's."""
    done = walled.wall_json("config", "apply", new_file(walled, NEW), "--confirm", "60s")
    watcher = int(done["watched_by"].split()[-1])
    theirs = Path(f"/proc/{watcher}/ns/net").stat().st_ino
    assert theirs == Path(namespaces.path_of(walled.namespace("wall"))).stat().st_ino
    assert os.getsid(watcher) == watcher
    walled.wall("config", "confirm")
