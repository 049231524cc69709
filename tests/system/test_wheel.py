# SPDX-License-Identifier: Apache-2.0
"""What is shipped: the wheel carries package, C sources and licences, and works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout, with no network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_holds_every_source(checkout: Path, wheel: Path) -> None:
    """Every module and its data, and every file of bpf/ under xdpwall/_bpf."""
    own = (p for p in (checkout / "xdpwall").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    modules = {str(p.relative_to(checkout)) for p in own}
    sources = {f"xdpwall/_bpf/{p.relative_to(checkout / 'bpf')}" for p in (checkout / "bpf").rglob("*.[ch]")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert sources
    assert not (modules | sources) - names
    assert not [name for name in names if name.startswith(("tests/", "bpf/"))]


def test_holds_licences_and_command(wheel: Path) -> None:
    """The three licence texts, and the console script."""
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    for licence in ("Apache-2.0", "GPL-2.0-only", "BSD-2-Clause"):
        assert [name for name in names if name.endswith(f"licenses/LICENSES/{licence}.txt")]
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "xdpwall = xdpwall.interface.cli.main:main" in archive.read(entry_points).decode()


def test_runs_away_from_the_checkout(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the command starts, and it is that copy which runs."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import xdpwall; print(xdpwall.__file__)"
    for arguments, expected in ((["-c", code], str(tmp_path)), (["-m", "xdpwall", "--version"], "xdpwall")):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
