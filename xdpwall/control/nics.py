# SPDX-License-Identifier: Apache-2.0
"""Packets that the machine lost before the wall saw them: in the NIC's rings, and in the kernel's receive queues.

The NIC's own counters come from its driver (what ``ethtool -S`` shows), whose names are as many as there are drivers;
the kernel's from ``/proc/net/softnet_stat``, which counts for the whole machine (net/core/net-procfs.c).
"""

from __future__ import annotations

import ctypes
import fcntl
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xdpwall.dataplane import ethtool

_SOFTNET = Path("/proc/net/softnet_stat")
_LOST = re.compile(
    r"drop|miss|discard|no_?buf|out_of_buf|overrun|fifo|overflow|no_?desc|alloc_(?:err|fail)", re.IGNORECASE
)
_RECEIVE = re.compile(r"(^|[^a-z])(rx|receive)|^(missed|no_buffer)", re.IGNORECASE)
_NOT_LOST = re.compile(r"xdp|xsk|tx|steer|csum|bytes", re.IGNORECASE)
"""What the wall itself drops is counted by drivers too (``rx_xdp_drops``), and is not lost."""
_QUEUE = re.compile(r"\d+")
_SIOCETHTOOL, _ETHTOOL_GSET = 0x8946, 1
_UNKNOWN_SPEEDS = (0, 0xFFFF, 0xFFFFFFFF)

Counters = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Softnet:
    """The kernel's receive path, summed over CPUs since boot. ``dropped``: a backlog was full."""

    processed: int = 0
    dropped: int = 0
    squeezed: int = 0


@dataclass(frozen=True, slots=True)
class Losses:
    """Totals of one moment: lost packets by interface and by the driver's counter, and the kernel's own."""

    nics: Mapping[str, Counters] = field(default_factory=dict)
    softnet: Softnet = Softnet()

    def of(self, name: str) -> int:
        """What an interface has lost in all. Drivers count one loss in several places, so the largest counter is it."""
        return max(self.nics.get(name, {}).values(), default=0)


def lost_counters(statistics: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Those of a driver's statistics that count lost received packets, queues added up under one name."""
    found: dict[str, int] = {}
    for raw, value in statistics:
        name = raw.strip()
        if _LOST.search(name) and _RECEIVE.search(name) and not _NOT_LOST.search(name):
            plain = _QUEUE.sub("N", name.lower())
            found[plain] = found.get(plain, 0) + value
    return found


def parse_softnet(text: str) -> Softnet:
    """Add up the lines of ``/proc/net/softnet_stat``, one a CPU: hexadecimal, processed, dropped, squeezed first."""
    rows = [[int(word, 16) for word in line.split()[:3]] for line in text.splitlines() if line.strip()]
    return Softnet(*(sum(row[column] for row in rows) for column in range(3)))


def port_speed(name: str) -> int:
    """What a port says of its speed, bits per second (ETHTOOL_GSET); 0 where it does not say, or is gone."""
    command = ctypes.create_string_buffer(struct.pack("=I", _ETHTOOL_GSET), 44)
    request = struct.pack("16sQ8x", name.encode(), ctypes.addressof(command))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            fcntl.ioctl(probe, _SIOCETHTOOL, request)
    except OSError:
        return 0
    low, high = struct.unpack_from("=H", command, 12)[0], struct.unpack_from("=H", command, 28)[0]
    megabits = high << 16 | low
    return 0 if megabits in _UNKNOWN_SPEEDS else int(megabits) * 1_000_000


def read(
    names: Iterable[str], statistics: Callable[[str], list[tuple[str, int]]] = ethtool.statistics
) -> Losses:
    """The losses of these interfaces as of now. What cannot be read counts as none."""
    nics = {name: lost_counters(statistics(name)) for name in names}
    try:
        softnet = parse_softnet(_SOFTNET.read_text(encoding="ascii"))
    except (OSError, ValueError):
        softnet = Softnet()
    return Losses(nics, softnet)


class NicWatch:
    """Remembers the losses, and says when they grow.

    Args:
        reader: gives the losses of some interfaces.
    """

    WORTH_TELLING = 100
    """Lost packets per second; fewer is a burst that met a small ring."""

    def __init__(self, reader: Callable[[Iterable[str]], Losses] = read) -> None:
        self._reader = reader
        self._before: Losses | None = None
        self._at_ns = 0
        self.losses = Losses()
        """As of the last look."""
        self.pps: dict[str, int] = {}
        """Lost per second between the last two looks, by interface."""
        self.kernel_pps = 0
        """Lost per second in the kernel's receive queues."""

    def look(self, names: Iterable[str], mono_ns: int) -> list[str]:
        """Read, compare with the look before, and give what is worth telling, one sentence each."""
        names = list(names)
        now = self._reader(names)
        before, span = self._before, mono_ns - self._at_ns
        self._before, self._at_ns, self.losses = now, mono_ns, now
        self.pps, self.kernel_pps = {}, 0
        if before is None or span <= 0:
            return []
        problems = []
        for name in names:
            if name not in before.nics:
                continue
            self.pps[name] = max(0, now.of(name) - before.of(name)) * 1_000_000_000 // span
            if self.pps[name] >= self.WORTH_TELLING:
                problems.append(
                    f"{name}: the NIC loses {self.pps[name]:,} packets/s before the wall sees them: "
                    f"`ethtool -S {name}` says where; more queues or a longer ring help"
                )
        lost = max(0, now.softnet.dropped - before.softnet.dropped) * 1_000_000_000 // span
        self.kernel_pps = lost
        if lost >= self.WORTH_TELLING:
            problems.append(
                f"the kernel loses {lost:,} packets/s in its receive queues: raise net.core.netdev_max_backlog, "
                "or spread the load over more CPUs"
            )
        return problems
