# SPDX-License-Identifier: Apache-2.0
"""`xdpwall incident`."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import pytest

from tests.unit.incident.hostile import hostile
from tests.unit.incident.sample import incident
from tests.unit.interface.conftest import Controller, Run
from xdpwall.control.incident_tables import summary
from xdpwall.errors import NotFoundError
from xdpwall.incident.model import Incident
from xdpwall.incident.render import FORMATS, render
from xdpwall.interface.cli import incident as verb

SAMPLE = incident()


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def known(controller: Controller) -> Controller:
    """A controller with one incident."""
    controller.answers["incident.list"] = {"incidents": [summary(SAMPLE)]}
    controller.answers["incident.show"] = SAMPLE.to_json()
    return controller


def test_list(run: Run, known: Controller) -> None:
    lines = run("incident", "list").out.splitlines()
    assert len(lines) == 2
    for words in (
        "2026-11-23-1",
        "closed",
        "2026-11-23 16:04:42 UTC",
        "35 s",
        "1.24 Mpps",
        "98.9 %",
        "RU BR US",
        "SYN flood",
    ):
        assert words in lines[1]
    assert run("-o", "json", "incident", "list").json["incidents"][0]["id"] == 7
    known.answers["incident.list"] = {"incidents": []}
    assert "no incident" in run("incident", "list").out


def test_list_of_a_fresh_incident(run: Run, known: Controller) -> None:
    """In its first second little is known."""
    known.answers["incident.list"] = {
        "incidents": [summary(Incident(1, "2026-11-23-1", "open", 1_795_449_882_000))]
    }
    assert "open" in run("incident", "list").out


def test_show(run: Run, known: Controller) -> None:
    ran = run("incident", "show", "7")
    assert ran.code == 0
    for words in (
        "OVER",
        "SYN flood",
        "Russia",
        "60.0 %",
        "+38 ms",
        "port scan",
        "198.51.100.23",
        "export 7",
    ):
        assert words in ran.out
    assert known.asked[-1] == ("incident.show", {"id": "7"})
    run("incident", "show")
    assert known.asked[-1] == ("incident.show", {"id": "last"})
    assert Incident.from_json(run("-o", "json", "incident", "show", "2026-11-23-1").json) == SAMPLE


def test_show_writes_no_foreign_control_characters(run: Run, known: Controller) -> None:
    known.answers["incident.show"] = hostile(SAMPLE).to_json()
    out = run("incident", "show").out
    assert not [char for char in out if not (char.isprintable() or char == "\n")]


def test_an_incident_that_is_not_there(run: Run, controller: Controller) -> None:
    controller.answers["incident.show"] = NotFoundError("there is no incident 99")
    assert run("incident", "show", "99").code == 4


@pytest.mark.parametrize("form", FORMATS)
def test_export_to_standard_output(run: Run, known: Controller, form: str) -> None:
    told, wanted = run("incident", "export", "7", "--format", form).out, render(SAMPLE, form)
    assert json.loads(told) == json.loads(wanted) if form == "json" else told == wanted


def test_export_is_html_of_the_last_one(run: Run, known: Controller) -> None:
    assert run("incident", "export").out.startswith("<!doctype html>")
    assert known.asked[-1] == ("incident.show", {"id": "last"})


def test_export_as_json_of_another_format(run: Run, known: Controller) -> None:
    assert run("-o", "json", "incident", "export", "--format", "md").json["text"] == render(SAMPLE, "md")
    assert json.loads(run("-o", "json", "incident", "export", "--format", "json").out)["key"] == SAMPLE.key


def test_export_to_a_file(run: Run, known: Controller, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert run("incident", "export", "--to", str(target)).out == f"wrote {target}\n"
    assert target.read_text() == render(SAMPLE, "html")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.write_text("mine")
    refused = run("incident", "export", "--to", str(target))
    assert (refused.code, target.read_text()) == (5, "mine")
    assert run("incident", "export", "--to", str(target), "--force").code == 0
    assert target.read_text() != "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_export_to_a_folder_names_the_file(run: Run, known: Controller, tmp_path: Path) -> None:
    answer = run("-o", "json", "incident", "export", "--format", "stix", "--to", str(tmp_path)).json
    assert answer["path"] == str(tmp_path / "xdpwall-incident-2026-11-23-1.stix.json")
    known.answers["incident.show"] = dataclasses.replace(SAMPLE, key="../../etc/x y").to_json()
    assert run("incident", "export", "--to", str(tmp_path)).code == 0
    assert (tmp_path / "xdpwall-incident-etcxy.html").exists()


def test_export_to_where_nothing_can_be_written(run: Run, known: Controller, tmp_path: Path) -> None:
    ran = run("incident", "export", "--to", str(tmp_path / "no" / "folder.html"))
    assert (ran.code, "No such file" in ran.err) == (2, True)


def test_works_without_a_controller(run: Run, known: Controller) -> None:
    known.running = False
    assert run("incident", "list").code == 0
    assert run("incident", "show").code == 0
    assert known.offline


def test_the_verb_knows_every_format() -> None:
    assert verb.FORMATS == FORMATS
