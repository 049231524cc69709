# SPDX-License-Identifier: Apache-2.0
"""A wall of a test's own: a namespace with veth pairs, an instance, and a way to show packets to its program.

The interfaces are never brought up, so the kernel sends nothing through them by itself and every count is the test's.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyroute2 import IPRoute

from xdpwall.config import Config
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.loader import LoadReport, load, unload
from xdpwall.dataplane.meta import read_meta
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import NotLoadedError
from xdpwall.lab import namespaces
from xdpwall.paths import BPFFS, Paths
from xdpwall.reasons import Reason

DROP, PASS = 1, 2
"""XDP_DROP and XDP_PASS of the kernel's uapi/linux/bpf.h."""

NATIVE, GENERIC = 1, 2
"""XDP_ATTACHED_DRV and XDP_ATTACHED_SKB of the kernel's uapi/linux/if_link.h."""

NO_LIMITS: dict[str, Any] = {
    section: dict.fromkeys(("pps", "bps", "syn", "udp", "icmp"), 0) for section in ("source", "prefix")
}
"""A test shows more packets of one source in a second than any limit allows."""

NO_BUDGETS: dict[str, Any] = {
    lane: {"pps": 0, "bps": 0} for lane in ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")
}
"""And than any budget."""

_CLONE_NEWNET = 0x40000000
_NAME = re.compile(r"xwt-(\d+)-\d+(~loading)?")
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def config(**changes: Any) -> Config:
    """Every default but limits and budgets, which are off, and the tables of the file that are given."""
    return Config.from_mapping({"limits": NO_LIMITS, "lanes": NO_BUDGETS, **changes})


LEAN: dict[str, Any] = {
    "bans": {"capacity": 1024, "prefix_capacity": 64},
    "meters": {"enabled": False, "sources": 1024, "prefixes": 256},
}
"""A wall that loads in half the time, for tests that are about loading."""


def lean(**changes: Any) -> Config:
    """:data:`LEAN`, and the tables of the file that are given."""
    return config(**{**LEAN, **changes})


class Outcome(NamedTuple):
    """What the wall did with a packet."""

    verdict: int
    reason: Reason

    def __repr__(self) -> str:
        name = {DROP: "DROP", PASS: "PASS"}.get(self.verdict, str(self.verdict))
        return f"{name} {self.reason.name}"


class Probe:
    """Shows packets to the program of one interface."""

    def __init__(self, wall: Wall, interface: str) -> None:
        self.wall = wall
        self.interface = interface
        self._fd = wall.program_fd(interface)

    def run(self, packet: bytes, *, repeat: int = 1) -> Outcome:
        """Verdict and reason of a packet; the reason is the one verdict counter that moved, by exactly this packet."""
        before = self.wall.verdicts()[self.interface]
        result = sys_bpf.test_run(self._fd, packet, repeat=repeat)
        after = self.wall.verdicts()[self.interface]
        moved = {r: count for r, count in after.items() if count != before.get(r, Count())}
        assert len(moved) == 1, f"verdict counters moved: {moved}"
        ((reason, count),) = moved.items()
        was = before.get(reason, Count())
        assert (count.packets - was.packets, count.bytes - was.bytes) == (repeat, repeat * len(packet))
        assert result.data == packet, "the program changed the packet"
        return Outcome(result.verdict, reason)

    def push(self, packet: bytes, repeat: int = 1) -> None:
        """Run a packet and ask nothing: for many."""
        sys_bpf.test_run(self._fd, packet, repeat=repeat)

    @property
    def fd(self) -> int:
        """The program."""
        return self._fd

    def close(self) -> None:
        """Let go of the program."""
        os.close(self._fd)


class Scene:
    """A namespace with the veth pairs ``wt0``-``wp0``, ``wt1``-``wp1``, ..., and an instance of its own."""

    def __init__(self, interfaces: Sequence[str] = ("wt0",), *, mtu: int = 1500) -> None:
        self.name = f"xwt-{os.getpid()}-{next(_numbers)}"
        self.paths = Paths(self.name)
        self.interfaces = list(interfaces)
        namespaces.create(self.name)
        try:
            for number, name in enumerate(interfaces):
                self.add_veth(name, f"wp{number}", mtu=mtu)
        except BaseException:
            namespaces.remove(self.name)
            raise

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(namespaces.path_of(self.name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(there)
            os.close(home)

    @contextmanager
    def netlink(self) -> Iterator[Any]:
        """An open netlink socket of the namespace."""
        with self.inside(), IPRoute() as ipr:
            yield ipr

    def add_veth(self, name: str, peer: str, *, mtu: int = 1500) -> None:
        """Make a pair; both ends stay in the namespace, and down."""
        with self.netlink() as ipr:
            ipr.link("add", ifname=name, kind="veth", mtu=mtu, peer={"ifname": peer, "mtu": mtu})

    def index(self, name: str) -> int:
        """The kernel's number of an interface."""
        with self.netlink() as ipr:
            return int(ipr.link_lookup(ifname=name)[0])

    def on(self, name: str) -> tuple[int, int]:
        """How a program sits on an interface, NATIVE, GENERIC or 0, and its id; asked by netlink, not of the wall."""
        with self.netlink() as ipr:
            (link,) = ipr.get_links(ipr.link_lookup(ifname=name)[0])
        xdp = link.get_attr("IFLA_XDP")
        # pyroute2 gives this number a name.
        mode = {None: 0, "xdp": NATIVE, "xdpgeneric": GENERIC}[xdp.get_attr("IFLA_XDP_ATTACHED")]
        return mode, int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0)

    def delete_link(self, name: str) -> None:
        """Remove an interface."""
        index = self.index(name)
        with self.netlink() as ipr:
            ipr.link("del", index=index)

    def load(self, using: Config | None = None, interfaces: Sequence[str] | None = None) -> LoadReport:
        """Load the wall from inside the namespace, on all interfaces unless told otherwise."""
        with self.inside():
            return load(
                using or config(), self.paths, self.interfaces if interfaces is None else list(interfaces)
            )

    def open(self) -> Wall:
        """A handle on the loaded wall; the caller closes it."""
        return Wall.open(self.paths)

    @property
    def pins(self) -> Pins:
        """The pins of the instance."""
        return Pins(self.paths)

    @property
    def seed(self) -> int:
        """The seed of the wall's hash."""
        return read_meta(self.pins).seed

    def close(self) -> None:
        """Take everything down, whatever state it is in."""
        try:
            with self.inside():
                unload(self.paths)
        except NotLoadedError:
            pass
        finally:
            namespaces.remove(self.name)
            self.pins.remove()
            shutil.rmtree(self.paths.runtime, ignore_errors=True)


@contextmanager
def scene(interfaces: Sequence[str] = ("wt0",), *, mtu: int = 1500) -> Iterator[Scene]:
    """A scene that is taken down whatever happens."""
    made = Scene(interfaces, mtu=mtu)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def loaded(using: Config | None = None, *, mtu: int = 1500) -> Iterator[Probe]:
    """A scene with a wall on its only interface, and a probe of that."""
    with scene(mtu=mtu) as place:
        place.load(using)
        with place.open() as wall:
            probe = Probe(wall, "wt0")
            try:
                yield probe
            finally:
                probe.close()


def remove_leftovers() -> None:
    """Remove what earlier test runs left that were killed: names carry the process id, and that process is gone."""
    for name in namespaces.names("xwt-"):
        if _is_leftover(name):
            namespaces.remove(name)
    for folder in (BPFFS / "xdpwall", Path("/run/xdpwall")):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if not _is_leftover(entry.name):
                continue
            if folder.is_relative_to(BPFFS):
                pins = Pins(Paths(entry.name.removesuffix("~loading")))
                for link in pins.links.iterdir() if pins.links.is_dir() else ():
                    fd = sys_bpf.obj_get(link)
                    sys_bpf.link_detach(fd)
                    os.close(fd)
                pins.remove()
            else:
                shutil.rmtree(entry, ignore_errors=True)


def _is_leftover(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and not Path("/proc", match[1]).exists()


def _setns(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
