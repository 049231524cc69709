# SPDX-License-Identifier: Apache-2.0
"""Whose is a lab, what can be left of one, and how it is removed.

A lab's name holds the process id of its owner, and a claim file holds when that process started, so that a reused
process id is not taken for the owner. Only what carries a lab's name is ever touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xdpwall.lab import namespaces
from xdpwall.paths import Paths

PREFIX = "xw-"
CLAIMS = Path("/run/xdpwall-lab")
_NAME = re.compile(r"(xw-(\d+)-\d+)(?:-(?:wall|net|client))?")


def claim(name: str) -> Path:
    """Note that this process owns the lab. Gives a folder for its files, mode 0700."""
    CLAIMS.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    (CLAIMS / name).write_text(f"{_started(os.getpid())}\n{folder}\n", encoding="utf-8")
    return folder


def sweep() -> list[str]:
    """Remove every lab whose owner has died. Gives their names."""
    found = sorted({name for name, owner in _labs() if not _alive(name, owner)})
    for name in found:
        remove(name)
    return found


def remove(name: str) -> None:
    """Remove all that can be there of a lab: processes, namespaces, pins, folders, the claim. Safe to repeat."""
    spaces = namespaces.names(name + "-")
    for space in spaces:
        _kill(space)
    paths = Paths(name)
    if paths.pins.is_dir():
        _unpin(paths.pins)
    for folder in (paths.runtime, paths.state):
        shutil.rmtree(folder, ignore_errors=True)
    for space in spaces:
        namespaces.remove(space)
    noted = _claim(name)
    # Only a folder that can be a lab's: the note may be damaged.
    if noted and Path(noted[1]).name.startswith(f"{name}-") and Path(noted[1]).is_dir():
        shutil.rmtree(noted[1], ignore_errors=True)
    (CLAIMS / name).unlink(missing_ok=True)


def _labs() -> Iterator[tuple[str, int]]:
    folders = (namespaces.RUN_DIR, CLAIMS, Paths().pins.parent, Paths().runtime.parent, Paths().state.parent)
    for folder in folders:
        for path in _content(folder):
            match = _NAME.fullmatch(path.name)
            if match:
                yield match[1], int(match[2])


def _alive(name: str, owner: int) -> bool:
    started = _started(owner)
    if started is None:
        return False
    noted = _claim(name)
    return noted is None or noted[0] == started  # with no claim to compare: leave it alone


def _claim(name: str) -> tuple[str, str] | None:
    """When the owner started, and the lab's folder; None when there is no such note."""
    try:
        lines = (CLAIMS / name).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return (lines[0], lines[1]) if len(lines) == 2 else None


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot; None when there is none. Field 22 of proc_pid_stat(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _kill(space: str) -> None:
    """End what runs in a namespace of the lab: nothing but the lab's own processes can be there."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        pids = [
            pid for pid in namespaces.processes(space) if pid != os.getpid() and _started(pid) is not None
        ]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _unpin(folder: Path) -> None:
    """Remove pins and their folders; a link that goes takes its program off the interface."""
    for path in _content(folder):
        if path.is_dir():
            _unpin(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        folder.rmdir()


def _content(folder: Path) -> list[Path]:
    """What is in a folder; nothing when it is not there. Another lab may be sweeping at the same time."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
