# SPDX-License-Identifier: Apache-2.0
"""Runs the real program with ``shim.c`` preloaded, which kills it or fails its calls at a chosen one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdpwall.lab.topology import Lab

ALL = os.environ.get("XDPWALL_FAULTS") == "all"
"""Every stage instead of some: ``XDPWALL_FAULTS=all``. Takes some minutes."""
MARKS = "pin,link,map,file,net"
"""Kinds of calls that leave a mark outside of the process but for what is written into files."""
KILLED = -9


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the shim counted."""

    number: int
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Shim:
    """The compiled library."""

    library: Path

    def argv(
        self,
        argv: Sequence[str],
        *,
        within: str = "",
        calls: str = "",
        kill: int = 0,
        fail: tuple[int, int, int] | None = None,
        path: str = "",
        log: Path | None = None,
        clock: Path | None = None,
    ) -> list[str]:
        """A command line with the library in it; ``shim.c`` says what the rest means.

        Args:
            argv: the command.
            within: only in a process that has this argument: ``load`` under ``run``.
            calls: kinds to count. ``kill``: SIGKILL before this one. ``fail``: from, errno, to.
            path: part of the path that calls of kind file and data must be on.
            log: file to write the counted calls to.
            clock: see :class:`Clocks`.
        """
        given = {
            "LD_PRELOAD": self.library,
            "FAULT_IN": within,
            "FAULT_CALLS": calls,
            "FAULT_KILL": kill or "",
            "FAULT_FAIL": "{}:{}:{}".format(*fail) if fail else "",
            "FAULT_PATH": path,
            "FAULT_LOG": log or "",
            "FAULT_CLOCK": clock or "",
        }
        return ["env", *(f"{name}={value}" for name, value in given.items() if value != ""), *argv]

    def calls(self, lab: Lab, *verb: str, calls: str = MARKS, path: str = "") -> list[Call]:
        """Run a verb unharmed and list what was counted."""
        log = lab.folder / "calls.log"
        log.unlink(missing_ok=True)
        lab.exec_in(
            "wall",
            self.argv(lab.wall_argv(*verb), within=verb[0], calls=calls, path=path, log=log),
            timeout=120,
        )
        return read_log(log)

    def killed(self, lab: Lab, number: int, *verb: str, calls: str = MARKS, path: str = "") -> bool:
        """Run a verb that is killed before this call. Gives whether it came so far."""
        argv = self.argv(lab.wall_argv(*verb), within=verb[0], calls=calls, path=path, kill=number)
        done = lab.exec_in("wall", argv, check=False, timeout=120)
        assert done.returncode in (KILLED, 0), done.stderr
        return done.returncode == KILLED


def read_log(log: Path) -> list[Call]:
    """What the shim wrote down."""
    found = []
    for line in log.read_text().splitlines():
        number, kind, what = line.split(" ", 2)
        found.append(Call(int(number), kind, what))
    return found


class Clocks:
    """The clocks of a process that is started with ``Shim.argv(clock=clocks.file)``."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clocks"
        self._set(0, 0)

    def turn(self, *, wall_seconds: float = 0.0, mono_seconds: float = 0.0) -> None:
        """Be so far off the machine's clocks from now on."""
        self._set(round(wall_seconds * 1e9), round(mono_seconds * 1e9))

    def _set(self, wall: int, mono: int) -> None:
        packed = wall.to_bytes(8, "little", signed=True) + mono.to_bytes(8, "little", signed=True)
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(packed)  # in place: it is mapped
