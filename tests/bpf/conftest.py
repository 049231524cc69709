# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the data path's tests.

Where BPF cannot be had at all the tests skip and say why; in CI, which has it, that is a failure.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from tests.bpf.scene import Probe, loaded, remove_leftovers
from xdpwall.dataplane import compiler, sys_bpf
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import XdpwallError

_PASS_ALL = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
"""r0 = XDP_PASS; exit"""


def why_not() -> str | None:
    """What keeps these tests from running here, None for nothing."""
    if os.geteuid() != 0:
        return "needs root: sudo make test"
    try:
        os.close(sys_bpf.prog_load(_PASS_ALL, "probe"))
        compiler._import_bcc()
    except XdpwallError as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return None


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    """Root, BPF and bcc, or no test here."""
    missing = why_not()
    if missing is None:
        remove_leftovers()
    elif os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the tests of the data path: {missing}")
    else:
        pytest.skip(f"the data path cannot be tested here: {missing}")


@pytest.fixture(autouse=True)
def one_cpu() -> Iterator[None]:
    """Meters count per CPU, so a test that counts stays on one."""
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[os.getpid() % len(before)]
    os.sched_setaffinity(0, {chosen})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="session")
def probe(kernel: None) -> Iterator[Probe]:
    """A wall with every default but the limits, loaded once. A test that fills its lists takes ``lists``."""
    with loaded() as shared:
        yield shared


@pytest.fixture
def lists(probe: Probe) -> Iterator[Probe]:
    """The shared wall, for a test that bans and allows: its lists are emptied afterwards, also of what others left."""
    try:
        yield probe
    finally:
        empty(probe.wall)


def empty(wall: Wall) -> None:
    """No bans, nothing allowed, no own addresses."""
    wall.bans.clear()
    for prefix in list(wall.allow.entries()):
        wall.allow.remove(prefix)
    wall.set_own_addresses([])
