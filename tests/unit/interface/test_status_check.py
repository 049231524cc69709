# SPDX-License-Identifier: Apache-2.0
"""`status --check`: what is critical, what a warning, and the format that monitoring systems read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.interface.conftest import Controller, Run
from tests.unit.interface.test_screens import STATUS
from xdpwall.errors import NotLoadedError, XdpwallError

FIGURE = re.compile(r"[a-z_]+=\d+(\.\d+)?(c|ms|KB)?;\d*;\d*;\d*(;\d*)?")
GONE = {"name": "eth1", "ifindex": 0, "mode": None, "attached": False, "program_id": 0}
BARE = {"name": "eth2", "ifindex": 3, "mode": None, "attached": False, "program_id": 0}
QUIET = {**STATUS, "state": "QUIET"}


def bans(exact: int, prefix: int = 0) -> dict[str, Any]:
    return {"bans": {"exact": exact, "prefix": prefix, "capacity": 1_000, "prefix_capacity": 100}}


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({}, 0, "XDPWALL OK - quiet; 2.00 Mpps come in, 1.99 Mpps dropped"),
        ({"state": "OBSERVE", "policy": "observe"}, 0, "policy is observe"),
        ({"state": "UNDER_ATTACK"}, 1, "XDPWALL WARNING - under attack; 2.00 Mpps come in"),
        ({"state": "UNDER_ATTACK", "policy": "observe"}, 2, "nothing is dropped"),
        ({"state": "DEGRADED", "problems": ["a | b", "second"]}, 1, "XDPWALL WARNING - a / b |"),
        ({"interfaces": [*STATUS["interfaces"], GONE]}, 2, "eth1 is missing"),
        ({"interfaces": [BARE]}, 2, "the wall does not run on eth2"),
        ({"interfaces": []}, 2, "no interface"),
        ({"controller": {"running": False}}, 2, "no controller runs"),
        (bans(950), 1, "the table of bans is 95.0 % full"),
        (bans(990, 95), 2, "99.0 % full |"),
        (bans(0, 100), 2, "the table of bans of prefixes is 100 % full"),
    ],
)
def test_verdicts(changes: dict[str, Any], code: int, said: str, run: Run, controller: Controller) -> None:
    controller.answers["status"] = {**QUIET, **changes}
    ran = run("status", "--check")
    assert ran.code == code
    head, *details = ran.out.splitlines()
    assert said in head
    assert len(details) == len(changes.get("problems", []))
    text, figures = head.split(" | ")
    assert re.match(r"XDPWALL (OK|WARNING|CRITICAL) - \S", text)
    assert all(FIGURE.fullmatch(figure) for figure in figures.split()), figures
    assert "bans=" in figures
    assert "dropped_packets=19800000c;;;0" in figures


def test_an_attack_can_count_as_anything(run: Run, controller: Controller) -> None:
    controller.answers["status"] = {**STATUS}
    assert run("status", "--check", "--attack", "critical").code == 2
    assert run("status", "--check", "--attack", "ok").code == 0
    assert run("status", "--check", "-o", "json").json["level"] == "WARNING"


def test_what_cannot_be_told(run: Run, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    controller.answers["status"] = NotLoadedError("no wall is loaded", hint="xdpwall load")
    ran = run("status", "--check")
    assert (ran.code, ran.out) == (2, "XDPWALL CRITICAL - no wall is loaded\nxdpwall load\n")
    controller.answers["status"] = XdpwallError("the maps cannot be read")
    assert run("status", "--check").code == 3
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    ran = run("status", "--check")
    assert ran.code == 3
    assert ran.out.startswith("XDPWALL UNKNOWN - ")


def test_lanes_and_incidents_on_the_same_screen(run: Run, controller: Controller) -> None:
    controller.answers["status"] = dict(STATUS)
    lane = {
        "pps": 50_000, "bps": 1, "budget_pps": 400, "budget_bps": 0, "over_pps": 49_600, "dropped_pps": 49_000,
        "passed_on_proof_pps": 600,
    }  # fmt: skip
    names = ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")
    controller.answers["overview"] = {
        "lanes": [{"lane": name, **lane} for name in names],
        "incidents": [{"id": 3, "key": "2026-11-23-1", "state": "open", "peak_pps": 2_100_000}],
    }
    ran = run("status")
    assert ran.code == 0
    (line,) = [line for line in ran.out.splitlines() if line.startswith("syn ")]
    assert line.split() == ["syn", "50.0", "kpps", "400", "pps", "49.6", "kpps", "49.0", "kpps", "600", "pps"]
    assert "incident 2026-11-23-1 is open, peak 2.10 Mpps: `xdpwall incident show 3`" in ran.out
    assert len(ran.out.splitlines()) <= 24, "one screen"
