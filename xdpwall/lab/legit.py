# SPDX-License-Identifier: Apache-2.0
"""The server behind the wall and the legitimate client in front of it, as the lab's runner sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xdpwall.errors import LabError
from xdpwall.lab.lines import Lines
from xdpwall.lab.topology import Lab

PORT = 80
TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that is over. ``start_ns`` is CLOCK_MONOTONIC; ``error`` is empty when it succeeded."""

    start_ns: int
    ms: float
    ok: bool
    new: bool
    error: str


def serve(lab: Lab, cpus: Iterable[int]) -> subprocess.Popen[str]:
    """Start the server and wait until it listens.

    Raises:
        LabError: it did not come up.
    """
    process = lab.popen_in(
        "wall",
        [sys.executable, "-m", "xdpwall.lab.server", str(PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise LabError("the lab's server did not come up")
    os.sched_setaffinity(process.pid, cpus)
    return process


class Visitor:
    """The client process, requesting from the moment it is made.

    Args:
        lab: where.
        rate: requests per second.
        cpus: where it may run.
    """

    def __init__(self, lab: Lab, rate: float, cpus: Iterable[int]) -> None:
        self._lab = lab
        self._process = lab.popen_in(
            "client",
            [
                sys.executable,
                "-m",
                "xdpwall.lab.visitor",
                lab.server4,
                str(PORT),
                f"{rate:g}",
                f"{TIMEOUT_SECONDS:g}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, cpus)
        self._lines = Lines(self._process)
        self.visits: list[Visit] = []

    def look(self) -> list[Visit]:
        """All requests that are over by now.

        Raises:
            LabError: the client died.
        """
        self.visits += [_visit(line) for line in self._lines.take()]
        if self._lines.over:
            raise LabError("the lab's client died in mid run")
        return self.visits

    def finish(self) -> list[Visit]:
        """Start no more requests, wait for those under way; gives all."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.visits += [_visit(line) for line in self._lines.rest(TIMEOUT_SECONDS + 5)]
        self._lab.stop(self._process)
        return self.visits


def _visit(line: dict[str, Any]) -> Visit:
    return Visit(line["start_ns"], line["ms"], line["ok"], line["new"], line["error"])
