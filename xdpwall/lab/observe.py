# SPDX-License-Identifier: Apache-2.0
"""Looks at the wall and at the machine while a run is on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from xdpwall.dataplane.wall import Wall
from xdpwall.lab.topology import Lab
from xdpwall.paths import Paths

_WATCH_SECONDS = 0.002


class FirstDrop:
    """Looks every 2 ms whether the wall has dropped anything since it was made, and notes when."""

    def __init__(self, paths: Paths) -> None:
        self._stop = threading.Event()
        self._seen_ns: int | None = None
        self._wall = Wall.open(paths)
        self._before = self._count()
        self._thread = threading.Thread(target=self._watch, name="first-drop", daemon=True)
        self._thread.start()

    def finish(self) -> int | None:
        """Stop looking. Gives when the first drop was seen (CLOCK_MONOTONIC)."""
        self._stop.set()
        self._thread.join()
        self._wall.close()
        return self._seen_ns

    def _watch(self) -> None:
        while not self._stop.wait(_WATCH_SECONDS):
            if self._count() > self._before:
                self._seen_ns = time.monotonic_ns()
                return

    def _count(self) -> int:
        return sum(
            count.packets
            for reasons in self._wall.verdicts().values()
            for reason, count in reasons.items()
            if reason.drops
        )


def dropped(lab: Lab) -> dict[str, int]:
    """Packets with a dropping verdict by reason, as the wall's own command line tells them."""
    found: dict[str, int] = {}
    for row in lab.wall_json("verdicts")["verdicts"]:
        if row["action"] == "drop":
            found[row["reason"]] = found.get(row["reason"], 0) + row["packets"]
    return found


def dropped_since(lab: Lab, before: dict[str, int]) -> dict[str, int]:
    """What was dropped since an earlier :func:`dropped`; reasons with nothing new are left out."""
    return {
        reason: count - before.get(reason, 0)
        for reason, count in dropped(lab).items()
        if count > before.get(reason, 0)
    }


def cpu_times() -> dict[str, tuple[int, int]]:
    """Busy and whole time of each CPU so far, in ticks (proc_stat(5))."""
    found = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            numbers = [int(value) for value in values[:8]]
            found[name[3:]] = (sum(numbers) - numbers[3] - numbers[4], sum(numbers))
    return found


def busy(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> dict[str, float]:
    """The share of its time that each CPU was not idle between two :func:`cpu_times`."""
    return {
        cpu: round((after[cpu][0] - was[0]) / max(1, after[cpu][1] - was[1]), 3)
        for cpu, was in before.items()
        if cpu in after
    }
