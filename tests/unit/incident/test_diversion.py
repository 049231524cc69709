# SPDX-License-Identifier: Apache-2.0
"""Scans, probing, logins and outbound flows, told apart from everyday noise."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.incident.diversion import DiversionLane, DiversionRules, Kind
from xdpwall.incident.model import Diversion

RULES = DiversionRules(scan_ports=8, scan_window_ms=600_000)
US = bytes([192, 0, 2, 1])


@dataclass(frozen=True)
class Seen:
    at_ms: int
    kind: int
    peer: bytes = bytes([203, 0, 113, 7])
    local: bytes = US
    local_port: int = 22
    peer_port: int = 40_000


def kinds(found: list[Diversion] | tuple[Diversion, ...]) -> list[str]:
    return [entry.kind for entry in found]


def test_a_slow_scan_is_seen_and_told_once() -> None:
    lane = DiversionLane(RULES)
    told = [
        entry
        for number in range(20)
        for entry in lane.take([Seen(number * 2_000, Kind.CLOSED, local_port=8_000 + number)], alarmed=True)
    ]
    assert kinds(told) == ["port_scan"]
    (finding,) = lane.findings(0)
    assert (finding.at_ms, finding.until_ms, finding.count) == (0, 38_000, 20)
    assert finding.ports == tuple(range(8_000, 8_020))
    assert finding.source == "203.0.113.7"


def test_a_scan_slower_than_the_window_is_not() -> None:
    lane = DiversionLane(RULES)
    for number in range(20):
        lane.take([Seen(number * 100_000, Kind.CLOSED, local_port=8_000 + number)], alarmed=True)
    assert lane.findings(0) == ()


def test_one_port_again_and_again_is_no_scan() -> None:
    lane = DiversionLane(RULES)
    lane.take([Seen(number, Kind.CLOSED, local_port=9) for number in range(100)], alarmed=True)
    assert lane.findings(0) == ()


def test_a_sweep_over_addresses() -> None:
    lane = DiversionLane(RULES)
    lane.take(
        [Seen(n, Kind.CLOSED, local=bytes([192, 0, 2, n]), local_port=9) for n in range(1, 12)], alarmed=True
    )
    (finding,) = lane.findings(0)
    assert finding.kind == "host_sweep"
    assert finding.count == 11


def test_probing_of_admin_ports() -> None:
    lane = DiversionLane(RULES)
    lane.take([Seen(n * 1_000, Kind.ADMIN, local_port=22) for n in range(5)], alarmed=True)
    (finding,) = lane.findings(0)
    assert (finding.kind, finding.count, finding.ports) == ("admin_probe", 5, (22,))


def test_ten_logins_by_a_stranger_are_one_finding() -> None:
    lane = DiversionLane(RULES)
    told = lane.take([Seen(n * 1_000, Kind.LOGIN) for n in range(10)], alarmed=True)
    assert kinds(told) == ["admin_login"]
    assert told[0].count == 10


def test_who_logged_in_in_quiet_times_is_no_stranger() -> None:
    lane = DiversionLane(RULES)
    lane.take([Seen(0, Kind.LOGIN)], alarmed=False)
    again = DiversionLane(RULES)
    again.trust(lane.trusted())
    assert again.take([Seen(9_000_000, Kind.LOGIN)], alarmed=True) == []


def test_allowlisted_sources_are_spared() -> None:
    lane = DiversionLane(RULES, lambda address: address[0] == 203)
    lane.take([Seen(n, Kind.LOGIN) for n in range(3)], alarmed=True)
    lane.take([Seen(n, Kind.CLOSED, local_port=n) for n in range(30)], alarmed=True)
    assert lane.findings(0) == ()


def test_new_outbound_peers_only_in_an_alarm() -> None:
    lane = DiversionLane(RULES)
    known, strange = bytes([198, 51, 100, 1]), bytes([198, 51, 100, 2])
    assert lane.take([Seen(0, Kind.OUTBOUND, peer=known, peer_port=443)], alarmed=False) == []
    lane.learn_quiet(60.0)
    assert lane.take([Seen(1_000, Kind.OUTBOUND, peer=known, peer_port=443)], alarmed=True) == []
    (finding,) = lane.take([Seen(2_000, Kind.OUTBOUND, peer=strange, peer_port=4444)], alarmed=True)
    assert (finding.kind, finding.source, finding.ports) == ("outbound", "198.51.100.2", (4444,))


def test_a_host_that_meets_new_peers_all_the_time() -> None:
    lane = DiversionLane(RULES)
    for minute in range(120):
        lane.take(
            [Seen(minute * 60_000 + n, Kind.OUTBOUND, peer=bytes([10, minute, n, 1])) for n in range(30)],
            alarmed=False,
        )
        lane.learn_quiet(60.0)
    fresh = [Seen(120 * 60_000 + n, Kind.OUTBOUND, peer=bytes([11, 0, n, 1])) for n in range(30)]
    assert lane.take(fresh, alarmed=True) == []


def test_a_crowd_of_scanners_is_folded() -> None:
    lane = DiversionLane(RULES)
    for source in range(60):
        lane.take(
            [Seen(n, Kind.CLOSED, peer=bytes([203, 0, 113, source]), local_port=1_000 + n) for n in range(9)],
            alarmed=True,
        )
    found = lane.findings(0)
    assert len(found) == 26
    assert sum(entry.source == "35 more sources" for entry in found) == 1


def test_findings_go_on_after_a_restart() -> None:
    lane = DiversionLane(RULES)
    lane.take([Seen(n, Kind.LOGIN) for n in range(3)], alarmed=True)
    again = DiversionLane(RULES)
    again.recall(lane.findings(0))
    again.take([Seen(10_000, Kind.LOGIN)], alarmed=True)
    (finding,) = again.findings(0)
    assert finding.count == 4


def test_memory_is_bounded() -> None:
    lane = DiversionLane(RULES)
    for number in range(50_000):
        lane.take(
            [Seen(number, Kind.CLOSED, peer=number.to_bytes(4, "big"), local_port=number % 65_535 + 1)],
            alarmed=True,
        )
    assert len(lane._trails) <= 20_000
