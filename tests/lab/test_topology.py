# SPDX-License-Identifier: Apache-2.0
"""The lab is built, is closed to the outside, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.lab.traffic import wait_for
from xdpwall.errors import LabError
from xdpwall.lab import leftovers, legit, namespaces
from xdpwall.lab.topology import Lab
from xdpwall.paths import Paths

KEEP = """
import sys
from xdpwall.lab.topology import Lab
with Lab() as lab:
    print(lab.name, flush=True)
    sys.stdin.read()
"""


def traces(name: str) -> list[str]:
    """Whatever is still there of a lab."""
    paths = Paths(name)
    places = [paths.pins, paths.runtime, paths.state, leftovers.CLAIMS / name]
    folders = Path(tempfile.gettempdir()).glob(f"{name}-*")
    return namespaces.names(name + "-") + [str(p) for p in (*places, *folders) if p.exists()]


def links() -> list[str]:
    """Interfaces of the host's own namespace."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


@pytest.mark.parametrize("family", ["server4", "server6"])
def test_the_client_reaches_the_server(lab: Lab, family: str) -> None:
    legit.serve(lab, os.sched_getaffinity(0))
    address = getattr(lab, family)
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"

    def get() -> int:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)

    assert namespaces.inside(lab.namespace("client"), get) == 200


def test_nothing_leads_out(lab: Lab) -> None:
    """No link into the host's namespace, and only a blackhole beyond the lab's own networks."""
    assert links() == sorted(path.name for path in Path("/sys/class/net").iterdir())
    assert not [name for name in links() if name.startswith(("wan", "wall", "client"))]
    for family in ("-4", "-6"):
        routes = lab.exec_in("net", ["ip", family, "route", "show", "default"]).stdout.split()
        assert routes[:2] == ["blackhole", "default"]
    seen = {
        link.split("@")[0] for link in lab.exec_in("net", ["ip", "-br", "link"]).stdout.split("\n") if link
    }
    assert {line.split()[0] for line in seen} == {"lo", "wall0", "client0"}


def test_labs_do_not_meet() -> None:
    with Lab() as one, Lab() as two:
        assert one.name != two.name
        assert not set(namespaces.names(one.name + "-")) & set(namespaces.names(two.name + "-"))


def test_nothing_is_left_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="midway"), Lab() as lab:
        name = lab.name
        lab.load("-i", "wan0")
        assert traces(name)
        process = lab.popen_in("net", ["sleep", "1000"])
        raise RuntimeError("midway")
    assert traces(name) == []
    assert process.poll() is not None


def test_nothing_is_left_after_a_failed_build() -> None:
    with pytest.raises(LabError), Lab(mtu=10):
        pytest.fail("a link of ten bytes cannot be")
    assert leftovers.sweep() == []
    assert namespaces.names(f"{leftovers.PREFIX}{os.getpid()}-") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_a_signal(number: int) -> None:
    """Ctrl-C in the middle of an attack."""
    running = subprocess.Popen(
        [sys.executable, "-m", "xdpwall", "lab", "run", "labour2019", "--pps", "20000", "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    prefix = f"{leftovers.PREFIX}{running.pid}-1"
    assert running.stderr is not None
    for line in running.stderr:
        if "attack begins" in line:
            break
    assert namespaces.names(prefix)
    running.send_signal(number)
    _, error = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "Traceback" not in error
    assert traces(prefix) == []


def test_what_a_killed_lab_left_is_swept() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", KEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None and running.stdin is not None
    name = running.stdout.readline().strip()
    assert len(namespaces.names(name + "-")) == 3
    running.kill()
    running.communicate()
    assert traces(name)
    with Lab() as other:
        assert traces(name) == []
        assert len(namespaces.names(other.name + "-")) == 3


def test_a_living_lab_is_not_swept() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stdin is not None
        name = running.stdout.readline().strip()
        leftovers.sweep()
        assert len(namespaces.names(name + "-")) == 3
        running.stdin.close()
    wait_for(lambda: not traces(name), "the other lab cleans up")


def test_nothing_is_left_when_a_process_is_gone_with_words_unsaid() -> None:
    """What was written to it and not flushed cannot be flushed any more when the lab is taken down."""
    with Lab() as lab:
        name = lab.name
        process = lab.popen_in("net", ["sleep", "1000"], stdin=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.kill()
        process.wait()
    assert traces(name) == []
