# SPDX-License-Identifier: Apache-2.0
"""Loads that fail, that meet another, or that are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bpf.packets import frame4
from tests.bpf.scene import LEAN, PASS, Probe, Scene, lean, scene
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.loader import unload
from xdpwall.errors import InputError, NotFoundError, NotLoadedError, RefusedError
from xdpwall.lab import namespaces
from xdpwall.reasons import Reason

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place() -> Iterator[Scene]:
    """A scene with two interfaces and nothing loaded."""
    with scene(["wt0", "wt1"]) as made:
        yield made


def test_no_interface_named(place: Scene) -> None:
    with pytest.raises(InputError):
        place.load(lean(), interfaces=[])
    assert not place.paths.pins.exists()


def test_an_interface_that_is_not_there(place: Scene) -> None:
    with pytest.raises(NotFoundError) as caught:
        place.load(lean(), interfaces=["wt0", "nonesuch"])
    assert "nonesuch" in caught.value.message
    assert "wt1" in (caught.value.hint or "")
    assert not place.paths.pins.exists()
    assert place.on("wt0") == (0, 0)


def test_two_loads_at_once(place: Scene) -> None:
    """The second is refused at once; so is an unload."""
    with place.pins.exclusive():
        with pytest.raises(RefusedError):
            place.load(lean())
        with pytest.raises(RefusedError):
            unload(place.paths)
    assert not place.paths.pins.exists()
    assert place.load(lean()).fresh


def test_other_instances_are_not_concerned(place: Scene) -> None:
    with scene() as other, other.pins.exclusive():
        place.load(lean())
        assert not other.paths.pins.exists()


KILLED = """
import json, os, signal, sys
from xdpwall.config import Config
from xdpwall.dataplane import attach, loader, pins
from xdpwall.paths import Paths

def end(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

{where} = end
loader.load(Config.from_mapping(json.loads(sys.argv[2])), Paths(sys.argv[1]), ["wt0"])
"""


@pytest.mark.parametrize(
    ("where", "half"),
    [
        ("pins.Pins.commit", False),
        ("attach.attach", True),
        ("attach.replace_pin", True),
    ],
)
def test_a_load_that_is_killed(place: Scene, where: str, half: bool) -> None:
    """Before the wall is in place there is none; after that there is one, which the next load completes."""
    done = subprocess.run(
        [
            "nsenter",
            f"--net={namespaces.path_of(place.name)}",
            sys.executable,
            "-c",
            KILLED.format(where=where),
            place.name,
            json.dumps(LEAN),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    if half:
        with place.open() as wall:
            assert not any(state.attached for state in wall.interfaces())
    else:
        assert place.pins.staging.exists()
        with pytest.raises(NotLoadedError):
            place.open()
    assert place.on("wt0") == (0, 0), "a link that nobody pinned goes with its process"
    report = place.load(lean(), interfaces=["wt0"])
    assert report.fresh != half
    assert not place.pins.staging.exists()
    with place.open() as wall:
        assert [state.attached for state in wall.interfaces()] == [True]
        probe = Probe(wall, "wt0")
        assert probe.run(frame4()) == (PASS, Reason.PASS)
        probe.close()


def test_what_a_killed_load_left_is_removed_by_unload(place: Scene) -> None:
    staged = place.pins.stage()
    fd = sys_bpf.prog_load(bytes.fromhex("b7000000020000009500000000000000"), "left")
    sys_bpf.obj_pin(fd, staged.clock)
    os.close(fd)
    with pytest.raises(NotLoadedError):
        unload(place.paths)
    assert not place.pins.staging.exists()
