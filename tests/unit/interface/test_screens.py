# SPDX-License-Identifier: Apache-2.0
"""What people see: status, sources, verdicts, config, and numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.interface.conftest import Controller, Run
from xdpwall.config import Config
from xdpwall.interface.cli import units
from xdpwall.interface.cli.lab_progress import sample_line
from xdpwall.lab.progress import Sample
from xdpwall.reasons import Reason

STATUS: dict[str, Any] = {
    "instance": "default",
    "version": "1",
    "controller": {
        "running": True, "pid": 7, "uptime_ms": 61_000, "cpu_ms": 1_500, "rss_kb": 50_000, "ticks": 610,
        "tick_lag_ms": 1,
    },
    "policy": "enforce",
    "loaded_ms": 1,
    "interfaces": [{"name": "eth0", "ifindex": 2, "mode": "native", "attached": True, "program_id": 9}],
    "rates": {"pps": 2_000_000, "bps": 1_024_000_000, "dropped_pps": 1_990_000, "passed_pps": 10_000},
    "totals": {
        "packets": 20_000_000, "bytes": 1_280_000_000, "dropped_packets": 19_800_000, "dropped_bytes": 1,
        "passed_packets": 200_000, "passed_bytes": 1,
    },
    "bans": {"exact": 2_000, "prefix": 1, "capacity": 131_072, "prefix_capacity": 16_384},
    "allow": 1,
    "state": "UNDER_ATTACK",
    "problems": [],
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")


def test_status_under_attack(run: Run, controller: Controller) -> None:
    controller.answers |= {"status": dict(STATUS), "overview": {}}
    ran = run("status")
    first = ran.out.splitlines()[0]
    assert "UNDER ATTACK" in first
    assert "1.99 Mpps of 2.00 Mpps are dropped (99.5 %), 10.0 kpps pass" in first
    assert "2,000 sources (room for 131,072), 1 prefix (room for 16,384)" in ran.out
    assert "dropped 19,800,000 (99.0 %), passed 200,000" in ran.out
    assert "pid 7, up 1m1s, 49 MiB, 1.5 s of CPU" in ran.out
    assert len(ran.out.splitlines()) < 24, "one screen"
    assert "\x1b" not in ran.out, "no colours in a pipe"
    assert run("status", "-o", "json").json == {"schema": 1, **STATUS}


def test_status_without_a_controller(run: Run, controller: Controller) -> None:
    answer = {key: value for key, value in STATUS.items() if key != "rates"}
    lost = {"name": "eth1", "ifindex": 0, "mode": None, "attached": False, "program_id": 0}
    other = {"name": "eth2", "ifindex": 3, "mode": "generic", "attached": False, "program_id": 0}
    answer |= {
        "controller": {"running": False}, "state": "DEGRADED", "problems": ["no controller runs"],
        "interfaces": [*STATUS["interfaces"], lost, other],
    }  # fmt: skip
    controller.answers["status"] = answer
    ran = run("status")
    assert ran.code == 0
    assert "start it with `xdpwall run`" in ran.out
    assert "MISSING" in ran.out
    assert "NOT ATTACHED" in ran.out
    assert "! no controller runs" in ran.out


@pytest.mark.parametrize(
    ("state", "said"),
    [("QUIET", "come in"), ("OBSERVE", "nothing is dropped"), ("DEGRADED", "see the problems below")],
)
def test_status_in_other_states(state: str, said: str, run: Run, controller: Controller) -> None:
    controller.answers |= {"status": {**STATUS, "state": state}, "overview": {}}
    assert said in run("status").out.splitlines()[0]


def test_sources(run: Run, controller: Controller) -> None:
    row = {
        "source": "192.0.2.1", "packets": 5_000, "bytes": 320_000, "pps": 25_000, "bps": 12_800_000, "syn_pps": 9,
        "udp_pps": 24_000, "icmp_pps": 0, "fragments": 0, "drops": 3, "first_seen_ms": 1, "last_seen_ms": 2,
        "banned": True, "allowed": False,
    }  # fmt: skip
    controller.answers["sources"] = {"sources": [row], "metered": 4_000}
    ran = run("sources", "--limit", "1", "--sort", "udp")
    assert controller.asked == [("sources", {"limit": 1, "sort": "udp"})]
    for text in ("192.0.2.1", "25.0 k", "12.8 M", "24,000", "banned"):
        assert text in ran.out
    assert "1 of 4,000 sources" in ran.err
    controller.answers["sources"] = {"sources": [], "metered": 0}
    assert run("sources").out == "no source has been seen\n"


def test_verdicts(run: Run, controller: Controller) -> None:
    rows = [
        {
            "interface": "eth0", "reason": reason.label, "action": "drop" if reason.drops else "pass",
            "packets": 10 * (reason + 1), "bytes": 640, "pps": 5, "meaning": reason.meaning,
        }
        for reason in Reason
    ]  # fmt: skip
    controller.answers["verdicts"] = {"policy": "observe", "verdicts": rows}
    ran = run("verdicts")
    assert ran.out.startswith("policy is observe")
    for reason in Reason:
        assert reason.label in ran.out
        assert reason.meaning[:40] in ran.out


def test_config_init_check_show(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "wall.toml"
    assert run("config", "init", str(path)).code == 0
    assert Config.load(path) == Config()
    ran = run("config", "init", "-c", str(path))
    assert ran.code == 5
    assert "is not overwritten" in ran.err
    assert run("config", "init", "-").out == path.read_text()
    path.write_text('interfaces = ["nope0"]\n[bans]\ntime = "1h"\n')
    ran = run("config", "check", str(path))
    assert ran.code == 0
    assert "no mistake" in ran.out
    assert 'this host has no "nope0" now' in ran.err
    show = run("config", "show", "-c", str(path), "-o", "json").json
    assert show["values"]["bans"]["time"] == "1h"
    assert "bans.time" not in show["defaults"]
    assert "bans.growth" in show["defaults"]
    (line,) = [
        line for line in run("config", "show", str(path)).out.splitlines() if line.startswith("bans.time ")
    ]
    assert line.split() == ["bans.time", '"1h"', "file"]
    path.write_text("bans = 1\npolicy = 2\n")
    ran = run("config", "check", str(path), "-o", "json")
    assert ran.code == 2
    assert [p["line"] for p in ran.json["error"]["config"]["problems"]] == [1, 2]
    assert ran.err.startswith(f"{path}:1: bans: must be a table")
    assert run("config", "check", str(tmp_path / "none")).code == 2
    assert run("config", "check", "a", "-c", "b").code == 2


def test_a_config_that_others_may_write(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wall.toml"
    path.write_text("[meters]\nenabled = false\n")
    path.chmod(0o666)
    ran = run("config", "check", str(path), "-o", "json")
    if os.geteuid() == 0:  # root obeys none that others can change
        assert ran.code == 2
        assert f"{path} can be changed by others" in ran.err
        path.chmod(0o644)
        ran = run("config", "check", str(path), "-o", "json")
    assert [warning.partition(":")[0] for warning in ran.json["warnings"]][-2:] == [
        "interfaces is empty",
        "meters.enabled is false",
    ]


@pytest.mark.parametrize("arguments", [("load", "-i", "no/pe"), ("load", "-i", "lo"), ("run", "-i", "lo")])
def test_impossible_interfaces(arguments: tuple[str, ...], run: Run, controller: Controller) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.err.startswith("xdpwall: -i: ")
    assert "hint: " in ran.err


def test_an_interface_that_is_not_there(run: Run, controller: Controller) -> None:
    assert run("load", "-i", "nope0").code == 4


def test_the_lab_line() -> None:
    sample = Sample("attack", 4_400, 30_000, 10_000_000, 2_500_000, 1_200, 40, 900, 899, 1.25, 2_000)
    assert sample_line(sample) == (
        "attack 4/30 s  sent 10,000,000 (2.50 Mpps)  leaked 1,200 (40 pps)  bans 2,000  users 899/900, 1.2 ms"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 pps"), (950, "950 pps"), (999.4, "999 pps"), (999.6, "1.00 kpps"), (1_000, "1.00 kpps"),
        (9_994, "9.99 kpps"), (9_996, "10.0 kpps"), (99_960, "100 kpps"), (1_250_000, "1.25 Mpps"),
        (999_999, "1.00 Mpps"), (3.2e12, "3.20 Tpps"), (5e15, "5000 Tpps"),
    ],
)  # fmt: skip
def test_scaled(number: float, text: str) -> None:
    assert units.pps(number) == text


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_share_is_never_all_or_nothing_unless_it_is(part: int, rest: int) -> None:
    text = units.share(part, part + rest)
    assert (text == "100 %") == (rest == 0 and part > 0)
    assert (text == "0 %") == (part == 0)


def test_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert units.count(1_234_567) == "1,234,567"
    assert units.plural(1, "ban") == "1 ban"
    assert units.plural(2_000, "ban") == "2,000 bans"
