# SPDX-License-Identifier: Apache-2.0
"""`explain`: how it is asked, and what people see. What it answers is tested on a real wall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.interface.conftest import Run
from xdpwall.dataplane import twin
from xdpwall.errors import NotLoadedError
from xdpwall.interface.cli import explain_show

PASS = {"verdict": "pass", "reason": "pass", "stage": "none", "meaning": "nothing speaks against it"}
DROP = {"verdict": "drop", "reason": "lane_udp", "stage": "lane budgets", "meaning": "over budget"}
METER = {
    "prefix": "203.0.113.9", "packets": 1_234, "bytes": 99_000, "syn": 5, "udp": 1_200, "icmp": 0, "fragments": 0,
    "drops": 7, "first_seen_ms": 9_000, "last_seen_ms": 2_000, "left_percent": {"pps": 80, "syn": 3},
}  # fmt: skip
SOURCE: dict[str, Any] = {
    "source": "203.0.113.9",
    "counts_as": "203.0.113.9",
    "target": "192.0.2.1",
    "listed": {
        "banned": True,
        "allowed_by": "203.0.113.0/24",
        "ban": {
            "prefix": "203.0.113.9",
            "remaining_ms": 90_000,
            "reason": "syn 812/s",
            "origin": "auto",
            "strikes": 2,
            "dropped_packets": 55,
        },
    },
    "meters": {
        "source": METER,
        "prefix": None,
        "limits": {"source": {"pps": 100, "bps": 0, "syn": 9, "udp": 0, "icmp": 0}, "prefix": {}},
    },
    "lanes": [
        {
            "lane": "syn",
            "budget_pps": 400,
            "budget_bps": 0,
            "left_percent": 100,
            "packets": 9,
            "dropped_packets": 0,
        },
        {
            "lane": "udp",
            "budget_pps": 10_000,
            "budget_bps": 0,
            "left_percent": 3,
            "packets": 9,
            "dropped_packets": 8,
        },
    ],
    "packets": [{"packet": "UDP to port 53 (somebody listens)", **PASS, "over_budget": DROP}],
}
CAPTURE: dict[str, Any] = {
    "file": "attack.pcap", "packets": 5_000, "tried": 4_990, "sent_by_us": 4, "filled_up": 3,
    "skipped": {"no whole Ethernet header": 6}, "capture_ms": 20_000, "took_ms": 500, "passed": 990, "dropped": 4_000,
    "answered": 0, "sources": 2, "broken": "the file ends within a packet",
    "reasons": [{**DROP, "packets": 4_000, "bytes": 240_000}, {**PASS, "packets": 990, "bytes": 60_000}],
    "top_sources": [
        {"source": "203.0.113.9", "packets": 4_500, "passed": 500, "dropped": 4_000,
         "reasons": {"lane_udp": 4_000, "pass": 500}}
    ],
}  # fmt: skip


def told(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    found = capsys.readouterr()
    return found.out.replace("\u202f", ","), found.err


def test_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    explain_show.source(SOURCE)
    out, _ = told(capsys)
    assert "203.0.113.9: packets to 192.0.2.1" in out
    assert "allowed: the allowlist has 203.0.113.0/24" in out
    assert "banned: 203.0.113.9 for 1m30s more, by auto, strike 2 (syn 812/s); it dropped 55 packets" in out
    assert "source meter 203.0.113.9: 1,234 packets" in out
    assert "limits: pps 100/s (80 % left), syn 9/s (3 % left)" in out
    assert "prefix meter: nothing was counted lately" in out
    assert "lanes: little is left of udp 3 % of 10,000/s (8 dropped so far)" in out
    assert "lane_udp: over budget" in out


def test_a_capture(capsys: pytest.CaptureFixture[str]) -> None:
    explain_show.capture(CAPTURE, pace=False)
    out, err = told(capsys)
    assert "attack.pcap: 5,000 packets, 2 sources, 20.0 s" in out
    assert "passed 990, dropped 4,000" in out
    assert "40 times as fast as in the capture" in out
    assert "--pace" in out
    for line in (
        "4 packets came from this host",
        "3 packets had been cut short",
        "no whole Ethernet",
        "not whole",
    ):
        assert line in err
    explain_show.capture(CAPTURE, pace=True)
    assert "as fast" not in told(capsys)[0]


@pytest.mark.parametrize(
    ("span", "took", "words"),
    [
        (20_000, 500, "40 times as fast"),
        (1_000, 500, "2.0 times as fast"),
        (500, 1_000, "as slowly"),
        (500, 510, "about"),
    ],
)
def test_how_fast_it_was(capsys: pytest.CaptureFixture[str], span: int, took: int, words: str) -> None:
    explain_show.capture({**CAPTURE, "capture_ms": span, "took_ms": took}, pace=False)
    assert words in told(capsys)[0]


def test_a_line_for_each_packet() -> None:
    row = {"number": 7, "packet": "UDP a > b", **DROP}
    assert explain_show.packet_line(row).split() == ["7", "drop", "lane_udp", "UDP", "a", ">", "b"]
    assert "would drop" in explain_show.packet_line({**row, "verdict": "pass", "would_drop": True})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["203.0.113.0/24"], "is a prefix"),
        (["nothing.pcap"], "neither an address nor a file"),
        (["203.0.113.9", "--port", "5", "--proto", "icmp"], "no ports"),
        (["203.0.113.9", "--fresh", "-i", "eth0"], "leave out -i"),
        (["203.0.113.9", "--own", "10.0.0.0/8"], "no single address"),
        (["203.0.113.9", "--port", "0"], "--port"),
        ([], "IP|FILE"),
    ],
)
def test_usage(run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    ran = run("explain", *arguments)
    assert ran.code == 2
    assert words in ran.err


def test_no_wall_is_4_and_names_the_way_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        raise NotLoadedError("no wall is loaded")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(twin, "copy_of", nothing)
    ran = run("explain", "203.0.113.9")
    assert ran.code == 4
    assert "--fresh" in ran.err


def test_not_root(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert run("explain", "203.0.113.9").code == 1
