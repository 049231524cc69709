# SPDX-License-Identifier: Apache-2.0
"""What Python costs: reading a million sources, inserting bans, the controller at rest and in a flood, verbs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from xdpwall.bench.figures import Spread
from xdpwall.bench.gun import Gun
from xdpwall.bench.result import Result, figure
from xdpwall.bench.stand import LoadedWall, WallPlan
from xdpwall.bench.traffic import Traffic, sources
from xdpwall.detection.rates import RateMeter
from xdpwall.lab.flood import other_cpus
from xdpwall.lab.topology import Lab

Heard = Callable[[str], None]

MILLION = 1 << 20
_MANY_BANS = 100_000
_HOUR_MS = 3_600_000
_MB = 1_000_000
_FILL_PACKETS_A_SOURCE = 6
"""On each CPU: a source has counters from its second packet on."""
_FLOOD_SHOT = 1 << 19


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to do: repetitions, seconds of watching the controller."""

    times: int
    seconds: float


def measure(gun: Gun, effort: Effort, heard: Heard) -> list[Result]:
    """All figures of the control side."""
    return [
        *_snapshots(gun, effort, heard),
        *_bans(effort, heard),
        *_controller(gun, effort, heard),
        *_loads(effort, heard),
    ]


def _snapshots(gun: Gun, effort: Effort, heard: Heard) -> list[Result]:
    """A million sources in the meters of all CPUs, read by what the controller reads them with."""
    heard("control: filling a million meters")
    traffic = Traffic(4, MILLION)
    cpus = sorted(os.sched_getaffinity(0))

    def flood(packets: int) -> None:
        for cpu in cpus:
            gun.dry(wall.lab.wall_links[0], wall.program, traffic, packets, cpu=cpu)

    with LoadedWall(WallPlan(config=f"[meters]\nsources = {MILLION}\n")) as wall:
        flood(_FILL_PACKETS_A_SOURCE * MILLION)
        heard("control: reading a million meters")
        meter = RateMeter()
        meter.update(wall.wall.sources())
        meter.update(wall.wall.sources())
        quiet, moving, moved = [], [], 0
        for _ in range(effort.times):
            quiet.append(_ms(lambda: meter.update(wall.wall.sources())))
        for _ in range(effort.times):
            flood(MILLION)
            started = time.perf_counter_ns()
            rates = meter.update(wall.wall.sources())
            moving.append((time.perf_counter_ns() - started) / 1e6)
            moved = len(rates)
        slots = wall.wall.sources().slots
        taken = int((slots["key"] != 0).sum())
    return [
        _spread("snapshot_1m_ms", f"snapshot of {taken:,} sources: read, and find what moved", quiet, "ms"),
        _spread("rates_1m_ms", f"the same while {moved:,} of them send", moving, "ms"),
    ]


def _bans(effort: Effort, heard: Heard) -> list[Result]:
    heard("control: inserting bans")
    prefixes = sources(4, _MANY_BANS)
    bans = [(prefix, _HOUR_MS) for prefix in prefixes]
    taken = []
    with LoadedWall(WallPlan()) as wall:
        for _ in range(effort.times):
            wall.wall.bans.clear()
            taken.append(_ms(lambda: wall.wall.bans.put_many(bans)))
    return [_spread("insert_100k_ms", "100,000 bans into the kernel's tables", taken, "ms")]


def _controller(gun: Gun, effort: Effort, heard: Heard) -> list[Result]:
    """The real controller, as a process, beside a flood that keeps one core busy."""
    lines = "".join(f"{prefix.address}\n" for prefix in sources(4, _MANY_BANS))
    with LoadedWall(WallPlan(pass_is_drop=True)) as wall:
        lab = wall.lab
        heard("control: the controller at rest")
        process = lab.start_controller()
        os.sched_setaffinity(process.pid, other_cpus())
        seen = psutil.Process(process.pid)
        time.sleep(min(2.0, effort.seconds))
        rest = _cpu_percent(seen, effort.seconds)
        status = [_ms(lambda: lab.wall("status")) for _ in range(effort.times)]
        heard("control: the controller in a spoofed flood")
        with _Flood(gun, lab) as flood:
            time.sleep(min(1.0, effort.seconds))
            busy = _cpu_percent(seen, effort.seconds)
        memory = seen.memory_full_info()
        heard("control: 100,000 bans from stdin")
        from_stdin = _ms(lambda: lab.wall("ban", "add", "-", "--for", "1h", stdin=lines))
        after = seen.memory_info().rss
        help_ = [_ms(lambda: lab.wall("--help")) for _ in range(effort.times)]
        lab.stop(process)
    title = f"controller's CPU in a spoofed flood of {flood.pps / 1e6:.1f} Mpps, 10 ticks a second"
    return [
        figure("controller_rss_mb", "controller's resident memory after it", memory.rss / _MB, "MB"),
        figure("controller_private_mb", "of it, shared with nobody", memory.uss / _MB, "MB"),
        figure(
            "controller_cpu_rest_percent", "controller's CPU at rest, 10 ticks a second", rest, "% of a core"
        ),
        figure("controller_cpu_flood_percent", title, busy, "% of a core"),
        figure("ban_stdin_100k_ms", "`xdpwall ban add -` with 100,000 addresses", from_stdin, "ms"),
        figure("controller_rss_100k_mb", "controller's resident memory with 100,000 bans", after / _MB, "MB"),
        _spread("status_ms", "`xdpwall status`", status, "ms"),
        _spread("help_ms", "`xdpwall --help`", help_, "ms"),
    ]


def _loads(effort: Effort, heard: Heard) -> list[Result]:
    heard("control: load")
    taken = []
    with Lab() as lab:
        for _ in range(max(2, effort.times // 2)):
            taken.append(_ms(lab.load))
            lab.wall("unload")
    return [_spread("load_ms", "`xdpwall load`, nothing loaded before", taken, "ms")]


class _Flood:
    """A spoofed flood, as fast as one core makes and receives it, until the block ends."""

    def __init__(self, gun: Gun, lab: Lab) -> None:
        self._gun = gun
        self._lab = lab
        self._stop = threading.Event()
        self._faults: list[BaseException] = []
        self._received = 0
        self._ns = 0
        self._thread = threading.Thread(target=self._run, name="flood")

    def __enter__(self) -> _Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._faults:
            raise self._faults[0]

    @property
    def pps(self) -> float:
        """Packets received per second of firing."""
        return self._received * 1e9 / max(1, self._ns)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                shot = self._gun.live(self._lab, Traffic(4), _FLOOD_SHOT)
                self._received += shot.received
                self._ns += shot.ns
        except BaseException as error:  # noqa: BLE001 - handed on where the block ends
            self._faults.append(error)


def _cpu_percent(process: psutil.Process, seconds: float) -> float:
    """Of one core, over so many seconds from now."""
    started, before = time.monotonic(), process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return max(0.0, 100 * used / (time.monotonic() - started))


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / 1e6


def _spread(name: str, title: str, values: list[float], unit: str) -> Result:
    spread = Spread.of(values)
    return figure(name, title, spread.median, unit, spread)
