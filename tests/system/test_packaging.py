# SPDX-License-Identifier: Apache-2.0
"""What the Debian package is made of: libraries, manual, completions, units. The package itself: make test-system."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from xdpwall.config_text import tables
from xdpwall.interface.cli.main import VERBS


def normal(name: str) -> str:
    """A project's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_library_is_carried_or_debians(checkout: Path) -> None:
    """After a change of the dependencies: packaging/lock."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get("tui", [])]
    names = {normal(match[0]) for text in wanted if (match := re.match(r"[\w.-]+", text))}
    carried = {
        normal(line.partition("==")[0])
        for line in (checkout / "packaging/deb/vendored.txt").read_text().splitlines()
        if "==" in line
    }
    control = (checkout / "packaging/deb/debian/control").read_text()
    debians = {normal(name) for name in re.findall(r"python3-([a-z0-9.]+)", control)}
    assert names - carried - debians == set()
    assert not carried & debians


@pytest.mark.parametrize("file", ["packaging/requirements.txt", "packaging/deb/vendored.txt"])
def test_every_library_is_pinned_with_the_digests_of_its_files(checkout: Path, file: str) -> None:
    text = re.sub(r"^#.*\n", "", (checkout / file).read_text(), flags=re.MULTILINE)
    for entry in text.replace("\\\n", " ").splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^-]+)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), entry[
            :80
        ]


def test_what_the_project_asks_for_is_pinned(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {normal(match[0]) for text in wanted if (match := re.match(r"[\w.-]+", text))}
    pinned = (checkout / "packaging/requirements.txt").read_text().splitlines()
    assert names <= {normal(line.partition("==")[0]) for line in pinned if "==" in line}


@pytest.fixture(scope="module")
def pages(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the manual pages."""
    folder = tmp_path_factory.mktemp("man")
    subprocess.run(
        [sys.executable, "packaging/man/make_pages.py", str(folder)], cwd=checkout, check=True, timeout=60
    )
    return folder


def test_the_manual_has_every_verb_and_option(checkout: Path, pages: Path) -> None:
    """Also those of verbs below verbs."""
    page = (pages / "xdpwall.1").read_text().replace("\\-", "-")
    for verb in VERBS:
        assert f"\n.SS  {verb}" in page or f"\n.SS {verb}" in page, verb
    for text in (
        "ban add",
        "--interface",
        "--wait",
        "incident export" if "incident" in VERBS else "config init",
    ):
        assert text in page


def test_the_manual_has_every_key(pages: Path) -> None:
    """Each with its default."""
    page = (pages / "xdpwall.toml.5").read_text().replace("\\-", "-")
    for table in tables():
        for key in table.keys:
            assert f".B {key.name.rpartition('.')[2]} = " in page, key.name


def test_no_line_of_a_text_is_a_command_of_roff(pages: Path) -> None:
    """A sentence that begins with a dot or a quote must not vanish."""
    known = re.compile(r"^\.(TH|SH|SS|TP|PP|B|BR|I|nf|fi)\b")
    for page in pages.iterdir():
        lines = page.read_text().splitlines()
        assert [line for line in lines if line[:1] in {".", "'"} and not known.match(line)] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_made(checkout: Path, shell: str) -> None:
    """They ask the command itself."""
    done = subprocess.run(
        [sys.executable, "packaging/man/make_completion.py", shell],
        cwd=checkout, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert f"_XDPWALL_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("xdpwall unl", "unload"), ("xdpwall ban ", "add"), ("xdpwall load --w", "--wait")],
)
def test_the_command_completes(checkout: Path, words: str, expected: str) -> None:
    """Verbs, verbs below verbs, options."""
    environment = {
        **os.environ,
        "_XDPWALL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "xdpwall"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert expected in done.stdout


def unit(checkout: Path, name: str) -> configparser.RawConfigParser:
    """A unit file. Keys that stand more than once keep the last value."""
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys are case-sensitive
    found.read(checkout / "packaging/systemd" / name)
    return found


def test_the_controller_has_three_capabilities_at_most(checkout: Path) -> None:
    """And a user of its own."""
    service = unit(checkout, "xdpwall.service")["Service"]
    assert set(service["CapabilityBoundingSet"].split()) <= {"CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"}
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"]
    assert service["User"] == "xdpwall"
    assert service["Type"] == "notify"


def test_stopping_the_controller_leaves_the_wall(checkout: Path) -> None:
    """Only the loading unit takes it down, and nothing stops that at shutdown."""
    controller, loader = unit(checkout, "xdpwall.service"), unit(checkout, "xdpwall-load.service")
    assert "ExecStop" not in controller["Service"]
    assert loader["Service"]["ExecStop"].endswith("xdpwall unload")
    assert loader["Unit"]["DefaultDependencies"] == "no"
    assert "Conflicts" not in loader["Unit"]


def test_the_scripts_are_sound(checkout: Path) -> None:
    """Every script of packaging/ and vagrant/ by shellcheck."""
    if subprocess.run(["sh", "-c", "command -v shellcheck"], capture_output=True, check=False).returncode:
        pytest.skip("SKIPPED: shellcheck is not installed: apt-get install shellcheck")
    scripts = []
    for folder in ("packaging", "vagrant"):
        for path in sorted((checkout / folder).rglob("*")):
            if path.is_file() and path.read_bytes()[:64].startswith((b"#!/bin/sh", b"#!/usr/bin/env bash")):
                scripts.append(str(path))
    assert len(scripts) >= 5
    done = subprocess.run(
        ["shellcheck", "-S", "warning", *scripts], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
