# SPDX-License-Identifier: Apache-2.0
"""Every verb, typed as a person would, on a real wall in a network namespace of the test's own. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xdpwall.lab import namespaces
from xdpwall.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a namespace, BPF and XDP")

CHILD = """
import socket, sys, time
from xdpwall.dataplane import sys_bpf
program = sys_bpf.prog_load(bytes.fromhex("b7000000020000009500000000000000"), "not_ours")
link = sys_bpf.link_create_xdp(program, socket.if_nametoindex(sys.argv[1]), sys_bpf.XDP_FLAGS_SKB_MODE)
print("attached", flush=True)
time.sleep(60)
"""


@dataclass
class Shell:
    """A namespace with a veth pair inside it, and the wall's verbs run there."""

    namespace: str
    instance: str

    def argv(self, *arguments: str) -> list[str]:
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        return [*enter, sys.executable, "-m", "xdpwall", "--instance", self.instance, *arguments]

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*arguments), input=stdin, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0, stdin: str = "") -> dict[str, Any]:
        answer = json.loads(self(*arguments, "-o", "json", code=code, stdin=stdin).stdout)
        assert answer["schema"] == 1
        assert isinstance(answer, dict)
        return answer

    @contextmanager
    def controller(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(
            self.argv("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                deadline = time.monotonic() + 30
                while not self._answers():
                    assert process.poll() is None, "the controller ended"
                    assert time.monotonic() < deadline, "the controller does not answer"
                    time.sleep(0.1)
                yield process
            finally:
                process.terminate()
                process.wait(timeout=20)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(Paths(self.instance).socket)) == 0


@pytest.fixture
def wall() -> Iterator[Shell]:
    name = f"xwcli-{os.getpid()}"
    shell = Shell(name, name)

    def ip(*arguments: str) -> None:
        # Not `ip -n`: it remounts, which a chroot whose root is no mount point refuses.
        enter = ["nsenter", f"--net=/run/netns/{name}", "ip", *arguments]
        subprocess.run(enter, check=True, capture_output=True)

    namespaces.create(name)
    try:
        ip("link", "add", "w0", "type", "veth", "peer", "name", "w1")
        for link in ("w0", "w1"):
            ip("link", "set", link, "up")
        yield shell
    finally:
        subprocess.run(shell.argv("unload"), capture_output=True, check=False)
        namespaces.remove(name)
        for folder in (Paths(name).runtime, Paths(name).state):
            shutil.rmtree(folder, ignore_errors=True)


def the_lists(shell: Shell) -> None:
    """Ban, test, list, lift, allow: the same with a controller and without."""
    lines = "\n".join(f"10.{n >> 8}.{n & 255}.0/24" for n in range(2_000))
    assert shell.json("ban", "add", "-", stdin=lines)["added"] == 2_000
    added = shell.json("ban", "add", "198.51.100.7", "2001:db8::1", "--for", "1h", "--reason", "scans")
    assert (added["added"], added["widened"]) == (2, {"2001:db8::1": "2001:db8::/64"})
    assert "is too wide" in shell("ban", "add", "0.0.0.0/1", code=5).stderr
    shell("ban", "add", "-", stdin="192.0.2.1\nnonsense\n", code=2)
    assert len(shell.json("ban", "list")["bans"]) == 2_002
    assert shell.json("ban", "test", "2001:db8::2")["ban"]["reason"] == "scans"
    assert "by 10.0.1.0/24" in shell("ban", "test", "10.0.1.77").stdout
    shell("ban", "test", "192.0.2.1", code=4)
    assert "10.0.1.0/24 is, which holds it" in shell("ban", "del", "10.0.1.77", code=4).stderr
    shell("ban", "del", "10.0.1.0/24")
    shell("ban", "test", "10.0.1.77", code=4)
    assert "lifted the ban on 198.51.100.7" in shell("allow", "add", "198.51.100.0/24").stdout
    assert [entry["prefix"] for entry in shell.json("allow", "list")["allow"]] == ["198.51.100.0/24"]
    assert "the allowlist has" in shell("ban", "test", "198.51.100.7", code=4).stdout
    shell("allow", "del", "198.51.100.0/24")
    shell("allow", "del", "198.51.100.0/24", code=4)
    status = shell.json("status")
    assert (status["bans"]["exact"], status["bans"]["prefix"]) == (1, 1_999)
    assert [(entry["name"], entry["attached"]) for entry in status["interfaces"]] == [("w0", True)]
    assert shell.json("ban", "flush")["removed"] == 2_000
    assert shell("ban", "list").stdout == "nothing is banned\n"
    assert shell.json("verdicts")["policy"] == "enforce"


def test_from_load_to_unload(wall: Shell, tmp_path: Path) -> None:
    assert "no wall is loaded" in wall("status", code=4).stderr
    wall("load", code=2)
    wall("load", "-i", "w9", code=4)
    assert wall.json("load", "-i", "w0")["interfaces"] == [{"name": "w0", "mode": "native", "swapped": False}]
    assert "no controller" in wall("status").stdout or "nobody watches" in wall("status").stdout
    wall("sources", code=3)
    the_lists(wall)
    assert wall.json("load")["interfaces"][0]["swapped"]
    with wall.controller() as process:
        assert wall.json("status")["controller"]["pid"] > 0
        assert "controller" in wall("status").stdout
        assert "sources" in wall.json("sources")
        the_lists(wall)
        levels = {entry["check"]: entry["level"] for entry in wall.json("doctor")["findings"]}
        assert (levels["loaded"], levels["controller"], levels["xdp_mode"]) == ("ok", "ok", "ok")
        process.kill()
        process.wait()
        wall("ban", "add", "198.51.100.9", code=0)
        wall("ban", "test", "198.51.100.9")
    config = tmp_path / "wall.toml"
    config.write_text('policy = "observe"\n')
    doctor = {entry["check"]: entry for entry in wall.json("doctor", "-c", str(config))["findings"]}
    assert doctor["up_to_date"]["level"] == "warning"
    assert wall.json("unload") == {
        "schema": 1,
        "instance": wall.instance,
        "interfaces": ["w0"],
        "removed": True,
    }
    wall("unload", code=4)


def test_another_program_is_left_alone(wall: Shell) -> None:
    enter = ["nsenter", f"--net=/run/netns/{wall.namespace}", sys.executable, "-c", CHILD, "w0"]
    with subprocess.Popen(enter, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"attached\n"
            assert "not ours" in wall("load", "-i", "w0", code=5).stderr
            found = {entry["check"]: entry for entry in wall.json("doctor", "-i", "w0", code=1)["findings"]}
            assert found["other_program"]["level"] == "problem"
            assert "'not_ours'" in found["other_program"]["title"]
        finally:
            holder.kill()
