# SPDX-License-Identifier: Apache-2.0
"""Fires packets at a link, or shows them to a program, and says how long that took and how many arrived.

The packets are made by ``bpf/bench/gun.c``. Live frames: the thread that fires enters the lab's ``net`` namespace and
stays on one CPU; the frames go into the other end's receive ring and are received there at once, by the same CPU. So
the time of a run is that of making, handing over and deciding each packet.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from xdpwall.bench.traffic import Frame, Traffic
from xdpwall.dataplane import compiler, source, sys_bpf
from xdpwall.errors import LabError
from xdpwall.lab import namespaces, network, pusher
from xdpwall.lab.flood import flood_cpu
from xdpwall.lab.topology import Lab

_PLAN = struct.Struct("<QIIIIII")
_HEAD_BYTES = 72
_SEED = 0x5DEECE66D
_BATCH = 64
_SETTLE_SECONDS = 0.5
_FIRST = -20
"""Nice value: who else wants the CPU takes some of a run's time, and that would be taken for the wall's."""
TALLIES = 4096
"""Entries of the C's map ``tally``."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What one run of live frames gave.

    Args:
        ns: how long it took.
        received: packets that the receiving end took from its ring.
        lost: packets that its ring had no room for.
        dropped: of those received, what an XDP program dropped.
    """

    ns: int
    received: int
    lost: int
    dropped: int

    @property
    def ns_a_packet(self) -> float:
        """Nanoseconds for each packet received.

        Raises:
            LabError: none was.
        """
        if not self.received:
            raise LabError(
                "no packet arrived at the receiving end", hint="this is a bug of the bench on this kernel"
            )
        return self.ns / self.received


class Gun:
    """The generator. One for a whole bench; a context manager.

    Args:
        home: a lab in whose ``net`` and ``client`` namespaces the programs are parked.
    """

    def __init__(self, home: Lab) -> None:
        self._module = compiler.compile_source(source.bpf_folder() / "bench" / "gun.c")
        self._plan = mmap.mmap(self._module.map_fd("plan"), mmap.PAGESIZE)
        self._tally = mmap.mmap(self._module.map_fd("tally"), TALLIES * 8)
        self._heads = mmap.mmap(self._module.map_fd("heads"), mmap.PAGESIZE)
        self._push = sys_bpf.prog_load(self._module.program("push"), "bench_push")
        self._spoof = sys_bpf.prog_load(self._module.program("spoof"), "bench_spoof")
        # A program that is attached somewhere stays in the kernel's table of XDP programs: no wait at each run.
        self._parked = (
            namespaces.inside(home.namespace("net"), lambda: pusher.park(self._push)),
            namespaces.inside(home.namespace("client"), lambda: pusher.park(self._spoof)),
        )
        self._home = home
        self._random = _SEED

    def __enter__(self) -> Gun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in (*self._parked, self._push, self._spoof):
            os.close(fd)
        for mapped in (self._plan, self._tally, self._heads):
            mapped.close()
        self._module.close()

    def live(self, lab: Lab, traffic: Traffic, packets: int, *, tally: bool = False) -> Shot:
        """Send packets to the first link of a lab. ``tally``: count what each source of the list sends."""
        link = lab.wall_links[0]
        frame = Frame(link, traffic)
        self._aim(frame, tally=tally)
        before = _received(lab)

        def fire() -> int:
            _stay(flood_cpu())
            context = sys_bpf.xdp_context(len(frame.data), ifindex=socket.if_nametoindex(link.net.ifname))
            started = time.perf_counter_ns()
            sys_bpf.test_run(
                self._push, frame.data, repeat=packets, ctx=context, live_frames=True, batch=_BATCH
            )
            return time.perf_counter_ns() - started

        ns = namespaces.inside(lab.namespace("net"), fire)
        after = _settled(lab, before, packets)
        return Shot(
            ns,
            received=after.received - before.received,
            lost=after.lost - before.lost,
            dropped=after.dropped - before.dropped,
        )

    def dry(
        self, link: network.Link, program: int, traffic: Traffic, repeat: int, *, cpu: int | None = None
    ) -> int:
        """Show packets to a program with no interface; gives the kernel's mean in ns, whole.

        Args:
            link: whose addresses the packets carry.
            program: file descriptor.
            traffic: what to show.
            repeat: how many packets.
            cpu: where to run; where live frames are received when None.
        """
        frame = Frame(link, traffic)
        self._aim(frame)
        sys_bpf.map_update(self._module.map_fd("tested"), bytes(4), struct.pack("=I", program))

        def run() -> int:
            _stay(flood_cpu() if cpu is None else cpu)
            return sys_bpf.test_run(self._spoof, frame.data, repeat=repeat).duration_ns

        return namespaces.inside(self._home.namespace("net"), run)

    def tallies(self, count: int) -> list[int]:
        """Packets sent by each source of the list since :meth:`clear_tallies`, as runs with ``tally`` counted them."""
        return list(struct.unpack_from(f"<{count}Q", self._tally))

    def clear_tallies(self) -> None:
        """Begin counting anew."""
        self._tally[: TALLIES * 8] = bytes(TALLIES * 8)

    def _aim(self, frame: Frame, *, tally: bool = False) -> None:
        traffic = frame.traffic
        (self._random,) = struct.unpack_from("<Q", self._plan)
        random = self._random or _SEED
        many = max(1, traffic.sources)
        self._heads[:_HEAD_BYTES] = frame.data.ljust(_HEAD_BYTES, b"\0")[:_HEAD_BYTES]
        _PLAN.pack_into(
            self._plan, 0, random, traffic.listed_of_65536, many, frame.sum, int(tally), int(traffic.syn), 0
        )


@dataclass(frozen=True, slots=True)
class _Counters:
    received: int
    dropped: int
    lost: int


def _received(lab: Lab) -> _Counters:
    link = lab.wall_links[0]
    here = network.statistics(lab.namespace("wall"), link.host.ifname)
    there = network.statistics(lab.namespace("net"), link.net.ifname)
    return _Counters(
        received=_sum(here, "rx_queue_", "_xdp_packets"),
        dropped=_sum(here, "rx_queue_", "_xdp_drops"),
        lost=_sum(there, "tx_queue_", "_xdp_xmit_errors"),
    )


def _sum(counters: dict[str, int], head: str, tail: str) -> int:
    return sum(value for name, value in counters.items() if name.startswith(head) and name.endswith(tail))


def _settled(lab: Lab, before: _Counters, packets: int) -> _Counters:
    """Counters once every packet has been received or lost: the kernel may finish the last batch a moment later."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        now = _received(lab)
        if now.received - before.received + now.lost - before.lost >= packets or time.monotonic() > deadline:
            return now
        time.sleep(0.002)


def _stay(cpu: int | None) -> None:
    """Keep this thread on one CPU, at the head of all ordinary tasks there; it ends with the run."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _FIRST)
