# SPDX-License-Identifier: Apache-2.0
"""`learn`: what is shown, what is written, and when it refuses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.interface.conftest import Run
from xdpwall.control import advice, client
from xdpwall.control.advice import OnRecord
from xdpwall.detection.levels import Observed
from xdpwall.errors import NoControllerError, NotFoundError
from xdpwall.lanes import Lane

FILE = '# mine\ninterfaces = ["eth0"]\n\n[lanes.udp]\npps = 20_000 # was too low\n'


def seen(pps: int, seconds: int) -> Observed:
    made = Observed()
    made.pps.add(pps, seconds)
    made.bps.add(pps * 1_000, seconds)
    return made


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a record in place of the state file's."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(client, "call", lambda *a, **k: {"changed": [], "needs_load": []})

    def put(pps: int = 30_000, seconds: int = 700_000, *, attack: int = 0, path: str | None = None) -> None:
        found = OnRecord({Lane.UDP: seen(pps, seconds)}, seconds, attack, path)
        monkeypatch.setattr(advice, "on_record", lambda *a, **k: found)

    return put


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "xdpwall.toml"
    path.write_text(FILE)
    return path


def test_it_shows_and_changes_nothing(run: Run, record: Callable[..., None], file: Path) -> None:
    record(attack=7_200)
    ran = run("learn", "-c", str(file))
    assert ran.code == 0
    assert "8d2h of quiet traffic on record; 2h of attacks left out" in ran.out
    assert "lanes.udp.pps = 120000" in ran.out
    assert "P99.9" in ran.out
    assert file.read_text() == FILE


def test_json(run: Run, record: Callable[..., None], file: Path) -> None:
    record(attack=7_200)
    found = run("learn", "-c", str(file), "-o", "json").json
    assert found["schema"] == 1
    assert (found["quiet_seconds"], found["attack_seconds"], found["applied"]) == (700_000, 7_200, False)
    assert found["changes"] == {"lanes.udp.pps": 120_000}
    line = found["lanes"][[(row["lane"], row["figure"]) for row in found["lanes"]].index(("udp", "pps"))]
    assert line == {
        "lane": "udp",
        "figure": "pps",
        "seconds": 700_000,
        "percentiles": {"50": 30_000, "95": 30_000, "99": 30_000, "99.9": 30_000},
        "max": 30_000,
        "budget": 20_000,
        "proposed": 120_000,
        "seconds_over": 700_000,
        "seconds_over_proposed": 0,
    }


def test_apply_changes_the_file_and_keeps_the_rest(
    run: Run, record: Callable[..., None], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    asked = []

    def call(_: object, op: str, **__: object) -> dict[str, object]:
        asked.append(op)
        return {"changed": [], "needs_load": []}

    monkeypatch.setattr(client, "call", call)
    ran = run("learn", "-c", str(file), "--apply")
    assert ran.code == 0
    assert asked == ["reload"]
    assert file.read_text() == FILE.replace("20_000", "120000")
    (kept,) = file.parent.glob("xdpwall.toml.*.bak")
    assert kept.read_text() == FILE
    assert "-pps = 20_000 # was too low\n+pps = 120000 # was too low\n" in ran.out
    assert kept.name in ran.out
    assert "the controller has taken them over" in ran.out
    again = run("learn", "-c", str(file), "--apply")
    assert "the budgets fit" in again.out
    assert len(list(file.parent.glob("*.bak"))) == 1


def test_without_a_controller_it_says_when(
    run: Run, record: Callable[..., None], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise NoControllerError("nobody listens")

    record()
    monkeypatch.setattr(client, "call", nobody)
    ran = run("learn", "-c", str(file), "--apply", "-o", "json")
    assert (ran.code, ran.json["applied"], ran.json["reloaded"]) == (0, True, False)
    assert "no controller runs" in ran.err
    assert tomllib.loads(file.read_text())["lanes"]["udp"]["pps"] == 120_000


def test_too_little_is_refused(run: Run, record: Callable[..., None], file: Path) -> None:
    record(seconds=600)
    ran = run("learn", "-c", str(file), "--apply")
    assert ran.code == 5
    assert "only 10m of quiet traffic" in ran.err
    assert file.read_text() == FILE
    assert run("learn", "-c", str(file), "--apply", "--force").code == 0
    assert file.read_text() != FILE


def test_the_controller_s_own_file_is_meant(run: Run, record: Callable[..., None], file: Path) -> None:
    record(path=str(file))
    assert run("learn", "-o", "json").json["config"] == str(file)


def test_a_file_that_is_not_there_yet(run: Run, record: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "new" / "xdpwall.toml"
    record(path=str(path))
    ran = run("learn", "--apply")
    assert ran.code == 0
    assert tomllib.loads(path.read_text()) == {"lanes": {"udp": {"pps": 120_000}}}
    assert run("learn", "-c", str(tmp_path / "missing.toml")).code == 2


def test_nothing_learned_is_4(run: Run, record: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise NotFoundError("nothing was learned yet")

    record()
    monkeypatch.setattr(advice, "on_record", nothing)
    assert run("learn").code == 4


@pytest.mark.parametrize(
    "wrong", [["--days", "0"], ["--days", "31"], ["--percentile", "20"], ["--factor", "0.5"]]
)
def test_usage(run: Run, record: Callable[..., None], wrong: list[str]) -> None:
    record()
    assert run("learn", *wrong).code == 2
