# SPDX-License-Identifier: Apache-2.0
"""The services behind the wall and the users in front of it, as the lab's runner sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xdpwall.errors import LabError
from xdpwall.lab import crowd
from xdpwall.lab.lines import Lines
from xdpwall.lab.topology import Lab

PORT = 80
UDP_PORT = 27_015
"""Where a UDP service listens."""
TIMEOUT_SECONDS = 3.0
KINDS = ("newcomer", "http", "stream", "idle", "dns", "ping", "host_ping")
"""What users try; ``xdpwall/lab/visitor.py`` and ``asker.py`` say what each is."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One try that is over. ``start_ns`` is CLOCK_MONOTONIC; ``error`` is empty when it succeeded."""

    start_ns: int
    ms: float
    kind: str
    error: str = ""
    connect_ms: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return not self.error


def serve(lab: Lab, cpus: Iterable[int]) -> subprocess.Popen[str]:
    """Start the web server and wait until it listens.

    Raises:
        LabError: it did not come up.
    """
    return _service(lab, "xdpwall.lab.server", [str(PORT)], cpus)


def listen(lab: Lab, places: list[str], cpus: Iterable[int]) -> subprocess.Popen[str]:
    """Have somebody listen on ports, given like ``udp/27015``.

    Raises:
        LabError: one of them cannot be opened.
    """
    return _service(lab, "xdpwall.lab.sink", places, cpus)


def _service(lab: Lab, module: str, arguments: list[str], cpus: Iterable[int]) -> subprocess.Popen[str]:
    process = lab.popen_in(
        "wall",
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if said != "ready":
        raise LabError(f"a service of the lab did not come up: {said or module}")
    os.sched_setaffinity(process.pid, cpus)
    return process


class Users:
    """Everybody who uses the network beside the attack, from the moment it is made.

    Args:
        lab: where; ``crowd.settle`` has been called for it.
        rate: new web connections per second.
        cpus: where they may run.
    """

    def __init__(self, lab: Lab, rate: float, cpus: Iterable[int]) -> None:
        self._lab = lab
        resolvers = [lab.client_link.host.v4, lab.client_link.host.v6]
        job = lab.folder / "visitor.json"
        job.write_text(
            json.dumps(
                {
                    "servers": [lab.server4, lab.server6],
                    "port": PORT,
                    "rate": rate,
                    "timeout": TIMEOUT_SECONDS,
                    "regulars": crowd.regulars(),
                    "crowds": [str(crowd.CROWD4), str(crowd.CROWD6)],
                    "resolvers": resolvers,
                }
            ),
            encoding="utf-8",
        )
        self._processes: list[tuple[str, subprocess.Popen[str], Lines]] = []
        self._start("client", "xdpwall.lab.visitor", [str(job)], cpus)
        self._start("wall", "xdpwall.lab.asker", [f"{TIMEOUT_SECONDS:g}", *resolvers], cpus)
        self.visits: list[Visit] = []

    def wait(self) -> None:
        """Wait until every process has told of a first try.

        Raises:
            LabError: one did not, or died.
        """
        for name, _, lines in self._processes:
            first = lines.next(TIMEOUT_SECONDS + 20)
            if first is None:
                raise LabError(f"{name} did not come up: {self._last_words(name)}")
            self.visits.append(_visit(first))

    def look(self) -> list[Visit]:
        """All tries that are over by now.

        Raises:
            LabError: a process died.
        """
        for name, _, lines in self._processes:
            self.visits += [_visit(line) for line in lines.take()]
            if lines.over:
                raise LabError(f"{name} died in mid run: {self._last_words(name)}")
        return self.visits

    def finish(self) -> list[Visit]:
        """Start no more tries, wait for those under way; gives all."""
        for _, process, _ in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for _, process, lines in self._processes:
            self.visits += [_visit(line) for line in lines.rest(TIMEOUT_SECONDS + 5)]
            self._lab.stop(process)
        return self.visits

    def _start(self, role: Any, module: str, arguments: list[str], cpus: Iterable[int]) -> None:
        with (self._lab.folder / f"{module}.log").open("wb") as sink:
            process = self._lab.popen_in(
                role,
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
            )
        os.sched_setaffinity(process.pid, cpus)
        self._processes.append((module, process, Lines(process)))

    def _last_words(self, module: str) -> str:
        log = self._lab.folder / f"{module}.log"
        return log.read_text(encoding="utf-8", errors="replace")[-2000:].strip() or "it said nothing"


def _visit(line: dict[str, Any]) -> Visit:
    return Visit(line["start_ns"], line["ms"], line["kind"], line["error"], line["connect_ms"])
