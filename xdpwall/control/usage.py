# SPDX-License-Identifier: Apache-2.0
"""What this process takes of the machine."""

from __future__ import annotations

import os


def rss_kb() -> int:
    """Resident memory of this process (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (hot: the TUI asks every second)
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
