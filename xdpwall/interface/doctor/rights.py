# SPDX-License-Identifier: Apache-2.0
"""Checks of what this process may do, and of the config file's own rights."""

from __future__ import annotations

import stat

from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import Host

# linux/capability.h
_NET_ADMIN, _SYS_ADMIN, _PERFMON, _BPF = 12, 21, 38, 39
_WITHOUT_MEMLOCK = (5, 11)  # maps are charged to the memory cgroup since (commit 3ac1f01b43b6)
_NEEDED_MEMLOCK = 64 << 20


def capabilities(host: Host) -> Finding:
    """CAP_NET_ADMIN, and CAP_BPF or the older CAP_SYS_ADMIN."""
    held = 0
    for line in (host.read("proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
    names = {
        _NET_ADMIN: "CAP_NET_ADMIN",
        _BPF: "CAP_BPF",
        _PERFMON: "CAP_PERFMON",
        _SYS_ADMIN: "CAP_SYS_ADMIN",
    }
    has = [name for bit, name in names.items() if held >> bit & 1]
    if held >> _NET_ADMIN & 1 and (held >> _BPF & 1 or held >> _SYS_ADMIN & 1):
        return ok("capabilities suffice", ", ".join(has))
    missing = [names[bit] for bit in (_BPF, _NET_ADMIN) if not held >> bit & 1]
    return problem(
        f"capabilities are missing: {', '.join(missing)}",
        "Without them nothing can be loaded or attached, and this examination sees less.",
        "run it as root; in a container give it these capabilities",
    )


def locked_memory(host: Host) -> Finding | None:
    """Before 5.11 maps count against RLIMIT_MEMLOCK."""
    if host.version >= _WITHOUT_MEMLOCK:
        return None
    if host.memlock == -1 or host.memlock >= _NEEDED_MEMLOCK:
        return ok("limit of locked memory suffices")
    return warning(
        f"limit of locked memory: {host.memlock >> 10} KiB",
        "Before 5.11 the kernel counts maps against it.",
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service",
    )


def config_file(host: Host) -> Finding:
    """Whether the config can be used, and whether others may write it."""
    path = host.config_path
    if host.config_faults:
        first = host.config_faults[0]
        more = f" (and {len(host.config_faults) - 1} more)" if len(host.config_faults) > 1 else ""
        return problem(f"{path} has mistakes", f"{first}{more}", f"xdpwall config check {path}")
    try:
        mode = (
            (host.root / path.relative_to("/")).stat().st_mode if path.is_absolute() else path.stat().st_mode
        )
    except OSError:
        return note(
            f"there is no {path}",
            "Every default applies.",
            "xdpwall config init writes one, each key explained",
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warning(
            f"{path} can be written by others than its owner",
            "Who writes it decides who is banned.",
            f"chmod go-w {path}",
        )
    return ok(f"{path} has no mistake")
