# SPDX-License-Identifier: Apache-2.0
"""From where whoever runs this is logged in, also behind ``sudo``, which hides it. Standard library only, and fast."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_NAME = "SSH_CONNECTION"
_MOST_PARENTS = 16
_MOST_BYTES = 256


def ssh_connection(environ: Mapping[str, str] | None = None, proc: Path = Path("/proc")) -> str:
    """``SSH_CONNECTION`` of this process, or of the nearest of those that started it; empty for none.

    Args:
        environ: of this process.
        proc: proc(5).
    """
    own = (os.environ if environ is None else environ).get(_NAME, "")
    pid, left = os.getppid(), _MOST_PARENTS
    while not own and pid > 1 and left:
        try:
            own = _of(proc / str(pid) / "environ")
            pid = int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break  # it ended, or is not ours to read
        left -= 1
    return own if len(own) <= _MOST_BYTES and own.isprintable() else ""


def _of(path: Path) -> str:
    mark = _NAME.encode() + b"="
    for entry in path.read_bytes().split(b"\0"):
        if entry.startswith(mark):
            return entry[len(mark) :].decode("ascii", "replace")
    return ""
