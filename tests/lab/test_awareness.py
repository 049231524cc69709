# SPDX-License-Identifier: Apache-2.0
"""A wall that knows its host: open ports as they come and go; `explain` and `learn` on a real wall."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bpf.packets import ACK, SYN, TCP, UDP, frame4, tcp, udp
from tests.lab.traffic import wait_for
from xdpwall.control import learned
from xdpwall.control.database import Database
from xdpwall.control.learning import HOUR_MS, Learned
from xdpwall.dataplane import budgets
from xdpwall.dataplane.layout import BY_NAME
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.pins import Pins
from xdpwall.detection.levels import Observed
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab
from xdpwall.lanes import Lane

BASE = '# the lab\'s own\n[proof]\nrefresh = "1s"\n\n[lanes.udp]\npps = 20_000 # too low\n'
BOT = "203.0.113.9"


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    """A loaded wall; no controller. Nothing is left of its state afterwards."""
    lab.write_config(BASE)
    lab.load()
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def read(lab: Lab, name: str) -> bytes:
    array = MappedArray(Pins(lab.paths), name)
    try:
        return bytes(array.memory[: array.size])
    finally:
        array.close()


def listens(lab: Lab, protocol: str, port: int) -> bool:
    return bool(read(lab, "ports")[port + (65_536 if protocol == "udp" else 0)] & 0x80)


def udp_cost(lab: Lab) -> int:
    size = BY_NAME["budgets"].value_size
    (cost, *_) = budgets.BUDGET.unpack_from(read(lab, "budgets"), Lane.UDP * size)
    return int(cost)


def test_ports_come_and_go(walled: Lab) -> None:
    """The load told of what listened then; the controller tells of what listens now."""
    space = walled.namespace("wall")
    walled.start_controller()
    with ExitStack() as stack:

        def open_() -> None:
            stack.enter_context(socket.create_server(("", 8_443)))
            udp_socket = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp_socket.bind(("", 5_353))

        assert not listens(walled, "tcp", 8_443)
        namespaces.inside(space, open_)
        wait_for(lambda: listens(walled, "tcp", 8_443), "TCP 8443 is open")
        assert listens(walled, "udp", 5_353)
        assert not listens(walled, "udp", 8_443)
        assert not listens(walled, "tcp", 5_353)
    wait_for(lambda: not listens(walled, "tcp", 8_443), "TCP 8443 is closed")
    walled.write_config(BASE + '\n[lanes]\nclosed_ports = "never"\n')
    walled.ask("reload")
    wait_for(lambda: listens(walled, "tcp", 8_443) and listens(walled, "udp", 1), "every port counts as open")


def test_explain_an_address(walled: Lab) -> None:
    """What the wall knows of it, and the controller's reasons; and nothing of the wall changes."""
    walled.start_controller()
    walled.wall("ban", "add", BOT, "--for", "1h", "--reason", "scans")
    found = walled.wall_json("explain", BOT)
    assert found["program"]["same_as_loaded"] is True
    assert found["target"] == walled.server4
    assert found["listed"]["banned"] is True
    assert found["listed"]["ban"]["reason"] == "scans"
    assert {row["reason"] for row in found["packets"]} == {"banned_source"}
    assert {row["over_budget"]["verdict"] for row in found["packets"]} == {"drop"}
    assert {row["lane"]: row["budget_pps"] for row in found["lanes"]}["udp"] == 20_000
    assert walled.ask("ban.list")["bans"][0]["dropped_packets"] == 0, "the wall itself dropped nothing"
    text = walled.wall("explain", "2001:db8:99::7", "--port", "9", "--proto", "udp").stdout
    assert "2001:db8:99::7, which counts as 2001:db8:99::/64: packets to " + walled.server6 in text
    assert "on no list" in text
    assert "closed_udp" in text


def pcap(path: Path, frames: list[bytes]) -> Path:
    raw = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    for number, frame in enumerate(frames):
        raw += struct.pack("<IIII", 1_700_000_000, number * 100, len(frame), len(frame)) + frame
    path.write_bytes(raw)
    return path


def test_explain_a_capture(walled: Lab, tmp_path: Path) -> None:
    """A flood in a capture trips budgets, malformed packets are named, our own packets go out."""
    ours = walled.server4
    flood = [frame4(udp(b"x", dport=9), UDP, source=f"198.51.{n >> 8}.{n & 255}") for n in range(2_000)]
    frames = [
        frame4(udp(b"?", sport=50_000, dport=53), UDP, source=ours, target="203.0.113.53"),
        frame4(tcp(SYN | ACK | 1), TCP),
        frame4(tcp(SYN), TCP)[:50],
        *flood,
        frame4(udp(b"!", sport=53, dport=50_000), UDP, source="203.0.113.53", target=ours),
    ]
    path = pcap(tmp_path / "attack.pcap", frames)
    found = walled.wall_json("explain", str(path))
    assert (found["packets"], found["sent_by_us"], found["broken"]) == (len(frames), 1, None)
    by_reason = {row["reason"]: row for row in found["reasons"]}
    assert by_reason["tcp_flags"]["packets"] == 1
    assert sum(by_reason.get(name, {"packets": 0})["packets"] for name in ("truncated", "ip_length")) == 1
    assert by_reason["closed_udp"]["packets"] > 1_000
    assert by_reason["closed_udp"]["stage"] == "lane budgets"
    assert by_reason["pass_flow"]["packets"] == 1, "the answer to what we asked"
    lines = walled.wall("explain", str(path), "-v", "-n", "200").stdout
    assert "TCP SYN+FIN+ACK 192.0.2.7:40000 > 198.51.100.1:443" in lines
    assert "as in the capture" in lines


def test_explain_without_a_wall(lab: Lab) -> None:
    config = lab.write_config('[allow]\nprefixes = ["203.0.113.0/24"]\n')
    refused = lab.wall("explain", BOT, check=False)
    assert refused.returncode == 4
    assert "--fresh" in refused.stderr
    found = lab.wall_json("explain", BOT, "--fresh", "-c", str(config))
    assert found["program"] == {
        "interface": None,
        "policy": "enforce",
        "same_as_loaded": None,
        "differences": [],
    }
    assert {row["reason"] for row in found["packets"]} == {"pass_allowed"}
    assert not (Pins(lab.paths).root).exists()


def observed(pps: int, seconds: int) -> Observed:
    made = Observed()
    made.pps.add(pps, seconds)
    made.bps.add(pps * 800, seconds)
    return made


def test_learned_budgets_reach_the_kernel(walled: Lab) -> None:
    """From the record over the config into the running wall, with no load."""
    walled.start_controller()
    nothing = walled.wall("learn", check=False)
    assert nothing.returncode == 4
    now = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    database = Database(walled.paths.database)
    parts = [Learned(now - HOUR_MS, Lane.UDP, True, observed(50_000, 90_000))]
    database.work(lambda db: learned.add(db, parts, now))
    database.close()
    before = udp_cost(walled)
    shown = walled.wall_json("learn")
    assert shown["config"] == str(walled.config_path)
    assert shown["changes"]["lanes.udp.pps"] == 200_000
    assert (shown["applied"], udp_cost(walled)) == (False, before)
    text = walled.wall("learn", "--apply").stdout
    assert "-pps = 20_000 # too low\n+pps = 200000 # too low" in text
    assert "# the lab's own" in walled.config_path.read_text()
    assert before / udp_cost(walled) == pytest.approx(200_000 / 20_000, rel=0.01)
    assert "the budgets fit" in walled.wall("learn", "--apply").stdout


def test_what_comes_in_is_on_record(walled: Lab) -> None:
    """The controller writes what waits when it stops."""
    controller = walled.start_controller()
    script = (
        "import socket,time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"for _ in range(60):\n s.sendto(b'x', ({walled.server4!r}, 9)); time.sleep(0.05)\n"
    )
    walled.exec_in("net", [sys.executable, "-c", script])
    time.sleep(1.5)  # the second in which the last one came must be over
    walled.stop(controller)
    found = json.loads(walled.wall("learn", "-o", "json").stdout)
    udp_lane = next(row for row in found["lanes"] if (row["lane"], row["figure"]) == ("udp", "pps"))
    assert udp_lane["max"] >= 5
    assert found["quiet_seconds"] >= 2
    assert found["config"] == str(walled.config_path)
