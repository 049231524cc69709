# SPDX-License-Identifier: Apache-2.0
"""A running controller whose wall is tampered with behind its back: what it sees, what it puts right, what it says."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.lab.traffic import BYSTANDER, Field, sources, udp_frame, wait_for
from xdpwall.dataplane import layout, sys_bpf
from xdpwall.dataplane.meta import read_meta
from xdpwall.dataplane.pins import Pins, replace_pin
from xdpwall.dataplane.wall import Wall
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab

PATIENCE = 60.0
PASS = b"\xb7\x00\x00\x00\x02\x00\x00\x00\x95" + bytes(7)
"""r0 = XDP_PASS; exit: somebody else's program."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.write_config("[bans]\ncollapse_sources = 0\n")
        made.load()
        yield made
        shutil.rmtree(made.paths.state, ignore_errors=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """One for most tests, with a controller that has looked at everything twice: each leaves it as it was."""
    with Lab() as made:
        made.write_config("[bans]\ncollapse_sources = 0\n")
        made.load()
        made.start_controller()
        wait_for(
            lambda: status(made)["controller"]["uptime_ms"] > 14_000, "it looked at everything", PATIENCE
        )
        yield made
        shutil.rmtree(made.paths.state, ignore_errors=True)


@pytest.fixture
def watched(shared: Lab) -> Lab:
    """All is well, and nothing was repaired in this test so far."""
    wait_for(lambda: not status(shared)["problems"], "all is well", PATIENCE)
    _repaired.clear()
    _repaired.update(status(shared)["checks"]["repairs"])
    return shared


_repaired: dict[str, int] = {}


def status(lab: Lab) -> dict[str, Any]:
    return lab.ask("status")


def failed(lab: Lab, check: str) -> str:
    """What is wrong by a check, in words; empty for nothing."""
    found = [entry for entry in status(lab)["checks"]["troubles"] if entry["check"] == check]
    return "\n".join(entry["text"] for entry in found)


def repairs(lab: Lab, check: str) -> int:
    """How often something was put right by a check in this test."""
    return int(status(lab)["checks"]["repairs"].get(check, 0)) - _repaired.get(check, 0)


def events(lab: Lab) -> list[str]:
    return [row["event"] for row in lab.ask("history", limit=200)["history"]]


class Timed:
    """Says how long after the fault something came about (``pytest -s``)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._at = time.monotonic()

    def until(self, meaning: str, what: Callable[[], object]) -> None:
        wait_for(lambda: bool(what()), meaning, PATIENCE)
        print(f"\nFAULT {self._what} | {meaning} | {time.monotonic() - self._at:.1f} s")


@contextmanager
def stranger() -> Iterator[int]:
    fd = sys_bpf.prog_load(PASS, "stranger")
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def link_of(lab: Lab, name: str = "wan0") -> Iterator[int]:
    fd = sys_bpf.obj_get(Pins(lab.paths).link(name))
    try:
        yield fd
    finally:
        os.close(fd)


def degraded(lab: Lab) -> bool:
    return bool(status(lab)["state"] == "DEGRADED")


def test_at_rest_every_check_passes(watched: Lab) -> None:
    found = status(watched)
    assert (found["problems"], found["checks"]["failed"], found["checks"]["repairs"]) == ([], [], {})
    assert {"program", "path", "bans", "clock", "link"} <= set(found["checks"]["passed"])


def test_the_program_is_exchanged(watched: Lab) -> None:
    before = status(watched)["interfaces"][0]["program_id"]
    with stranger() as program, link_of(watched) as link:
        fault = Timed("program exchanged through our link")
        sys_bpf.link_update(link, program)
        fault.until("repaired", lambda: repairs(watched, "program") == 1)
    assert status(watched)["interfaces"][0]["program_id"] == before
    wait_for(lambda: not status(watched)["problems"], "all is well again", PATIENCE)
    assert "mended" in events(watched)
    assert "program: mended:" in (watched.folder / "controller.log").read_text()


def test_program_and_pin_are_exchanged(watched: Lab) -> None:
    """No program of ours is left to put back, so a load must: the tag says it, and so do the packets that pass."""
    with stranger() as program, link_of(watched) as link:
        fault = Timed("program and its pin exchanged")
        replace_pin(program, Pins(watched.paths).program("wan0"))
        sys_bpf.link_update(link, program)
        fault.until("seen by the tag", lambda: "its tag is" in failed(watched, "program"))
        frames = [udp_frame(BYSTANDER, watched.wall_links[0], 0)] * 30
        fault.until("seen by the counters", lambda: send(watched, frames) and failed(watched, "path"))
    check = watched.wall("status", "--check", check=False)
    assert check.returncode == 2, check.stdout
    human = watched.wall("status").stdout
    assert "DEGRADED" in human
    assert "(for " in human
    fault = Timed("`xdpwall load` after that")
    watched.load()
    fault.until("well", lambda: not failed(watched, "program") and not failed(watched, "path"))
    log = (watched.folder / "controller.log").read_text()
    assert log.count("program: wan0: the program is not the one that the load put there") == 1
    assert "program: right again after" in log


def send(lab: Lab, frames: list[bytes]) -> bool:
    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((lab.wall_links[0].net.ifname, 0))
            for frame in frames:
                raw.send(frame)

    namespaces.inside(lab.namespace("net"), work)
    return True


def test_the_link_is_detached(watched: Lab) -> None:
    with link_of(watched) as link:
        fault = Timed("link detached")
        sys_bpf.link_detach(link)
    fault.until("repaired", lambda: repairs(watched, "attached") == 1)
    assert status(watched)["interfaces"][0]["attached"]


def test_another_program_takes_the_place(watched: Lab) -> None:
    index = status(watched)["interfaces"][0]["ifindex"]
    with stranger() as program, link_of(watched) as link:
        fault = Timed("link detached, another's program attached")
        sys_bpf.link_detach(link)

        def attach() -> int:
            return sys_bpf.link_create_xdp(program, index, sys_bpf.XDP_FLAGS_DRV_MODE)

        theirs = namespaces.inside(watched.namespace("wall"), attach)
        fault.until("seen", lambda: "not ours" in failed(watched, "attached"))
        assert "ip link set dev wan0 xdp off" in failed(watched, "attached")
        assert repairs(watched, "attached") == 0  # never touched
        os.close(theirs)
    fault = Timed("the other's program is gone")
    fault.until("repaired", lambda: status(watched)["interfaces"][0]["attached"])
    wait_for(lambda: not degraded(watched), "all is well again", PATIENCE)


def test_native_mode_is_lost(watched: Lab) -> None:
    index = status(watched)["interfaces"][0]["ifindex"]
    pins = Pins(watched.paths)
    program = sys_bpf.obj_get(pins.program("wan0"))
    with link_of(watched) as link:
        fault = Timed("put up in generic mode")
        sys_bpf.link_detach(link)

        def attach() -> int:
            return sys_bpf.link_create_xdp(program, index, sys_bpf.XDP_FLAGS_SKB_MODE)

        generic = namespaces.inside(watched.namespace("wall"), attach)
        replace_pin(generic, pins.link("wan0"))
    os.close(generic)
    os.close(program)
    fault.until("repaired", lambda: repairs(watched, "mode") == 1)
    shown = watched.exec_in("wall", ["ip", "link", "show", "dev", "wan0"]).stdout
    assert "xdpgeneric" not in shown
    wait_for(lambda: not degraded(watched), "all is well again", PATIENCE)


def test_the_mtu_changes(watched: Lab) -> None:
    fault = Timed("MTU 1500 to 3200")
    watched.exec_in("wall", ["ip", "link", "set", "dev", "wan0", "mtu", "3200"])
    fault.until("seen", lambda: "the MTU is 3200 now and was 1500" in failed(watched, "mtu"))
    watched.exec_in("wall", ["ip", "link", "set", "dev", "wan0", "mtu", "1500"])
    wait_for(lambda: not degraded(watched), "all is well again", PATIENCE)


def test_the_interface_is_renamed(watched: Lab) -> None:
    def rename(old: str, new: str) -> None:
        watched.exec_in("wall", ["ip", "link", "set", "dev", old, "down"])
        watched.exec_in("wall", ["ip", "link", "set", "dev", old, "name", new])
        watched.exec_in("wall", ["ip", "link", "set", "dev", new, "up"])

    fault = Timed("interface renamed")
    rename("wan0", "other0")
    fault.until("seen", lambda: "the interface is called other0 now" in failed(watched, "attached"))
    rename("other0", "wan0")
    wait_for(lambda: not degraded(watched), "all is well again", PATIENCE)


def test_the_egress_filter_goes(watched: Lab) -> None:
    fault = Timed("egress filter removed")
    watched.exec_in("wall", ["tc", "filter", "del", "dev", "wan0", "egress"])
    fault.until("repaired", lambda: repairs(watched, "egress") == 1)
    assert "xdpwall" in watched.exec_in("wall", ["tc", "filter", "show", "dev", "wan0", "egress"]).stdout


def test_a_stage_goes(watched: Lab) -> None:
    fd = Pins(watched.paths).open_map("stages")
    fault = Timed("a stage taken out of its map")
    assert sys_bpf.map_delete(fd, bytes(4))
    os.close(fd)
    fault.until("seen", lambda: "are missing: over" in failed(watched, "stages"))
    watched.load()
    wait_for(lambda: not degraded(watched), "a load puts it back", PATIENCE)


def test_tables_are_tampered_with(watched: Lab) -> None:
    """Bans, allowlist, own addresses, budgets, and what the load wrote down: each is put right while it runs."""
    watched.ask("ban.add", items=["203.0.113.9", "89.160.0.0/16", "2a02:26f0:d7::/64"])
    watched.ask("allow.add", prefixes=["192.0.2.0/24"])
    with Wall.open(watched.paths) as wall:
        fault = Timed("three bans lifted in the kernel")
        assert wall.bans.clear() == 3
        fault.until("repaired", lambda: repairs(watched, "bans") >= 3)
        fault = Timed("allowlist entry removed in the kernel")
        for prefix in list(wall.allow.entries()):
            assert wall.allow.remove(prefix)
        fault.until("repaired", lambda: repairs(watched, "allow"))
        fault = Timed("own addresses removed in the kernel")
        assert wall.set_own_addresses([])
        fault.until("repaired", lambda: repairs(watched, "own"))
        fault = Timed("a budget changed")
        wall._array("budgets").words[0] ^= 0xFFFF
        fault.until("repaired", lambda: repairs(watched, "budgets"))
        fault = Timed("ticks per second changed in what the load wrote down")
        memory, hz = wall._array("meta").memory, wall.info.tick_hz
        fields = list(layout.META.unpack_from(memory))
        fields[5] = hz * 4
        memory[: layout.META.size] = layout.META.pack(*fields)
        fault.until("repaired", lambda: repairs(watched, "wall"))
        assert wall.info.tick_hz == hz
    assert {ban["prefix"] for ban in watched.wall_json("ban", "list")["bans"]} == {
        "203.0.113.9",
        "89.160.0.0/16",
        "2a02:26f0:d7::/64",
    }
    watched.ask("ban.flush")
    watched.ask("allow.del", prefixes=["192.0.2.0/24"])


def test_counters_go_back(watched: Lab) -> None:
    send(watched, [udp_frame(BYSTANDER, watched.wall_links[0], 0)] * 200)
    wait_for(lambda: status(watched)["totals"]["packets"] >= 200, "they are counted", PATIENCE)
    look = status(watched)["controller"]["uptime_ms"] + 6_000
    wait_for(lambda: status(watched)["controller"]["uptime_ms"] > look, "it looked", PATIENCE)
    with Wall.open(watched.paths) as wall:
        fault = Timed("verdict counters set to zero")
        words = wall._array("verdicts").words
        for at in range(len(words)):
            if words[at]:
                words[at] = 0
    fault.until("seen", lambda: "went back" in failed(watched, "sums"))
    fault.until("right again", lambda: not failed(watched, "sums"))


def test_a_wrong_rate_of_ticks_is_seen(lab: Lab) -> None:
    """A controller that starts on a wall whose rate is wrong: every ban would end at the wrong time."""
    with Wall.open(lab.paths) as wall:
        memory, hz = wall._array("meta").memory, read_meta(Pins(lab.paths)).hz
        fields = list(layout.META.unpack_from(memory))
        fields[5] = hz * 4
        memory[: layout.META.size] = layout.META.pack(*fields)
    lab.start_controller()
    fault = Timed("ticks per second wrong since the start")
    fault.until("seen", lambda: f"ticks {hz} times a second" in failed(lab, "clock"))


def test_the_outgoing_queue_drops(watched: Lab) -> None:
    shape = [
        "tc",
        "qdisc",
        "add",
        "dev",
        "wan0",
        "root",
        "tbf",
        "rate",
        "64kbit",
        "burst",
        "2000",
        "limit",
        "4000",
    ]
    watched.exec_in("wall", shape)
    target = watched.wall_links[0].net.v4

    def answers() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
            for _ in range(2_000):
                with suppress(OSError):
                    sock.sendto(bytes(500), (target, 9))

    fault = Timed("outgoing queue too small")

    def seen() -> bool:
        namespaces.inside(watched.namespace("wall"), answers)
        return "the outgoing queue drops" in failed(watched, "queue")

    fault.until("seen", seen)
    watched.exec_in("wall", ["tc", "qdisc", "del", "dev", "wan0", "root"])


def test_a_full_line_is_told_apart(lab: Lab) -> None:
    """The provider's line carries less than the attack: status, incident and reports say whom to ask for what."""
    lab.write_config("[uplink]\nbps = 4000000\n[bans]\ncollapse_sources = 0\n")
    lab.load()
    lab.start_controller()
    field = Field(lab)
    try:
        fault = Timed("line full")
        with field.under_flood(sources("198.51.100.1", 50), pps=20_000):
            fault.until("seen", lambda: "the line is full (saturated upstream)" in failed(lab, "link"))
            wait_for(lambda: bool(incident(lab).get("saturation")), "the incident says so", PATIENCE)
        human = lab.wall("incident", "show", "last").stdout
        assert "Saturated upstream, ask your provider" in human
        assert "ASK YOUR PROVIDER" in human
        for form in ("html", "md", "ncsc"):
            text = lab.wall("incident", "export", "last", "--format", form).stdout
            assert lab.server4 in text
            assert "RTBH" in text, form
        fault = Timed("flood over")
        fault.until("well again", lambda: not failed(lab, "link"))
    finally:
        field.close()


def incident(lab: Lab) -> dict[str, Any]:
    rows = lab.ask("incident.list", limit=1, since_ms=0)["incidents"]
    return dict(lab.ask("incident.show", id=str(rows[0]["id"]))["incident"]) if rows else {}
