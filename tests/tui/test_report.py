# SPDX-License-Identifier: Apache-2.0
"""The report of an incident, from the live screen to a file in the folder of whoever pressed the key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.lab.traffic import Field, sources
from tests.tui.conftest import Screen, on_screen
from xdpwall.lab.topology import Lab

pytestmark = pytest.mark.timeout(240)
BOT = "45.1.0.1"
TRAP = 'from pathlib import Path\n\nPath("sprung").touch()\n'


def test_the_report_of_an_attack(walled: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened with enter, exported with e: a page for its owner alone. What lies in the folder is not run as code."""
    field = Field(walled)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not to be touched")
    monkeypatch.chdir(tmp_path)

    async def work(screen: Screen) -> None:
        await screen.shows("UNDER ATTACK")
        await screen.press("3")
        await screen.until(lambda: bool(walled.ask("incident.list")["incidents"]), "an incident is on record")
        (incident,) = walled.ask("incident.list")["incidents"]
        report = tmp_path / f"xdpwall-incident-{incident['key']}.html"
        await screen.until(
            lambda: bool(walled.ask("incident.show")["incident"]["sources"]["top"]), "who sends is on record"
        )
        await screen.shows(incident["key"])
        await screen.press("enter")
        await screen.shows("peak")
        await screen.press("escape")
        (tmp_path / "xdpwall").mkdir()
        for name in ("__init__", "__main__"):
            (tmp_path / "xdpwall" / f"{name}.py").write_text(TRAP)
        report.symlink_to(elsewhere)  # somebody else's trap: whoever presses the key is root
        await screen.press("e")
        await screen.until(lambda: not report.is_symlink() and report.is_file(), "the report is there")
        await screen.shows("the report is in")
        page = report.read_text()
        assert page.startswith("<!doctype html>")
        assert incident["key"] in page
        assert BOT in page
        assert stat.S_IMODE(report.stat().st_mode) == 0o600

    try:
        with field.under_flood(sources(BOT, 2), pps=90_000):
            on_screen(walled.paths, work, size=(160, 50))
    finally:
        field.close()
    assert elsewhere.read_text() == "not to be touched"
    assert not (tmp_path / "sprung").exists()


def test_no_incident_and_no_room(walled: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and the screen goes on."""
    field = Field(walled)
    monkeypatch.chdir(tmp_path)

    async def work(screen: Screen) -> None:
        await screen.press("3", "e")
        await screen.shows("there is no incident to report on")
        with field.under_flood(sources(BOT, 2), pps=90_000):
            await screen.shows("UNDER ATTACK")
            await screen.until(
                lambda: bool(walled.ask("incident.list")["incidents"]), "an incident is on record"
            )
            (incident,) = walled.ask("incident.list")["incidents"]
            await screen.shows(incident["key"])
            in_the_way = tmp_path / f"xdpwall-incident-{incident['key']}.html"
            in_the_way.mkdir()
            await screen.press("e")
            await screen.shows("the report was not made", "directory")
            assert list(tmp_path.rglob("*")) == [in_the_way]

    try:
        on_screen(walled.paths, work, size=(160, 50))
    finally:
        field.close()
