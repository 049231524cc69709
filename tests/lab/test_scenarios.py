# SPDX-License-Identifier: Apache-2.0
"""Whole scenarios: a quiet day drops nothing; a botnet is stopped while users are served; the result keeps its word."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from xdpwall.errors import NotFoundError
from xdpwall.lab import api, report, run
from xdpwall.lab.progress import Sample, Silent
from xdpwall.lab.scenario import Attack, Marks, Pulse, Storm
from xdpwall.lab.scenarios import REGISTRY

# What others read of the result.
CONTRACT = {
    "schema": int,
    "scenario": str,
    "mode": str,
    "duration_ms": int,
    "attack": dict,
    "legit": dict,
    "latency_ms": dict,
    "bans": int,
    "controller": dict,
}


class Watcher(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.samples: list[Sample] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)


def keeps_the_contract(result: dict[str, Any]) -> None:
    """Every key that the design promises, of the right kind; and numbers that add up."""
    for key, kind in CONTRACT.items():
        assert isinstance(result[key], kind), key
    attack, legit = result["attack"], result["legit"]
    assert {"sent", "dropped", "leaked", "recall", "sources", "peak_pps"} <= attack.keys()
    assert {"attempted", "succeeded", "p50_ms", "p99_ms", "baseline_p99_ms"} <= legit.keys()
    assert {"first_packet_to_first_drop", "first_packet_to_incident"} <= result["latency_ms"].keys()
    assert {"cpu_ms", "rss_kb"} <= result["controller"].keys()
    assert result["controller"]["rss_kb"] > 0
    assert attack["sent"] == attack["dropped"] + attack["leaked"]
    assert json.loads(json.dumps(result)) == result
    assert (report.passed(result) == []) is result["passed"]


def test_a_quiet_day_drops_nothing() -> None:
    watcher = Watcher()
    result = api.run_scenario("quiet", seconds=2, progress=watcher)
    keeps_the_contract(result)
    assert result["wall"]["dropped"] + result["wall"]["dropped_before"] == 0
    assert result["legit"]["succeeded"] == result["legit"]["attempted"] > 50
    assert result["attack"]["recall"] is None
    assert report.passed(result) == []
    assert watcher.phases and watcher.samples


def test_a_botnet_is_stopped() -> None:
    """The real scenario, smaller: fewer bots, so that a slow machine can push them at their full rate."""
    full = REGISTRY["labour2019"]
    assert isinstance(full.attack, Attack)
    attack = dataclasses.replace(
        full.attack,
        pps=60_000,
        classes=tuple(dataclasses.replace(part, bots=part.bots // 20) for part in full.attack.classes),
        ramp_seconds=1.0,
    )
    small = dataclasses.replace(
        full, attack=attack, seconds=8.0, at_most_seconds=8.0, marks=Marks(recall={"heavy": 0.5})
    )
    watcher = Watcher()
    result = run.run(small, watcher)
    keeps_the_contract(result)
    heavy, thin = result["attack"]["classes"]["heavy"], result["attack"]["classes"]["thin"]
    assert heavy["sources"] == 100
    assert heavy["recall"] > 0.5
    assert thin["recall"] > 0.5, "under every limit per source; the budgets of the lanes hold them"
    assert result["wall"]["agrees"], "behind the wall and in it the same is counted"
    assert result["bans"] >= 90
    assert [c["code"] for c in result["attack"]["countries"][:2]] == ["RU", "BR"]
    shares = {c["code"]: c["share"] for c in result["attack"]["countries"]}
    assert shares["RU"] == pytest.approx(0.60, abs=0.02)
    assert shares["BR"] == pytest.approx(0.25, abs=0.02)
    assert sum(result["attack"]["protocols"].values()) >= result["attack"]["sent"]
    assert all(result["attack"]["protocols"].values())
    assert result["latency_ms"]["first_packet_to_first_drop"] is not None
    assert any(sample.bans for sample in watcher.samples)


def test_the_command_line_prints_the_result() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xdpwall", "lab", "run", "quiet", "--seconds", "1", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    keeps_the_contract(json.loads(done.stdout))


def test_an_unknown_scenario() -> None:
    with pytest.raises(NotFoundError, match="teapot"):
        api.run_scenario("teapot")


def test_every_scenario_is_listed() -> None:
    listed = {row["name"]: row for row in api.list_scenarios()}
    assert {"quiet", "labour2019"} <= listed.keys()
    assert listed["labour2019"]["sources"] == 20_000
    assert all(row["summary"] and row["marks"] for row in listed.values())


@pytest.mark.parametrize("name", ["syn-spoofed-v6", "udp-open", "dns-fragmented", "carpet", "pulse", "mixed"])
def test_a_storm_runs(name: str) -> None:
    """Sent as it says, counted alike on both sides, beside users of every kind. Speed is not judged.

    What the packets of every scenario look like is in test_shapes.py; here is one of each way to send them.
    """
    full = REGISTRY[name]
    assert isinstance(full.attack, Storm)
    storm = dataclasses.replace(full.attack, pps=20_000, pulse=full.attack.pulse and Pulse(0.4, 0.4))
    result = run.run(
        dataclasses.replace(full, attack=storm, seconds=1.2, at_most_seconds=1.2, baseline_seconds=0.5),
        Watcher(),
    )
    keeps_the_contract(result)
    attack = result["attack"]
    assert attack["sent"] > 1_000
    if storm.pulse:
        assert attack["sent"] < 20_000 * 0.95, "a pause between two waves"
    assert set(attack["classes"]) == {stream.name for stream in storm.streams}
    assert all(row["sent"] for row in attack["classes"].values())
    assert sum(attack["protocols"].values()) >= attack["sent"]
    assert result["wall"]["agrees"]
    assert result["legit"]["by_kind"].keys() >= {"newcomer", "http", "stream", "dns", "ping", "host_ping"}
    assert result["legit"]["attempted"] == sum(k["attempted"] for k in result["legit"]["by_kind"].values())


def test_a_series_is_one_table() -> None:
    """Two runs by the command line: an object with both, and the exit code of the worse."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "xdpwall",
            "lab",
            "run",
            "quiet",
            "udp-closed",
            "--seconds",
            "1",
            "-o",
            "json",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    found = json.loads(done.stdout)
    assert [run["name"] for run in found["runs"]] == ["quiet", "udp-closed"]
    for one in found["runs"]:
        keeps_the_contract(one)
    assert found["passed"] is all(one["passed"] for one in found["runs"])
    assert done.returncode == (0 if found["passed"] else 1), done.stderr


def test_a_series_with_an_unknown_name_runs_nothing() -> None:
    with pytest.raises(NotFoundError, match="teapot"):
        api.run_series(["quiet", "teapot"])
