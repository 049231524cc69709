# SPDX-License-Identifier: Apache-2.0
"""Checks of memory, clock and sysctls."""

from __future__ import annotations

from xdpwall.config import Config
from xdpwall.dataplane.defines import sizes
from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import Host

# Bytes per entry of the maps of bpf/maps.h, with what the kernel adds to a hash entry.
_BAN_SET = 3 * 64 + 2 * 128
_OVERFLOW_ENTRY = 8 + 24 + 48
_METER_SET = 64 + 8 * 64
_GOOD_CLOCKS = frozenset(
    {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "hyperv_clocksource"}
)
_GOOD_CLOCK_PREFIXES = ("riscv", "arch_sys", "timebase", "tod", "stick")
_LARGE_SHARE = 4


def map_bytes(config: Config, possible_cpus: int) -> int:
    """Memory that the maps of a config take from the start, in bytes; prefixes are paid when they come."""
    shape = sizes(config, possible_cpus)
    bans = (_BAN_SET << shape.ban_bits) + shape.ban_overflow * _OVERFLOW_ENTRY
    meters = possible_cpus * _METER_SET * ((1 << shape.source_bits) + (1 << shape.prefix_bits))
    return bans + meters


def memory(host: Host) -> Finding | None:
    """What the maps need against what is free, the cgroup's limit included."""
    if host.config is None:
        return None
    if host.wall is not None and host.wall.map_bytes:
        return ok(f"the maps take {_mib(host.wall.map_bytes)}")
    need = map_bytes(host.config, host.possible_cpus)
    free = _free_bytes(host)
    title = f"the maps will take {_mib(need)}"
    if free is None:
        return ok(title)
    title += f"; {_mib(free)} are free"
    smaller = "lower bans.capacity or meters.sources, or give more memory"
    if need > free:
        return problem(title, "`load` will fail, or push something else out.", smaller)
    if need * _LARGE_SHARE > free:
        return warning(title, "That is a large part of what is free.", smaller)
    return ok(title)


def clock_source(host: Host) -> Finding | None:
    """The data path counts the kernel's ticks; only the controller and other programs read the clock itself."""
    name = host.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if name is None:
        return None
    if name in _GOOD_CLOCKS or name.startswith(_GOOD_CLOCK_PREFIXES):
        return ok(f"clock source {name}")
    return note(
        f"clock source {name}",
        "It is slow to read. The wall's verdicts do not read it, but the rest of this host does.",
        "find out why the kernel gave up its fast clock: dmesg | grep -i clocksource",
    )


def clock_sync(host: Host) -> Finding | None:
    """Records are only as right as the clock; a ban's end does not depend on it."""
    if host.clock_synced is None:
        return None
    if host.clock_synced:
        return ok("the clock is in step")
    return warning(
        "the clock is not in step with a time server",
        "Bans end on time all the same: the kernel counts ticks. But times on record cannot be compared with others'.",
        "run chrony or systemd-timesyncd; `timedatectl` shows it",
    )


def syn_cookies(host: Host) -> Finding | None:
    """The stack's own answer to SYN floods that stay below every limit."""
    value = host.number("proc/sys/net/ipv4/tcp_syncookies")
    if value is None:
        return None
    if value:
        return ok("SYN cookies are on")
    return warning(
        "SYN cookies are off",
        "A SYN flood spread over many sources stays below the limits per source, and fills the listeners' queues.",
        "sysctl -w net.ipv4.tcp_syncookies=1, and keep it in /etc/sysctl.d/",
    )


def reverse_path(host: Host) -> Finding | None:
    """The stack's filter against forged sources; the wall does not look at routes."""
    if not host.links:
        return None
    everywhere = host.number("proc/sys/net/ipv4/conf/all/rp_filter")
    if everywhere is None:
        return None
    off = [
        link.name
        for link in host.links
        if max(everywhere, host.number(f"proc/sys/net/ipv4/conf/{link.name}/rp_filter") or 0) == 0
    ]
    if not off:
        return ok("the stack checks that IPv4 sources have a way back (rp_filter)")
    return note(
        f"rp_filter is off on {', '.join(off)}",
        "Forged IPv4 sources that no route leads back to reach the sockets. The wall does not look at routes.",
        "sysctl -w net.ipv4.conf.all.rp_filter=2 (loose: safe with several uplinks)",
    )


def _free_bytes(host: Host) -> int | None:
    free: int | None = None
    for line in (host.read("proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    group = next(
        (line[3:] for line in (host.read("proc/self/cgroup") or "").splitlines() if line.startswith("0::")),
        None,
    )
    while group is not None:
        folder = f"sys/fs/cgroup/{group.strip('/')}".rstrip("/")
        limit, used = host.number(f"{folder}/memory.max"), host.number(f"{folder}/memory.current")
        if limit is not None and used is not None:
            left = max(0, limit - used)
            free = left if free is None else min(free, left)
        group = group.rpartition("/")[0] if group.strip("/") else None
    return free


def _mib(number: int) -> str:
    return f"{number / (1 << 20):,.0f} MiB"
