# SPDX-License-Identifier: Apache-2.0
"""Schedule, traffic, health, notification, logs: each on its own."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from xdpwall.control import notify
from xdpwall.control.health import Health
from xdpwall.control.logs import Throttle
from xdpwall.control.schedule import Schedule
from xdpwall.control.traffic import Traffic
from xdpwall.dataplane.interface import Count
from xdpwall.reasons import Reason

MS = 1_000_000


def test_ticks_do_not_drift() -> None:
    schedule = Schedule(100 * MS, 0)
    for tick in range(1, 100):
        assert schedule.wait_ns((tick * 100 - 60) * MS) == 60 * MS
        assert schedule.begin((tick * 100 + 7) * MS) == 7 * MS  # each is 7 ms late, and the next is not
    assert schedule.ticks == 99
    assert schedule.left_out == 0
    assert schedule.lag_ms == 7
    assert not schedule.behind


def test_late_ticks_do_not_pile_up() -> None:
    schedule = Schedule(100 * MS, 0)
    assert schedule.wait_ns(1_050 * MS) == 0
    assert schedule.begin(1_050 * MS) == 950 * MS
    assert schedule.left_out == 9
    assert schedule.wait_ns(1_051 * MS) == 49 * MS
    for step in range(1, 200):
        schedule.begin((1_000 + step * 300) * MS)
    assert schedule.behind


def counts(**packets: int) -> dict[str, dict[Reason, Count]]:
    return {"eth9": {Reason[name.upper()]: Count(n, n * 100) for name, n in packets.items()}}


def test_rates_are_of_the_last_second() -> None:
    traffic = Traffic()
    for step in range(31):
        traffic.update(counts(**{"pass": step * 10, "banned_source": step * 90}), step * 100 * MS)
    assert traffic.rates("enforce") == {
        "pps": 1_000, "bps": 800_000, "dropped_pps": 900, "passed_pps": 100, "dropped_bps": 720_000,
        "passed_bps": 80_000,
    }  # fmt: skip
    observed = traffic.rates("observe")
    assert (observed["dropped_pps"], observed["passed_pps"], observed["would_drop_pps"]) == (0, 1_000, 900)
    assert traffic.banned_pps() == 900
    assert [round(rate) for rate in traffic.last_tick()] == [100, 80_000]  # what got past the bans
    assert traffic.by_verdict() == {("eth9", Reason.PASS): 100, ("eth9", Reason.BANNED_SOURCE): 900}


def test_totals_that_shrink_are_a_new_wall() -> None:
    traffic = Traffic()
    traffic.update(counts(**{"pass": 1_000_000}), 0)
    traffic.update(counts(**{"pass": 10}), 100 * MS)
    assert traffic.rates("enforce")["pps"] == 0
    traffic.update(counts(**{"pass": 20}), 200 * MS)
    assert traffic.rates("enforce")["pps"] == 100


def test_problems_come_and_go() -> None:
    health = Health()
    health.set("a", "one")
    assert health.replace("b", ["two", "three"]) == ["two", "three"]
    assert health.replace("b", ["three", "four"]) == ["four"]
    health.put("a", None)
    assert health.problems == ["three", "four"]
    health.replace("b", [])
    assert health.problems == []


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@xdpwall-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(5)
        assert notify.notify("READY=1", "STATUS=QUIET")
        assert sock.recv(100) == b"READY=1\nSTATUS=QUIET"
        assert notify.reloading(5_000_000)
        assert sock.recv(100) == b"RELOADING=1\nMONOTONIC_USEC=5000"


def test_systemd_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    assert not notify.notify("READY=1")


def test_the_watchdog_is_fed_at_half_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert notify.watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert notify.watchdog_seconds() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_seconds() is None


def test_a_thousand_lines_become_a_count(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("throttled")
    throttle = Throttle(logger, each_second=3)
    with caplog.at_level(logging.INFO, "throttled"):
        for number in range(1_000):
            throttle.line("ban", f"banned {number}")
        throttle.second()
        throttle.line("ban", "banned again")
    assert [record.message for record in caplog.records] == [
        "banned 0", "banned 1", "banned 2", "ban: 997 more in this second", "banned again",
    ]  # fmt: skip
