# SPDX-License-Identifier: Apache-2.0
"""The wall as its users drive it, against packets: ban, unban, kill, restart, swap, two interfaces, strangers."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.lab.traffic import Field, more, sources, wait_for
from xdpwall.dataplane import sys_bpf
from xdpwall.lab import namespaces, network
from xdpwall.lab.topology import Lab

ONE, TWO, SIX = "5.3.7.9", "45.5.6.7", "2a00:1:2:3::7"
MANY = sources("5.3.8.1", 50)
REFUSED = 5
NO_LIMITS = """
[limits.source]
pps = 0
bps = 0
syn = 0
udp = 0
icmp = 0
[limits.prefix]
pps = 0
bps = 0
syn = 0
udp = 0
icmp = 0
[lanes]
enabled = false
"""
"""No limits, no budgets: only what a test bans is dropped."""


@pytest.fixture
def walled(field: Field) -> Field:
    """A loaded wall without limits; no controller."""
    field.lab.write_config(NO_LIMITS)
    field.lab.load("-i", "wan0")
    return field


def leaks(field: Field, address: str, link: int = 0) -> bool:
    """Whether packets of a source come through; all or none do."""
    leaked = field.send(address, packets=20, link=link)
    assert leaked in (0, 20)
    return leaked > 0


@pytest.mark.parametrize("controller", [False, True])
@pytest.mark.parametrize(
    ("source", "prefix"), [(ONE, ONE), (ONE, "5.3.0.0/16"), (SIX, "2a00:1:2:3::/64"), (SIX, "2a00:1::/32")]
)
def test_ban_and_unban(walled: Field, source: str, prefix: str, controller: bool) -> None:
    lab = walled.lab
    if controller:
        lab.start_controller("-i", "wan0")
    assert leaks(walled, source)
    lab.wall("ban", "add", prefix)
    assert not leaks(walled, source)
    assert leaks(walled, TWO), "others are not touched"
    lab.wall("ban", "del", prefix)
    assert leaks(walled, source)


def test_allowed_wins_over_banned(walled: Field) -> None:
    lab = walled.lab
    lab.wall("ban", "add", "5.3.0.0/16")
    lab.wall("allow", "add", ONE)
    assert leaks(walled, ONE)
    assert not leaks(walled, MANY[0])


def test_a_killed_controller_leaves_the_wall_up(walled: Field) -> None:
    """kill -9 in mid flood: not one packet more comes through; the next controller takes everything over."""
    lab = walled.lab
    controller = lab.start_controller("-i", "wan0")
    lab.wall("ban", "add", *MANY)
    before = walled.passed()
    with walled.under_flood(MANY) as attack:
        more(attack, 5_000)
        controller.kill()
        controller.wait()
        more(attack, 20_000)
        dropped = lab.wall_json("status")["totals"]["dropped_packets"]
        lab.start_controller("-i", "wan0")
        more(attack, 5_000)
        status = lab.wall_json("status")
        assert status["totals"]["dropped_packets"] > dropped, "counters go on where they were"
        assert status["bans"]["exact"] + status["bans"]["prefix"] >= 1
    assert walled.passed().since(before).marked == 0
    listed = {ban["prefix"] for ban in lab.wall_json("ban", "list")["bans"]}
    assert set(MANY) <= listed


def test_a_ban_lapses_with_no_controller(walled: Field) -> None:
    lab = walled.lab
    began = time.monotonic()
    lab.wall("ban", "add", ONE, "--for", "5s")
    assert not leaks(walled, ONE)
    wait_for(lambda: walled.send(ONE, packets=1) > 0, "the ban lapses")
    assert time.monotonic() - began > 4.5, "not before its time"


def test_a_load_under_flood_lets_nothing_through(walled: Field) -> None:
    """The program is swapped in one step; bans and counters stay."""
    lab = walled.lab
    lab.wall("ban", "add", *MANY, "--reason", "kept")
    before = walled.passed()
    with walled.under_flood(MANY, pps=200_000) as attack:
        more(attack, 10_000)
        old = lab.wall_json("status")["interfaces"][0]["program_id"]
        for _ in range(3):
            lab.wall("load", "-i", "wan0", "-c", str(lab.config_path))
        more(attack, 10_000)
        status = lab.wall_json("status")
        assert status["interfaces"][0]["program_id"] != old
        sent = attack.latest().sent
    assert walled.passed().since(before).marked == 0
    assert status["totals"]["dropped_packets"] > 0.5 * sent, "the counters were not set back"


def test_unload_lets_go(walled: Field) -> None:
    lab = walled.lab
    lab.wall("ban", "add", ONE)
    assert not leaks(walled, ONE)
    lab.wall("unload")
    assert leaks(walled, ONE)
    assert not lab.paths.pins.exists()


@contextmanager
def stranger(lab: Lab) -> Iterator[int]:
    """Another program on wan0, which passes everything. Gives its id."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    program = sys_bpf.prog_load(code, "stranger")
    index = network.ifindex(lab.namespace("wall"), "wan0")
    link = namespaces.inside(
        lab.namespace("wall"), lambda: sys_bpf.link_create_xdp(program, index, sys_bpf.XDP_FLAGS_DRV_MODE)
    )
    try:
        yield sys_bpf.prog_info(program).id
    finally:
        os.close(link)
        os.close(program)


def test_a_foreign_program_is_not_replaced(field: Field) -> None:
    lab = field.lab
    with stranger(lab) as ident:
        done = lab.wall("load", "-i", "wan0", check=False)
        assert done.returncode == REFUSED
        assert "wan0" in done.stderr
        assert "Traceback" not in done.stderr
        assert f"id {ident} " in lab.exec_in("wall", ["ip", "link", "show", "wan0"]).stdout + " "
        lab.wall("unload", check=False)
        assert f"id {ident} " in lab.exec_in("wall", ["ip", "link", "show", "wan0"]).stdout + " "
    lab.load("-i", "wan0")


def test_generic_mode_where_the_driver_has_no_native(field: Field) -> None:
    """A bridge has no native XDP: the wall falls back, and says so."""
    lab = field.lab
    if lab.exec_in("wall", ["ip", "link", "add", "br0", "type", "bridge"], check=False).returncode != 0:
        pytest.skip("this kernel has no bridges")
    done = lab.wall("load", "-i", "br0")
    assert "generic" in done.stdout + done.stderr
    states = lab.wall_json("status")["interfaces"]
    assert [(state["name"], state["mode"]) for state in states] == [("br0", "generic")]
    lab.wall("unload")


def test_generic_mode_drops_too(field: Field) -> None:
    lab = field.lab
    lab.write_config('mode = "generic"\n' + NO_LIMITS)
    lab.load("-i", "wan0")
    assert lab.wall_json("status")["interfaces"][0]["mode"] == "generic"
    assert leaks(field, ONE)
    lab.wall("ban", "add", ONE)
    assert not leaks(field, ONE)


def test_two_interfaces() -> None:
    """One wall on both: a ban holds on both, and one can be let go alone."""
    with Lab(links=2, config=NO_LIMITS) as lab, closing(Field(lab)) as field:
        lab.load("-i", "wan0", "-i", "wan1")
        lab.wall("ban", "add", ONE)
        assert not leaks(field, ONE, link=0)
        assert not leaks(field, ONE, link=1)
        assert leaks(field, TWO, link=1)
        rows = lab.wall_json("verdicts")["verdicts"]
        assert {row["interface"] for row in rows if row["reason"] == "banned_source"} == {"wan0", "wan1"}
        lab.wall("unload", "-i", "wan1")
        assert not leaks(field, ONE, link=0)
        assert leaks(field, ONE, link=1)
