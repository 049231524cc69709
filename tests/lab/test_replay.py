# SPDX-License-Identifier: Apache-2.0
"""Captures, replayed against the wall."""

from __future__ import annotations

import io
import os
from pathlib import Path

import dpkt
import pytest
from rich.console import Console

from tests.lab.test_scenarios import keeps_the_contract
from tests.lab.traffic import sources
from xdpwall.lab import api, capture, network, run, series

FOLDER = Path(os.environ.get("XDPWALL_CAPTURES", Path(__file__).resolve().parents[3] / "shared" / "captures"))
"""Captures of real attacks, where a machine has some."""
REAL = sorted(FOLDER.glob("*.pcap*")) if FOLDER.is_dir() else []
NONE = [
    pytest.param(
        None, marks=pytest.mark.skip(f"no captures: XDPWALL_CAPTURES names no folder of them ({FOLDER})")
    )
]


def attack_packets() -> list[bytes]:
    """A small SYN and UDP flood on one victim, and one answer of the victim."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.l2 import Ether

    victim = "10.10.10.10"
    found = []
    for number, source in enumerate(sources("5.3.7.1", 20)):
        upper = TCP(sport=2000, dport=80, flags="S") if number % 2 else UDP(sport=53, dport=4444) / bytes(100)
        found.append(bytes(Ether() / IP(src=source, dst=victim) / upper))
    found.append(bytes(Ether() / IP(src=victim, dst="5.3.7.1") / TCP(sport=80, dport=2000, flags="SA")))
    return found


@pytest.mark.parametrize("writer", [dpkt.pcap.Writer, dpkt.pcapng.Writer], ids=["pcap", "pcapng"])
def test_a_capture_reaches_the_server(tmp_path: Path, writer: type) -> None:
    path = tmp_path / "attack.pcap"
    with path.open("wb") as file:
        sink = writer(file)
        for number, data in enumerate(attack_packets()):
            sink.writepkt(data, ts=1_600_000_000 + number * 0.001)
    result = api.replay(path, pps=2_000, seconds=2)
    keeps_the_contract(result)
    assert result["scenario"] == "replay"
    assert result["capture"]["packets"] == 21
    assert result["capture"]["sent_per_round"] == 20
    assert result["capture"]["skipped"] == {"the victim's own answer": 1}
    assert result["attack"]["sources"] == 20
    assert result["attack"]["sent"] > 1_000
    kinds = result["attack"]["protocols"]
    assert abs(kinds["udp"] - kinds["syn"]) <= 1
    assert kinds["tcp"] == kinds["other"] == 0
    classes = result["attack"]["classes"]
    assert {name: row["sources"] for name, row in classes.items()} == {"udp": 10, "syn": 10}
    assert sum(row["leaked"] for row in classes.values()) == result["attack"]["leaked"]
    assert result["wall"]["agrees"]


@pytest.mark.parametrize("path", REAL or NONE, ids=lambda path: path.name if path else "none")
def test_a_real_capture(path: Path) -> None:
    """Read whole, sent, counted alike on both sides, users served."""
    result = api.replay(path, pps=5_000, seconds=1.5)
    keeps_the_contract(result)
    assert result["attack"]["sent"] > 1_000
    assert result["capture"]["sent_per_round"] > 0.95 * result["capture"]["packets"]
    assert result["wall"]["agrees"]


def test_ports_stay_and_can_be_open(tmp_path: Path) -> None:
    """Whoever listens on the attacked ports does so before the wall is loaded."""
    path = tmp_path / "attack.pcap"
    with path.open("wb") as file:
        sink = dpkt.pcap.Writer(file)
        for number, data in enumerate(attack_packets()):
            sink.writepkt(data, ts=1_600_000_000 + number * 0.001)
    found = capture.read(path, run.target(network.wall_link()))
    assert found.ports == {"tcp/80": 10, "udp/4444": 10}
    result = api.replay(path, pps=2_000, seconds=1, port_open=True)
    assert result["capture"]["open_ports"] == ["udp/4444"]
    assert "closed_udp" not in result["wall"]["by_reason"]


def test_several_captures_are_one_table(tmp_path: Path) -> None:
    path = tmp_path / "attack.pcap"
    with path.open("wb") as file:
        sink = dpkt.pcap.Writer(file)
        for number, data in enumerate(attack_packets()):
            sink.writepkt(data, ts=1_600_000_000 + number * 0.001)
    found = api.replay_series([path, tmp_path / "none.pcap"], pps=2_000, seconds=1)
    assert [one["name"] for one in found["runs"]] == ["attack.pcap", "none.pcap"]
    keeps_the_contract(found["runs"][0])
    assert "cannot be read" in found["runs"][1]["error"]
    assert not found["passed"]
    console = Console(width=170, record=True, file=io.StringIO())
    series.show(found, console)
    text = console.export_text()
    assert "NOT RUN" in text and "attack.pcap" in text and "FAIL" in text
