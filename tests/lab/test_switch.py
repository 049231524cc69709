# SPDX-License-Identifier: Apache-2.0
"""Off and on under a flood: nothing is lost at the switch, and it stays as it was set whoever dies."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab.test_wall import MANY, NO_LIMITS
from tests.lab.traffic import Field, more, sources, wait_for
from xdpwall.control import offline
from xdpwall.dataplane import bypass
from xdpwall.dataplane.pins import Pins

GOOD = sources("45.5.6.7", 20)
TURNS = 10
WARNING = 1


@pytest.fixture
def walled(field: Field) -> Iterator[Field]:
    """A loaded wall without limits that bans the flood's sources; no controller. Nothing is left of its state."""
    field.lab.write_config(NO_LIMITS)
    field.lab.load("-i", "wan0")
    field.lab.wall("ban", "add", *MANY)
    yield field
    shutil.rmtree(field.lab.paths.state, ignore_errors=True)


def marked(field: Field) -> int:
    return field.passed().marked


def is_shut(field: Field, attack: object) -> None:
    """Of many packets more not one passes."""
    before = marked(field)
    more(attack, 5_000)  # type: ignore[arg-type]
    assert marked(field) == before


@pytest.mark.parametrize("controller", [False, True])
def test_off_lets_everything_pass_and_on_nothing_more(walled: Field, controller: bool) -> None:
    lab = walled.lab
    if controller:
        lab.start_controller("-i", "wan0")
    with walled.under_flood(MANY) as attack:
        more(attack, 5_000)
        assert marked(walled) == 0
        counted = lab.wall_json("status")["totals"]["packets"]
        off = lab.wall_json("off", "--reason", "a trial")
        assert (off["changed"], off["interfaces"]) == (True, ["wan0"])
        before, sent = marked(walled), attack.latest().sent
        more(attack, 5_000)
        wait_for(lambda: marked(walled) - before >= attack.latest().sent - sent - 2_000, "they pass")
        status = lab.wall_json("status")
        assert status["state"] == "OFF"
        assert (status["off"]["reason"], status["off"]["until_ms"]) == ("a trial", None)
        assert "OFF" in status["problems"][0]
        assert status["interfaces"][0]["attached"], "nothing is amiss with the link"
        assert status["bans"]["exact"] == len(MANY)
        assert lab.wall_json("on")["changed"]
        time.sleep(0.1)  # what was on its way
        is_shut(walled, attack)
        status = lab.wall_json("status")
        assert status["off"] is None
        assert status["totals"]["packets"] > counted, "counting goes on where it stopped"
        assert not lab.wall_json("on")["changed"]
    events = [row["event"] for row in offline.call(lab.paths, "history")["history"]]
    assert (events.count("off"), events.count("on")) == (1, 1)


def test_not_one_packet_is_lost_at_the_switch(walled: Field) -> None:
    """As many come through as the generator sent, over twenty exchanges of the program under load."""
    attack = walled.flood(GOOD, pps=20_000, seconds=60.0)
    before = marked(walled)
    attack.go()
    wait_for(lambda: attack.latest().sent > 0, "the flood begins")
    for _ in range(TURNS):
        walled.lab.wall("off")
        walled.lab.wall("on")
    sent = attack.finish().sent
    wait_for(lambda: marked(walled) - before >= sent, f"all {sent} packets come through")
    assert marked(walled) - before == sent


def test_a_killed_controller_leaves_it_off(walled: Field) -> None:
    """kill -9 while off: off it stays, the next controller finds it so, and `on` needs neither."""
    lab = walled.lab
    first = lab.start_controller("-i", "wan0")
    lab.wall("off")
    first.kill()
    first.wait()
    with walled.under_flood(MANY) as attack:
        wait_for(lambda: marked(walled) > 1_000, "they pass")
        check = lab.wall("status", "--check", check=False)
        assert "OFF" in check.stdout
        second = lab.start_controller("-i", "wan0")
        wait_for(lambda: lab.ask("status")["state"] == "OFF", "the next one sees it")
        assert lab.wall("status", "--check", check=False).returncode == WARNING
        assert "OFF since" in lab.wall("status", "--check", check=False).stdout
        before = marked(walled)
        more(attack, 5_000)
        assert marked(walled) > before, "it puts nothing back"
        second.kill()
        second.wait()
        lab.wall("on")
        time.sleep(0.1)
        is_shut(walled, attack)


def test_a_controller_that_hangs_cannot_keep_it_on(walled: Field) -> None:
    lab = walled.lab
    controller = lab.start_controller("-i", "wan0")
    controller.send_signal(signal.SIGSTOP)
    try:
        with walled.under_flood(MANY):
            done = lab.wall("off")
            assert "does not answer" in done.stderr
            wait_for(lambda: marked(walled) > 1_000, "they pass")
    finally:
        controller.send_signal(signal.SIGCONT)
    wait_for(lambda: lab.ask("status")["state"] == "OFF", "it takes note")
    wait_for(
        lambda: any(row["event"] == "off" for row in lab.ask("history")["history"]), "and writes it down"
    )


@pytest.mark.parametrize("controller", [False, True])
def test_the_kernel_turns_it_on_again_when_due(walled: Field, controller: bool) -> None:
    """With nobody there to do it, too."""
    lab = walled.lab
    if controller:
        lab.start_controller("-i", "wan0")
    with walled.under_flood(MANY) as attack:
        lab.wall("off", "--for", "2s")
        wait_for(lambda: marked(walled) > 1_000, "they pass")

        def shut() -> bool:
            before = marked(walled)
            more(attack, 2_000)
            return marked(walled) == before

        wait_for(shut, "it filters again")
        wait_for(lambda: lab.wall_json("status")["off"] is None, "and says so")
        if controller:
            wait_for(lambda: bypass.read(Pins(lab.paths)) is None, "the controller puts the wall itself back")
            is_shut(walled, attack)
        lab.wall("on")
        is_shut(walled, attack)


def test_a_load_does_not_turn_it_on(walled: Field) -> None:
    lab = walled.lab
    lab.wall("off")
    loaded = lab.wall("load", "-i", "wan0", "-c", str(lab.config_path))
    assert "the wall is OFF" in loaded.stderr
    with walled.under_flood(MANY) as attack:
        wait_for(lambda: marked(walled) > 1_000, "they pass")
        lab.wall("on")
        time.sleep(0.1)
        is_shut(walled, attack)
    lab.wall("off")
    lab.wall("unload")
    again = lab.wall("off", check=False)
    assert again.returncode != 0
    assert "no wall is loaded" in again.stderr
    lab.load("-i", "wan0")
    assert lab.wall_json("status")["off"] is None, "a wall that is put up anew is on"
