# SPDX-License-Identifier: Apache-2.0
"""`config apply`, `confirm`, `rollback`, `show --diff` and `simulate` as typed; what they do is tested elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.interface.conftest import Run
from xdpwall.control import live, trial
from xdpwall.paths import Paths


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As root, with no wall, no controller and no state of its own."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(live, "stands_on", lambda _: [])
    monkeypatch.setattr(live, "reload", lambda _: False)
    monkeypatch.setattr(Paths, "state", property(lambda _: tmp_path / "state"))


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The file in force and another one."""
    old, new = tmp_path / "wall.toml", tmp_path / "new.toml"
    old.write_text("[bans]\ngrowth = 2.0\n")
    new.write_text("[bans]\ngrowth = 3.0\n")
    return str(old), str(new)


def test_a_dry_run_shows_and_changes_nothing(run: Run, files: tuple[str, str]) -> None:
    old, new = files
    done = run("config", "apply", new, "-c", old, "--dry-run", "-o", "json")
    assert done.code == 0
    assert done.json["differences"] == [{"key": "bans.growth", "old": 2.0, "new": 3.0, "effect": "at once"}]
    assert not done.json["applied"]
    assert "2.0" in Path(old).read_text()
    shown = run("config", "show", new, "-c", old, "--diff")
    assert "bans.growth" in shown.out


def test_applied_at_once(run: Run, files: tuple[str, str]) -> None:
    old, new = files
    done = run("config", "apply", new, "-c", old)
    assert done.code == 0
    assert "no controller runs" in done.out
    assert "3.0" in Path(old).read_text()
    assert trial.read(Path(old)) is None
    again = run("config", "apply", new, "-c", old)
    assert (again.code, "nothing to do" in again.out) == (0, True)


def test_from_standard_input(run: Run, files: tuple[str, str]) -> None:
    done = run("config", "apply", "-", "-c", files[0], stdin="[bans]\ngrowth = 4.0\n")
    assert done.code == 0
    assert "4.0" in Path(files[0]).read_text()


@pytest.mark.parametrize("time", ["1s", "2d", "soon", "perm"])
def test_a_bad_time_is_refused(run: Run, files: tuple[str, str], time: str) -> None:
    done = run("config", "apply", files[1], "-c", files[0], "--confirm", time)
    assert done.code == 2
    assert "2.0" in Path(files[0]).read_text()


def test_the_file_in_force_itself_is_refused(run: Run, files: tuple[str, str]) -> None:
    done = run("config", "apply", files[0], "-c", files[0])
    assert done.code == 2
    assert "edit a copy" in done.err


def test_nothing_on_trial(run: Run, files: tuple[str, str]) -> None:
    for verb in ("confirm", "rollback"):
        assert run("config", verb, "-c", files[0]).code == 4


def test_simulate_without_a_record(run: Run, files: tuple[str, str]) -> None:
    assert run("simulate", "-c", files[0]).code == 4
    assert run("simulate", "-c", files[0], "--set", "limits.source.ppps=1").code == 2
    assert run("simulate", "-c", files[0], "--since", "1d", "--until", "2d").code == 2
    assert run("simulate", "-c", files[0], "--since", "yesterday").code == 2
