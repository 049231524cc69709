# SPDX-License-Identifier: Apache-2.0
"""Rules of other filters, put on the first link of a lab.

Rules are as lean as the tool lets them be: no counter on the rule that does the work where it is not forced. Every list
stands whole before the first packet. Each function gives the count of packets that have escaped the rule so far, or
None where the driver's count of XDP drops tells it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from xdpwall.bench.rows import FEW, OVER_LIMIT_PPS
from xdpwall.bench.traffic import sources
from xdpwall.dataplane import defines, sys_bpf
from xdpwall.errors import LabError
from xdpwall.lab.topology import Lab

Count = Callable[[], int]

_TABLE_SIZE = 65_536
"""Sources that a meter of a peer holds: as many as a CPU of the wall does by default on two CPUs."""
_PATIENCE_SECONDS = 5.0
_IFNAME = "wan0"


# --- nftables, hooked to the interface's ingress: the earliest place it has ---


def _nft(lab: Lab, set_: str, rules: str) -> None:
    text = (
        f"table netdev bench {{\n{set_}\n"
        f"chain ingress {{\ntype filter hook ingress device {_IFNAME} priority 0; policy accept\n{rules}\n}}\n}}\n"
    )
    lab.exec_in("wall", ["nft", "-f", "-"], stdin=text)


def _nft_escaped(lab: Lab) -> Count:
    """What came to the rule behind, which counts and has the packet dropped: the stack is not part of the job."""

    def count() -> int:
        listed = lab.exec_in("wall", ["nft", "list", "chain", "netdev", "bench", "ingress"]).stdout
        found = re.search(r"counter packets (\d+)", listed)
        if found is None:
            raise LabError(
                "nft does not list its own counter", hint="this version of nftables may be too new"
            )
        return int(found[1])

    return count


def nft_set(count: int) -> Callable[[Lab], Count]:
    """A set of so many sources, in the hash table that the kernel chooses for a set of known size."""

    def set_up(lab: Lab) -> Count:
        banned = ", ".join(prefix.address for prefix in sources(4, count))
        _nft(
            lab,
            f"set banned {{\ntype ipv4_addr\nsize {count}\nelements = {{ {banned} }}\n}}",
            "ip saddr @banned drop\ncounter drop",
        )
        return _nft_escaped(lab)

    return set_up


_NFT_METER = f"set limited {{\ntype ipv4_addr\nsize {_TABLE_SIZE}\nflags dynamic\ntimeout 10s\n}}"


def nft_meter(lab: Lab) -> Count:
    """A dynamic set with a limit for each source."""
    limit = f"update @limited {{ ip saddr limit rate over {OVER_LIMIT_PPS}/second burst 5 packets }} drop"
    _nft(lab, _NFT_METER, f"{limit}\ncounter drop")
    return _nft_escaped(lab)


def nft_flood(lab: Lab) -> Count:
    """The same, where every packet brings a source that is not in the set yet."""
    limit = f"update @limited {{ ip saddr limit rate over {OVER_LIMIT_PPS}/second burst 5 packets }} drop"
    _nft(lab, _NFT_METER, f"{limit}\ndrop")
    return lambda: 0  # under the limit or over it, and with the table full: all of them end here


# --- iptables, in the raw table: before connection tracking ---


def _hashlimit(lab: Lab) -> None:
    head = ["iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-i", _IFNAME]
    limit = [
        "--hashlimit-above",
        f"{OVER_LIMIT_PPS}/sec",
        "--hashlimit-burst",
        "5",
        "--hashlimit-mode",
        "srcip",
    ]
    table = ["--hashlimit-name", "bench", "--hashlimit-htable-size", "16384"]
    room = ["--hashlimit-htable-max", str(_TABLE_SIZE)]
    lab.exec_in("wall", [*head, "-m", "hashlimit", *limit, *table, *room, "-j", "DROP"])
    lab.exec_in("wall", [*head, "-j", "DROP"])


def hashlimit(lab: Lab) -> Count:
    """A limit for each source."""
    _hashlimit(lab)

    def count() -> int:
        listed = lab.exec_in("wall", ["iptables", "-w", "-t", "raw", "-nvxL", "PREROUTING"]).stdout
        return int(
            listed.splitlines()[3].split()[0]
        )  # a head of two lines, the limit, then the rule behind it

    return count


def hashlimit_flood(lab: Lab) -> Count:
    """The same, where every packet brings a source that is not in the table yet."""
    _hashlimit(lab)
    return lambda: 0


# --- xdp-filter: XDP, a hash map of denied addresses ---


def xdp_filter(lab: Lab) -> None:
    """A thousand denied sources.

    It pins its maps at one place of the whole machine, so it gets a bpffs of its own in a mount namespace of its own.
    """
    holder = lab.popen_in(
        "wall",
        ["unshare", "--mount", "--propagation", "private", "--", "sleep", "infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    mounts = Path(f"/proc/{holder.pid}/ns/mnt")
    _wait_until(lambda: mounts.readlink() != Path("/proc/self/ns/mnt").readlink())
    inside = ["nsenter", f"--mount={mounts}", "--"]
    lab.exec_in("wall", [*inside, "mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])
    lab.exec_in("wall", [*inside, "xdp-filter", "load", "-m", "native", "-f", "ipv4", _IFNAME])
    banned = sources(4, FEW)
    lab.exec_in("wall", [*inside, "xdp-filter", "ip", "-m", "src", banned[0].address])
    # The tool takes one address a call. The others get what it wrote for the first, key and value alike in form.
    table = sys_bpf.obj_get(Path(f"/proc/{holder.pid}/root/sys/fs/bpf/xdp-filter/filter_ipv4"))
    try:
        width = 8 * defines.possible_cpus()
        value = sys_bpf.map_lookup(table, banned[0].packed, width)
        if value is None or sys_bpf.map_info(table).key_size != 4:
            raise LabError(
                "xdp-filter's table has another form than expected", hint="this version may be too new"
            )
        for prefix in banned[1:]:
            sys_bpf.map_update(table, prefix.packed, value)
    finally:
        os.close(table)


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise LabError("unshare made no mount namespace in time")
        time.sleep(0.005)
