# SPDX-License-Identifier: Apache-2.0
"""Starts a pusher in the lab's ``net`` namespace and knows what it has sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdpwall.errors import LabError
from xdpwall.lab.lines import Lines
from xdpwall.lab.topology import Lab

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """What the pusher runs: a file of ``bpf/lab``, its constants, the content of its maps.

    Args:
        name: file name without ``.c``.
        defines: constants for the compiler.
        maps: map name to its content, entries one after the other.
        frame: bytes of the longest frame; every frame begins at this length.
        tallies: how many entries of the map ``sent`` are read.
    """

    name: str
    defines: dict[str, int]
    maps: dict[str, bytes]
    frame: int
    tallies: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long.

    Args:
        pps: packets per second; 0: at the times of ``offsets_ns``.
        seconds: how long at least.
        at_least: packets to reach before the end, 0 for none ...
        at_most_seconds: ... but no longer than this.
        ramp_seconds: the bots join one after the other over this time; see ``pace.Swarm``.
        on_seconds, off_seconds: in waves; see ``pace.Pulsed``. No waves when ``off_seconds`` is 0.
        offsets_ns, round_ns: of a capture; see ``pace.Recorded``.
    """

    pps: int
    seconds: float
    at_least: int = 0
    at_most_seconds: float = 60.0
    ramp_seconds: float = 0.0
    on_seconds: float = 0.0
    off_seconds: float = 0.0
    offsets_ns: Sequence[int] = ()
    round_ns: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What the kernel had counted at one moment.

    Args:
        ns: CLOCK_MONOTONIC.
        generated: packets that the program made.
        lost: of them, frames that the wall's ring had no room for.
        first_ns: CLOCK_MONOTONIC of the first packet, 0 before it.
        joined: share of the bots that were sending.
        tallies: rows of the map ``sent``; the first number of each is packets.
        done: whether this is the last report.
    """

    ns: int = 0
    generated: int = 0
    lost: int = 0
    first_ns: int = 0
    joined: float = 1.0
    tallies: tuple[tuple[int, ...], ...] = ()
    done: bool = False

    @property
    def sent(self) -> int:
        """Packets that the wall's interface took."""
        return self.generated - self.lost


@dataclass(slots=True)
class Flood:
    """One pusher process. Ends with the lab at the latest."""

    lab: Lab
    program: Program
    pace: Pace
    link: int = 0
    reports: list[Report] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _lines: Lines | None = None
    _log: Path = Path()

    def prepare(self) -> None:
        """Start the process and wait until its program is compiled and its maps are filled.

        Raises:
            LabError: it did not come up.
        """
        stem = f"flood-{id(self):x}"
        maps = {}
        for name, content in self.program.maps.items():
            path = self.lab.folder / f"{stem}-{name}.bin"
            path.write_bytes(content)
            maps[name] = str(path)
        job: dict[str, Any] = {
            "program": self.program.name,
            "defines": self.program.defines,
            "maps": maps,
            "frame": self.program.frame,
            "tallies": self.program.tallies,
            "ifname": self.lab.wall_links[self.link].net.ifname,
            "cpu": flood_cpu(),
            "pps": self.pace.pps,
            "ramp_seconds": self.pace.ramp_seconds,
            "on_seconds": self.pace.on_seconds,
            "off_seconds": self.pace.off_seconds,
            "seconds": self.pace.seconds,
            "at_least": self.pace.at_least,
            "at_most_seconds": max(self.pace.at_most_seconds, self.pace.seconds),
        }
        if not self.pace.pps:
            timeline = self.lab.folder / f"{stem}-timeline.json"
            timeline.write_text(
                json.dumps({"offsets_ns": list(self.pace.offsets_ns), "round_ns": self.pace.round_ns}),
                encoding="ascii",
            )
            job["timeline"] = str(timeline)
        path = self.lab.folder / f"{stem}.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        self._log = self.lab.folder / f"{stem}.log"
        with self._log.open("wb") as sink:
            self._process = self.lab.popen_in(
                "net",
                [sys.executable, "-m", "xdpwall.lab.pusher", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
            )
        self._lines = Lines(self._process)
        if self._lines.next(_READY_SECONDS) is None:
            self.lab.stop(self._process)
            raise LabError(f"the packet generator did not come up: {self._last_words()}")

    def go(self) -> None:
        """Open fire."""
        assert self._process is not None and self._process.stdin is not None, "prepare() comes first"
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def latest(self) -> Report:
        """The last report so far; empty before the first.

        Raises:
            LabError: the process ended without its last report.
        """
        assert self._lines is not None, "prepare() comes first"
        for line in self._lines.take():
            self._note(line)
        report = self.reports[-1] if self.reports else Report()
        if self._lines.over and not report.done:
            raise LabError(f"the packet generator died in mid run: {self._last_words()}")
        return report

    def finish(self) -> Report:
        """Stop if it has not ended by itself; gives the last report.

        Raises:
            LabError: it died, or does not stop.
        """
        assert self._process is not None and self._process.stdin is not None and self._lines is not None
        self._process.stdin.close()
        for line in self._lines.rest(_STOP_SECONDS):
            self._note(line)
        self.lab.stop(self._process)
        return self.latest()

    def _last_words(self) -> str:
        words = self._log.read_text(encoding="utf-8", errors="replace")
        return words[-2000:].strip() or "it said nothing"

    def _note(self, line: dict[str, Any]) -> None:
        tallies = tuple(tuple(row) for row in line.pop("tallies"))
        self.reports.append(Report(tallies=tallies, **line))


def flood_cpu() -> int | None:
    """The CPU that pushes (and so receives): the last one; None where there is only one."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[-1] if len(cpus) > 1 else None


def other_cpus() -> set[int]:
    """The CPUs for everything else."""
    cpus = sorted(os.sched_getaffinity(0))
    return set(cpus[:-1]) if len(cpus) > 1 else set(cpus)
