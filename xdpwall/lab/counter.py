# SPDX-License-Identifier: Apache-2.0
"""Counts what comes through, behind the wall: a tc program on the wall's interface, and the stack's own counter."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from xdpwall.dataplane import compiler, source, sys_bpf
from xdpwall.lab import attach, marks

_ROW = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Passed:
    """Packets that came through, by class; the last entry is everything without a mark."""

    packets: tuple[int, ...]

    def of(self, number: int) -> int:
        """Packets of one class."""
        return self.packets[number]

    @property
    def marked(self) -> int:
        """Packets of all classes of attackers."""
        return sum(self.packets[: marks.UNMARKED])

    def since(self, before: Passed) -> Passed:
        """What came after ``before``."""
        return Passed(tuple(now - then for now, then in zip(self.packets, before.packets, strict=True)))


class Counter:
    """The program of ``bpf/lab/counter.c`` on an interface's ingress. Goes with the namespace.

    Args:
        namespace: full name.
        ifnames: interfaces in it; one count for all.

    Raises:
        LabError: the kernel refused.
    """

    def __init__(self, namespace: str, ifnames: list[str]) -> None:
        self._module = compiler.compile_source(source.bpf_folder() / "lab" / "counter.c")
        self._fd = sys_bpf.prog_load(
            self._module.program("count"), "lab_counter", prog_type=sys_bpf.PROG_TYPE_SCHED_CLS
        )
        self._size = _ROW.size * _possible_cpus()
        for ifname in ifnames:
            attach.ingress(namespace, ifname, self._fd, "lab_counter")

    def read(self) -> Passed:
        """What came through since the start."""
        fd = self._module.map_fd("passed")
        totals = []
        for key in range(marks.CLASSES):
            raw = sys_bpf.map_lookup(fd, struct.pack("<I", key), self._size)
            assert raw is not None, "an array has every key"
            totals.append(sum(row[0] for row in _ROW.iter_unpack(raw)))
        return Passed(tuple(totals))

    def close(self) -> None:
        """Let go of the compiler's memory. What is attached goes on."""
        self._module.close()


def ip_received(pid: int) -> int:
    """IPv4 and IPv6 packets that the stack of a process's namespace has received, whatever became of them.

    Args:
        pid: any process in the namespace. ``InReceives`` of proc_pid_net(5), ``Ip6InReceives`` of snmp6.
    """
    lines = Path(f"/proc/{pid}/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    total = int(values[names.index("InReceives")])
    try:
        six = Path(f"/proc/{pid}/net/snmp6").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # no IPv6 on this host
        return total
    return total + next(int(line.split()[1]) for line in six if line.startswith("Ip6InReceives"))


def _possible_cpus() -> int:
    """How many values a per-CPU map holds for one key: a range list such as ``0-3`` or ``0,2-3``."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
    return sum(int(part.split("-")[-1]) - int(part.split("-")[0]) + 1 for part in text.split(","))
