# SPDX-License-Identifier: Apache-2.0
"""Pushes packets out of an interface at a given pace, run as a process in the lab's ``net`` namespace.

    python -m xdpwall.lab.pusher JOB.json

The job is written by ``xdpwall.lab.flood``. On standard output one JSON object a line: ``{"ready": true}``, then ten
reports a second, the last one with ``"done": true``. On standard input: a line ``go`` starts; the end of it stops.

An XDP program makes the packets, run by the kernel on "live frames" (``BPF_PROG_TEST_RUN``). Two facts of that shape
this file. Each call would wait some 25 ms for all CPUs, because the kernel enters the program into its table of known
XDP programs and takes it out again; a program that is attached somewhere stays in the table, and a call then costs
some 30 us. So the program is parked on a spare interface that nothing uses. And the frames that the other end's ring
has no room for are dropped silently: only the driver's counters tell.
"""

from __future__ import annotations

import bisect
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpwall.dataplane import compiler, source, sys_bpf

CHUNK = 4096
"""Packets of one call: about half a millisecond, so pace and clean-up stay exact."""

_REPORT_NS = 100_000_000
_GATHER_NS = 300_000
_NAP_NS = 5_000_000
_BACKLOG_NS = 50_000_000
_PARK = "park0"


@dataclass(frozen=True, slots=True)
class Steady:
    """So many packets a second."""

    pps: int

    def due(self, elapsed_ns: int) -> int:
        """How many packets should have been sent by then."""
        return self.pps * elapsed_ns // 1_000_000_000

    def when(self, packets: int) -> int:
        """When this many are due, in nanoseconds since the start."""
        return packets * 1_000_000_000 // self.pps


class Recorded:
    """At the times of a capture, again and again.

    Args:
        offsets_ns: when each packet came, from the first one on, ascending.
        round_ns: when the capture begins again.
    """

    def __init__(self, offsets_ns: Sequence[int], round_ns: int) -> None:
        self._offsets = offsets_ns
        self._round = max(1, round_ns)

    def due(self, elapsed_ns: int) -> int:
        """See :meth:`Steady.due`."""
        rounds, rest = divmod(elapsed_ns, self._round)
        return rounds * len(self._offsets) + bisect.bisect_right(self._offsets, rest)

    def when(self, packets: int) -> int:
        """See :meth:`Steady.when`."""
        rounds, rest = divmod(packets, len(self._offsets))
        return rounds * self._round + self._offsets[rest]


@dataclass(frozen=True, slots=True)
class Until:
    """When to end: after ``seconds``, but not before ``packets`` (0: no matter), and by ``at_most`` seconds anyway."""

    seconds: float
    packets: int
    at_most: float

    def over(self, elapsed_ns: int, sent: int) -> bool:
        """Whether it is time."""
        elapsed = elapsed_ns / 1e9
        return elapsed >= self.at_most or (elapsed >= self.seconds and sent >= self.packets)


def drive(
    push: Callable[[int], int],
    pace: Steady | Recorded,
    until: Until,
    tick: Callable[[], bool],
    now_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Push at the pace until the end, or until ``tick`` says stop.

    A machine that cannot keep up falls behind: what it missed by more than 50 ms is given up, not pushed in one burst.

    Args:
        push: sends this many packets; gives how many it has sent in all.
        pace: how many are due when.
        until: when to end.
        tick: called every 100 ms; False stops.
        now_ns: clock.
        sleep: waits, seconds.
    """
    start = reported = now_ns()
    sent = given_up = 0
    while True:
        now = now_ns()
        elapsed = now - start
        if now - reported >= _REPORT_NS:
            reported = now
            if not tick():
                return
        if until.over(elapsed, sent):
            return
        behind = sent + given_up
        given_up += max(0, pace.due(max(0, elapsed - _BACKLOG_NS)) - behind)
        due = pace.due(elapsed) - sent - given_up
        if due > 0:
            sent = push(min(due, CHUNK))
        if due < CHUNK:  # nothing more to do right now: let some gather
            wait_ns = pace.when(sent + given_up) - elapsed
            sleep(min(max(wait_ns, _GATHER_NS), _NAP_NS) / 1e9)


class Gun:
    """The compiled program, its maps, and the interface that it fires from."""

    def __init__(self, job: dict[str, Any]) -> None:
        entry = source.bpf_folder() / "lab" / f"{job['program']}.c"
        self._module = compiler.compile_source(entry, job["defines"])
        for name, file in job["maps"].items():
            self._fill(name, Path(file))
        self._ifname = job["ifname"]
        self._frame = bytes(job["frame"])
        self._fd = sys_bpf.prog_load(self._module.program("push"), f"lab_{job['program']}"[:15])
        self._park = _park(self._fd)
        self._context = sys_bpf.xdp_context(job["frame"], ifindex=socket.if_nametoindex(self._ifname))
        self._tallies = job["tallies"]
        self._width = self._module.value_size("sent")
        self._errors_before = self._errors()

    def push(self, packets: int) -> int:
        """Send; gives how many have been sent since the start."""
        sys_bpf.test_run(self._fd, self._frame, repeat=packets, ctx=self._context, live_frames=True, batch=64)
        return self._state()[0]

    def report(self) -> dict[str, Any]:
        """What the kernel has counted so far."""
        packets, first_ns = self._state()
        fd = self._module.map_fd("sent")
        rows = [
            struct.unpack(f"<{self._width // 8}Q", _value(fd, key, self._width))
            for key in range(self._tallies)
        ]
        return {
            "ns": time.monotonic_ns(),
            "generated": packets,
            "lost": self._errors() - self._errors_before,
            "first_ns": first_ns,
            "tallies": rows,
        }

    def _state(self) -> tuple[int, int]:
        packets, first_ns = struct.unpack_from(
            "<QQ", _value(self._module.map_fd("plan"), 0, self._plan_size())
        )
        return packets, first_ns

    def _plan_size(self) -> int:
        return self._module.value_size("plan")

    def _fill(self, name: str, file: Path) -> None:
        """Copy a file over a whole map: entries one after the other, each a multiple of eight bytes long."""
        size = file.stat().st_size
        room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        with mmap.mmap(self._module.map_fd(name), room) as memory, file.open("rb") as content:
            memory.write(content.read())

    def _errors(self) -> int:
        """Frames that the other end's ring had no room for, since the interface was made."""
        from pyroute2.ethtool.ioctl import IoctlEthtool  # noqa: PLC0415 - slow to import

        tool = IoctlEthtool(self._ifname)
        try:
            return sum(int(value) for key, value in tool.get_statistics() if _is_error(key))
        finally:
            tool.close()


def _is_error(key: Any) -> bool:
    name = key.decode() if isinstance(key, bytes) else str(key)
    return name.startswith("tx_queue_") and name.endswith("_xdp_xmit_errors")


def _value(fd: int, key: int, size: int) -> bytes:
    value = sys_bpf.map_lookup(fd, struct.pack("<I", key), size)
    assert value is not None, "an array has every key"
    return value


def _park(program: int) -> int:
    """Attach the program to an interface that stays down. Gives the link, which must be kept open."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        if not ip.link_lookup(ifname=_PARK):
            ip.link("add", ifname=_PARK, kind="veth", peer={"ifname": _PARK + "p"})
    return sys_bpf.link_create_xdp(program, socket.if_nametoindex(_PARK), sys_bpf.XDP_FLAGS_DRV_MODE)


def _pace(job: dict[str, Any]) -> Steady | Recorded:
    if job.get("pps"):
        return Steady(int(job["pps"]))
    recorded = json.loads(Path(job["timeline"]).read_text(encoding="ascii"))
    return Recorded(recorded["offsets_ns"], recorded["round_ns"])


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _asked_to_stop() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable)


def main() -> None:
    """Do one job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if job.get("cpu") is not None:
        os.sched_setaffinity(0, {job["cpu"]})
    gun = Gun(job)
    _say({"ready": True})
    if sys.stdin.readline().strip() != "go":
        return

    def tick() -> bool:
        _say(gun.report() | {"done": False})
        return not _asked_to_stop()

    drive(gun.push, _pace(job), Until(job["seconds"], job["at_least"], job["at_most_seconds"]), tick)
    _say(gun.report() | {"done": True})


if __name__ == "__main__":
    main()
