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

import json
import mmap
import os
import platform
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from xdpwall.dataplane import compiler, source, sys_bpf
from xdpwall.errors import KernelError, XdpwallError
from xdpwall.lab.pace import Pace, Pulsed, Recorded, Steady, Swarm, Until, drive

_PARK = "park0"


class Gun:
    """The compiled program, its maps, and the interface that it fires from."""

    def __init__(self, job: dict[str, Any]) -> None:
        entry = source.bpf_folder() / "lab" / f"{job['program']}.c"
        self._module = compiler.compile_source(entry, job["defines"])
        for name, file in job["maps"].items():
            self._fill(name, Path(file))
        self._plan = mmap.mmap(self._module.map_fd("plan"), mmap.PAGESIZE)
        offsets = {member.name: member.offset for member in self._module.value_fields("plan")}
        self._active_at = offsets.get("active", 0)
        self._ifname = job["ifname"]
        self._frame = bytes(job["frame"])
        self._fd = sys_bpf.prog_load(self._module.program("push"), f"lab_{job['program']}"[:15])
        self._park = park(self._fd)
        self._context = sys_bpf.xdp_context(job["frame"], ifindex=socket.if_nametoindex(self._ifname))
        self._tallies = job["tallies"]
        self._width = self._module.value_size("sent")
        self._driver = IoctlEthtool(self._ifname)
        self._errors_before = self._errors()
        self.joined = 1.0

    def join(self, share: float) -> None:
        """Let this share of the bots send from now on: ``plan.active`` of ``bots.c``."""
        self.joined = share
        struct.pack_into("<I", self._plan, self._active_at, max(1, round(share * 65_536)))

    def push(self, packets: int) -> int:
        """Send; gives how many have been sent since the start."""
        try:
            sys_bpf.test_run(
                self._fd, self._frame, repeat=packets, ctx=self._context, live_frames=True, batch=64
            )
        except KernelError as error:
            release = platform.release()
            hint = f"packets can be pushed from Linux 5.18 on; this is {release}"
            raise KernelError("push packets", error.errno, hint=hint) from None
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
            "joined": self.joined,
            "tallies": rows,
        }

    def _state(self) -> tuple[int, int]:
        """Packets so far, and when the first one went: the first members of ``struct plan``."""
        packets, first_ns = struct.unpack_from("<QQ", self._plan)
        return packets, first_ns

    def _fill(self, name: str, file: Path) -> None:
        """Copy a file over a whole map: entries one after the other, each a multiple of eight bytes long."""
        size = file.stat().st_size
        room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        with mmap.mmap(self._module.map_fd(name), room) as memory, file.open("rb") as content:
            memory.write(content.read())

    def _errors(self) -> int:
        """Frames that the other end's ring had no room for, since the interface was made."""
        return sum(int(value) for key, value in self._driver.get_statistics() if _is_error(key))


def _is_error(key: Any) -> bool:
    name = key.decode() if isinstance(key, bytes) else str(key)
    return name.startswith("tx_queue_") and name.endswith("_xdp_xmit_errors")


def _value(fd: int, key: int, size: int) -> bytes:
    value = sys_bpf.map_lookup(fd, struct.pack("<I", key), size)
    assert value is not None, "an array has every key"
    return value


def park(program: int) -> int:
    """Attach a program to an interface that stays down, in this namespace. Gives the link, which must be kept open."""
    with IPRoute() as ip:
        if not ip.link_lookup(ifname=_PARK):
            ip.link("add", ifname=_PARK, kind="veth", peer={"ifname": _PARK + "p"})
    return sys_bpf.link_create_xdp(program, socket.if_nametoindex(_PARK), sys_bpf.XDP_FLAGS_DRV_MODE)


def _pace(job: dict[str, Any]) -> Pace:
    if job["pps"] and job["ramp_seconds"]:
        return Swarm(int(job["pps"]), job["ramp_seconds"])
    if job["pps"] and job["off_seconds"]:
        return Pulsed(int(job["pps"]), round(job["on_seconds"] * 1e9), round(job["off_seconds"] * 1e9))
    if job["pps"]:
        return Steady(int(job["pps"]))
    recorded = json.loads(Path(job["timeline"]).read_text(encoding="ascii"))
    return Recorded(recorded["offsets_ns"], recorded["round_ns"])


def _arrived_pps(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Packets that the other end took, per second, between two reports."""
    packets = (after["generated"] - after["lost"]) - (before["generated"] - before["lost"])
    return float(packets * 1e9 / max(1, after["ns"] - before["ns"]))


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

    pace = _pace(job)
    swarm = pace if isinstance(pace, Swarm) else None
    if swarm is not None:
        gun.join(swarm.joined)
    before = gun.report()
    until = Until(job["seconds"], job["at_least"], job["at_most_seconds"])

    def tick() -> bool:
        nonlocal before
        report = gun.report()
        if swarm is not None:
            swarm.adapt(_arrived_pps(before, report))
            gun.join(swarm.joined)
            until.growing = not swarm.complete
        before = report
        until.lost = report["lost"]
        _say(report | {"done": False})
        return not _asked_to_stop()

    drive(gun.push, pace, until, tick, time.monotonic_ns, time.sleep)
    _say(gun.report() | {"done": True})


if __name__ == "__main__":
    try:
        main()
    except XdpwallError as failure:
        sys.exit(f"{failure.message}. {failure.hint or ''}")
