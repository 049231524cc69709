# SPDX-License-Identifier: Apache-2.0
"""Interfaces that go, come back, are renamed, grow their frames, have no native mode, or are taken by others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from socket import if_nametoindex
from typing import Any

import pytest

from tests.faults.checks import (
    BANNED,
    FREE,
    flooded,
    programs,
    wait_for_problem,
    wait_until_well,
)
from tests.faults.inject import MARKS, Shim
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, wait_for
from xdpwall.dataplane import sys_bpf
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab

PASS_ALL = bytes.fromhex("b7000000020000009500000000000000")
KINDS = ("dummy", "bridge", "macvlan", "ipvlan", "tun")
"""None of their drivers takes an XDP program of its own; which of them this kernel can make is tried."""


@pytest.fixture
def controlled(lab: Lab) -> Iterator[Lab]:
    """A wall, its controller, a ban."""
    lab.load()
    lab.start_controller()
    lab.wall("ban", "add", BANNED, "--for", "perm")
    yield lab


def ip(lab: Lab, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`ip` in the wall's namespace."""
    return lab.exec_in("wall", ["ip", *arguments], check=check)


def attached(lab: Lab) -> list[bool]:
    """Of both interfaces, as status has it."""
    return [entry["attached"] for entry in lab.ask("status")["interfaces"]]


def is_first_up(lab: Lab) -> bool:
    """Whether the wall stands on the first interface again."""
    return attached(lab)[0] and programs(lab).get("wan0", 0) != 0


@pytest.mark.timeout(240)
def test_one_goes_while_the_other_is_flooded(controlled: Lab, field: Field, ledger: Ledger) -> None:
    """The other one is guarded all the while; the one that comes back is guarded within seconds."""
    with flooded(field, [BANNED], link=1) as flood:
        ip(controlled, "link", "del", "wan0")
        wait_for_problem(controlled, "wan0: the interface is missing")
        ip(controlled, "link", "add", "wan0", "type", "veth", "peer", "name", "wan0p")
        ip(controlled, "link", "set", "wan0", "up")
        watch = Stopwatch()
        wait_for(lambda: is_first_up(controlled), "it is guarded again")
        took = watch.ms
        sent = flood.latest().sent
    wait_until_well(controlled, "wan0")
    assert field.passed().of(0) == 0
    ledger.put(
        Loss("interface removed and made again", sent, recovery_ms=took, note="measured on another interface")
    )


@pytest.mark.timeout(240)
def test_it_is_renamed(controlled: Lab, field: Field, ledger: Ledger) -> None:
    """The program stays on it: nothing leaks. Status says where it went; the old name back makes all well."""
    with flooded(field, [BANNED], link=1) as flood:
        ip(controlled, "link", "set", "wan1", "down")
        ip(controlled, "link", "set", "wan1", "name", "uplink")
        ip(controlled, "link", "set", "uplink", "up")
        wait_for_problem(controlled, "wan1")
        assert "uplink" in "\n".join(controlled.ask("status")["problems"])
        ip(controlled, "link", "set", "uplink", "down")
        ip(controlled, "link", "set", "uplink", "name", "wan1")
        ip(controlled, "link", "set", "wan1", "up")
        watch = Stopwatch()
        wait_until_well(controlled, "uplink")
        took = watch.ms
        sent = flood.latest().sent
    assert field.passed().of(0) == 0
    assert attached(controlled) == [True, True]
    ledger.put(Loss("interface renamed", sent, recovery_ms=took))


@pytest.mark.timeout(240)
def test_its_frames_grow(controlled: Lab, field: Field, ledger: Ledger) -> None:
    """What the driver refuses is refused; a load after the change takes a program for jumbo frames."""
    with flooded(field, [BANNED]) as flood:
        ip(controlled, "link", "set", "wan0", "mtu", "9000", check=False)
        lower = ip(controlled, "link", "set", "wan0", "mtu", "1400", check=False)
        assert lower.returncode == 0
        watch = Stopwatch()
        controlled.wall("load", "-c", str(controlled.config_path))
        took = watch.ms
        assert attached(controlled) == [True, True]
        sent = flood.latest().sent
    assert field.passed().of(0) == 0
    ledger.put(Loss("MTU changed", sent, recovery_ms=took))


@pytest.mark.timeout(240)
def test_drivers_without_native_mode(lab: Lab, field: Field, ledger: Ledger) -> None:
    """Generic mode, with a warning, and DEGRADED for as long as it is so; `mode = "native"` is refused whole."""
    made = {}
    for kind in KINDS:
        name = f"x{kind}"
        argv = {
            "tun": ["tuntap", "add", "dev", name, "mode", "tap"],
            "macvlan": ["link", "add", "link", "wan1", "name", name, "type", kind],
            "ipvlan": ["link", "add", "link", "wan1", "name", name, "type", kind],
        }.get(kind, ["link", "add", "name", name, "type", kind])
        if ip(lab, *argv, check=False).returncode == 0:
            made[kind] = name
    assert "bridge" in made or "dummy" in made, "not one such interface can be made here"
    lab.at_end(lambda: lab.wall("unload", check=False))
    tried = {}
    for kind, name in made.items():
        lab.write_config('mode = "native"\n[bans]\ncapacity = 1024')
        native = lab.wall("load", "-c", str(lab.config_path), "-i", name, check=False)
        tried[kind] = "native" if native.returncode == 0 else "generic"
        if native.returncode:
            assert native.returncode == 1
            assert name in native.stderr
            assert "hint:" in native.stderr
            assert not lab.paths.pins.exists(), "whole or not at all"
            lab.write_config("[bans]\ncapacity = 1024")
            done = lab.wall("load", "-c", str(lab.config_path), "-i", name)
            assert f"{name} has no native mode" in done.stderr
            status = lab.wall_json("status")
            assert status["interfaces"][0]["mode"] == "generic"
            assert any("generic mode" in text for text in status["problems"])
        lab.wall("unload")
    assert "generic" in tried.values()
    ledger.put(Loss("driver without native XDP", note=str(tried)))


@pytest.mark.timeout(240)
def test_somebody_else_is_quicker(controlled: Lab, ledger: Ledger) -> None:
    """An interface comes back with another's program on it: it is left alone and said; ours goes up once it is free."""
    ip(controlled, "link", "del", "wan1")
    wait_for_problem(controlled, "wan1: the interface is missing")

    def take() -> int:
        program = sys_bpf.prog_load(PASS_ALL, "foreign")
        try:
            subprocess.run(["ip", "link", "add", "wan1", "type", "veth", "peer", "name", "wan1p"], check=True)
            return sys_bpf.link_create_xdp(program, if_nametoindex("wan1"), sys_bpf.XDP_FLAGS_DRV_MODE)
        finally:
            os.close(program)

    link = namespaces.inside(controlled.namespace("wall"), take)
    if programs(controlled)["wan1"] and "foreign" not in _names(controlled):
        os.close(link)
        pytest.fail("ours was there first: the kernel should have refused the other")
    try:
        wait_for_problem(controlled, "not ours")
        done = controlled.wall("load", "-c", str(controlled.config_path), check=False)
        assert done.returncode == 5
        assert "never replaces another's program" in done.stderr
        assert attached(controlled)[0], "the other interface is not concerned"
    finally:
        os.close(link)
    watch = Stopwatch()
    wait_for(lambda: attached(controlled) == [True, True], "ours goes up once the place is free")
    ledger.put(Loss("another program attached meanwhile", recovery_ms=watch.ms))


def _names(lab: Lab) -> set[str]:
    """Names of the programs on the wall's interfaces."""
    found = set()
    for ident in programs(lab).values():
        if ident:
            fd = sys_bpf.prog_fd_by_id(ident)
            found.add(sys_bpf.prog_info(fd).name)
            os.close(fd)
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("code", "words"), [(12, "Cannot allocate memory"), (16, "")])
def test_the_kernel_refuses(
    lab: Lab, field: Field, shim: Shim, ledger: Ledger, code: int, words: str
) -> None:
    """ENOMEM and EBUSY at each kind of call: a clear error; the wall that stands goes on."""
    lab.load()
    lab.wall("ban", "add", BANNED, "--for", "perm")
    load = ("load", "-c", str(lab.config_path))
    calls = shim.calls(lab, *load, calls=f"make,{MARKS}")
    last = {
        (call.kind, call.what.split()[0]): call.number
        for call in calls
        if call.kind in ("make", "pin", "link", "map")
    }
    refused: list[Any] = []
    with flooded(field, [BANNED]) as flood:
        for stage, number in last.items():
            argv = shim.argv(
                lab.wall_argv(*load), within="load", calls=f"make,{MARKS}", fail=(number, code, number)
            )
            done = lab.exec_in("wall", argv, check=False)
            if done.returncode:
                refused.append((stage, done.returncode))
                assert "Traceback" not in done.stderr, done.stderr
                assert "hint:" in done.stderr, done.stderr
                assert words in done.stderr, done.stderr
            assert 0 not in programs(lab).values(), stage
        lab.wall(*load)
        sent = flood.latest().sent
    assert refused
    assert field.passed().of(0) == 0
    assert field.send(FREE) == 20
    ledger.put(Loss(f"errno {code} from the kernel", sent, note=str(refused)))
