# SPDX-License-Identifier: Apache-2.0
"""Incidents on a real wall: a controller killed in the middle, and what hides under a flood."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pcapng import FileScanner, blocks

from tests.lab.traffic import MIXED, Field, more, sources, wait_for, wait_until_done
from xdpwall.lab import network
from xdpwall.lab.topology import Lab

pytestmark = pytest.mark.timeout(240)
CONFIG = """
[proof]
refresh = "1s"
[incident]
close_after = "20s"
[probes]
interval = "1s"
tcp = ["{server}:22"]
"""
DOOR = """
import socket
for family, any_ in ((socket.AF_INET, "0.0.0.0"),):
    door = socket.create_server((any_, 22), family=family, backlog=64)
print("ready", flush=True)
while True:
    guest, _ = door.accept()
    guest.sendall(b"SSH-2.0-test\\r\\n")
    guest.close()
"""
SPY = """
import socket, sys, time
server = sys.argv[1]
for number in range(12):
    began = time.monotonic()
    with socket.socket() as probe:
        probe.settimeout(0.5)
        probe.connect_ex((server, 9000 + number))
    if number < 10:
        with socket.create_connection((server, 22), timeout=10) as login:
            login.recv(100)
    time.sleep(max(0, 2 - (time.monotonic() - began)))
"""
CALL = """
import socket, sys
with socket.socket() as call:
    call.settimeout(1)
    call.connect_ex((sys.argv[1], 4444))
"""


@pytest.fixture
def guarded(field: Field) -> Iterator[tuple[Lab, subprocess.Popen[Any]]]:
    """A wall with its controller, and a service on port 22 behind it."""
    lab = field.lab
    lab.write_config(CONFIG.format(server=lab.server4))
    door = lab.popen_in("wall", [sys.executable, "-c", DOOR], stdout=subprocess.PIPE, text=True)
    assert door.stdout is not None
    assert door.stdout.readline() == "ready\n"
    lab.load()
    yield lab, lab.start_controller()
    lab.stop(door)
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def rows(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.ask("incident.list")["incidents"]
    return found


def record(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = lab.ask("incident.show")["incident"]
    return found


def test_a_controller_that_is_killed_in_the_middle(
    guarded: tuple[Lab, subprocess.Popen[Any]], field: Field
) -> None:
    lab, controller = guarded
    attack = field.flood(sources("198.18.0.1", 400), pps=60_000, seconds=8.0, traffic=MIXED)
    attack.go()
    wait_for(lambda: bool(rows(lab)), "the incident opens")
    opened = record(lab)
    wait_for(lambda: record(lab)["totals"]["packets"] > 0, "it is on record")
    controller.kill()
    controller.wait(10)
    more(attack, 5_000)  # nobody counts these but the kernel
    lab.start_controller()
    report = wait_until_done(attack)
    wait_for(lambda: record(lab)["totals"]["packets"] >= report.sent, "all of it is counted")
    wait_for(lambda: record(lab)["state"] == "closed", "it closes", 60)
    assert len(rows(lab)) == 1
    found = record(lab)
    assert found["id"] == opened["id"]
    assert found["first_packet_ms"] == opened["first_packet_ms"]
    # Beside the flood there are a few packets of neighbour discovery and of the probe.
    assert report.sent <= found["totals"]["packets"] <= report.sent * 1.001 + 500
    assert "restarted" in [action["what"] for action in found["actions"]]
    (probe,) = found["users"]["probes"]
    assert probe["during_tries"] + probe["after_tries"] > 0


def test_the_samples_are_kept_with_their_verdicts(
    guarded: tuple[Lab, subprocess.Popen[Any]], field: Field
) -> None:
    lab, _ = guarded
    attack = field.flood(sources("198.18.0.1", 400), pps=60_000, seconds=3.0, traffic=MIXED)
    attack.go()
    wait_until_done(attack)
    wait_for(lambda: bool(rows(lab)) and record(lab)["samples"]["packets"] > 0, "samples are kept")
    path = lab.paths.state / "incidents" / f"{rows(lab)[0]['id']}.pcapng"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with path.open("rb") as file:
        packets = [block for block in FileScanner(file) if isinstance(block, blocks.EnhancedPacket)]
    assert packets
    assert all(str(packet.options["opt_comment"]).split(":")[0] in {"pass", "drop"} for packet in packets)


@pytest.mark.slow
def test_a_slow_scan_and_logins_under_a_flood(
    guarded: tuple[Lab, subprocess.Popen[Any]], field: Field
) -> None:
    """One port every two seconds, and ten logins, while as much is sent as this machine can."""
    lab, _ = guarded
    addresses = sources("198.18.0.1", 4_000)
    attack = field.flood(addresses, pps=2_000_000, seconds=40.0, traffic=MIXED)
    attack.go()
    wait_for(lambda: bool(rows(lab)), "the incident opens")
    lab.exec_in("wall", [sys.executable, "-c", CALL, network.CLIENT_LINK.host.v4])
    lab.exec_in("client", [sys.executable, "-c", SPY, lab.server4], timeout=90)
    wanted = {"port_scan", "admin_login", "outbound"}
    wait_for(lambda: wanted <= {entry["kind"] for entry in record(lab)["diversion"]}, "all of them are found")
    attack.finish()
    found = {
        entry["kind"]: entry
        for entry in record(lab)["diversion"]
        if entry["source"] == network.CLIENT_LINK.host.v4
    }
    assert found["port_scan"]["count"] >= 8
    assert set(found["port_scan"]["ports"]) <= {22, *range(9_000, 9_012)}
    assert found["admin_login"]["count"] >= 10
    assert found["admin_login"]["ports"] == [22]
    assert found["outbound"]["ports"] == [4444]
