# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe(cpuinfo: str | None = None) -> dict[str, Any]:
    """The machine, as keys of the result.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``, for tests; read from there when None.
    """
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if cpuinfo is None else cpuinfo
    return {
        "cpu_model": _cpu_model(text),
        "virtual": "hypervisor" in _field(text, "flags").split(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
    }


def load_average() -> float:
    """Mean number of running tasks over the last minute: what others do beside the bench, and the bench itself."""
    return os.getloadavg()[0]


def steal_ticks(stat: str | None = None) -> tuple[int, int]:
    """Ticks that the hypervisor gave to others, and all ticks, of all CPUs since boot (proc_stat(5))."""
    text = Path("/proc/stat").read_text(encoding="ascii") if stat is None else stat
    fields = [int(field) for field in text.splitlines()[0].split()[1:9]]
    return fields[7], sum(fields)


def _cpu_model(text: str) -> str:
    # arm64 kernels name no model there.
    return _field(text, "model name") or _field(text, "CPU implementer") or "unknown"


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
