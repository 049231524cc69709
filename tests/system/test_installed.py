# SPDX-License-Identifier: Apache-2.0
"""The way of `pip install`: the wheel in an environment of its own that sees nothing of the distribution's but bcc.

Nothing of the checkout is in reach there: C, tables, templates and the command come from the wheel, the libraries from
the index. Skipped, loudly, where that cannot be reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xdpwall.lab import namespaces
from xdpwall.paths import Paths

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a namespace, BPF and XDP"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
]
PACKAGES = Path("/usr/lib/python3/dist-packages")
Xdpwall = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it, with the screen and nothing else that is optional."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    made = folder / "venv"
    # The distribution's Python, as whoever installs it has; a shim of another one has no bcc that fits.
    subprocess.run([os.path.realpath(sys.executable), "-m", "venv", str(made)], check=True)
    pip = [str(made / "bin/python"), "-m", "pip", "-q", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", f"{wheel}[tui]"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed"
        if any(word in done.stderr for word in ("onnection", "No matching distribution", "timed out")):
            pytest.skip(f"SKIPPED: the libraries cannot be installed here: {reason}")
        pytest.fail(f"the wheel cannot be installed:\n{done.stderr}")
    return made


@pytest.fixture
def xdpwall(home: Path, tmp_path: Path) -> Iterator[Xdpwall]:
    """The installed command, in a namespace with a veth pair, in a folder that has nothing to do with it."""
    name = f"xwpip-{os.getpid()}"
    enter = ["nsenter", f"--net=/run/netns/{name}"]
    keep = ("PATH", "LANG", "TERM", "HOME")
    environment = {key: value for key, value in os.environ.items() if key in keep}

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*enter, str(home / "bin/xdpwall"), "--instance", name, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    namespaces.create(name)
    try:
        subprocess.run([*enter, "ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1"], check=True)
        yield run
    finally:
        subprocess.run(
            [*enter, str(home / "bin/xdpwall"), "--instance", name, "unload"],
            cwd=tmp_path, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        namespaces.remove(name)
        for folder in (Paths(name).runtime, Paths(name).state):
            shutil.rmtree(folder, ignore_errors=True)


def test_nothing_is_borrowed(home: Path, checkout: Path, tmp_path: Path) -> None:
    """Package and C are the wheel's; bcc is the distribution's, though this environment does not see it."""
    code = (
        "import json, xdpwall; from xdpwall.dataplane import compiler, source;"
        "print(json.dumps([xdpwall.__file__, str(source.bpf_folder()), str(compiler.bcc_folder())]))"
    )
    done = subprocess.run(
        [str(home / "bin/python"), "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    package, sources, bcc = map(Path, json.loads(done.stdout))
    assert package.is_relative_to(home)
    assert sources == package.parent / "_bpf"
    assert not bcc.is_relative_to(home)
    assert not any(path.is_relative_to(checkout) for path in (package, sources, bcc))
    # That all of it is there says test_wheel.py; that it compiles, this: not what was kept of an earlier compile.
    compiled = (
        "from xdpwall.dataplane import compiler, source;"
        "compiler.compile_source(source.bpf_folder() / 'lab' / 'counter.c', fresh=True).close()"
    )
    subprocess.run([str(home / "bin/python"), "-I", "-c", compiled], cwd=tmp_path, check=True, timeout=100)


def test_from_load_to_unload(xdpwall: Xdpwall) -> None:
    """The command loads its wall in native mode, bans, says so, and takes it down."""

    def told(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(xdpwall(*arguments, "-o", "json").stdout)
        return found

    xdpwall("load", "-i", "w0")
    (interface,) = told("status")["interfaces"]
    assert (interface["name"], interface["mode"], interface["attached"]) == ("w0", "native", True)
    assert told("ban", "add", "203.0.113.9", "--for", "1h")["added"] == 1
    assert told("ban", "test", "203.0.113.9")["banned"]
    assert "banned" in xdpwall("explain", "203.0.113.9").stdout
    assert "does not answer" in xdpwall("top", "--plain", "--rounds", "1", code=3).stdout
    xdpwall("unload")
    assert "no wall is loaded" in xdpwall("status", code=4).stderr


def test_what_needs_data_files(xdpwall: Xdpwall, tmp_path: Path) -> None:
    """The table of countries, the texts of the config, the doctor."""
    assert "US" in xdpwall("geo", "lookup", "8.8.8.8").stdout
    xdpwall("config", "init", str(tmp_path / "made.toml"))
    assert "[limits.source]" in (tmp_path / "made.toml").read_text()
    findings = json.loads(xdpwall("doctor", "-o", "json").stdout)["findings"]
    assert [f["level"] for f in findings if f["check"] in {"bcc", "bpf_syscall"}].count("ok") >= 1
