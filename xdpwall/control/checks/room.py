# SPDX-License-Identifier: Apache-2.0
"""Judges room: tables that fill, rings that run over, writes that the kernel refuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xdpwall.control.checks.place import Finding

if TYPE_CHECKING:
    from xdpwall.dataplane.vitals import Fill, Rings

FULL = 0.9
_LAP = 512
"""Events in a whole ring: fewer are those of a flood on closed ports, which is told of at the highest rate there is."""
_NAMES = {
    "ban_overflow": "places for bans whose own are taken",
    "own_addresses": "own addresses",
    "allowlist": "allowlist entries of one family",
    "rules": "fingerprint rules of one lane",
    "proofs": "places for known flows and proven sources",
}
_OUT = {
    "own_addresses": "take addresses off this host's interfaces that nobody needs",
    "allowlist": "allow wider prefixes instead of many narrow ones",
    "rules": "`xdpwall rules list` shows them; the next one takes the place of the oldest",
}


def judge_fill(tables: Iterable[Fill]) -> list[Finding]:
    """Tables that are nearly full. The two of bans are told of by the record, which knows sooner."""
    found = []
    for table in tables:
        if table.table not in _NAMES or table.capacity == 0 or table.entries < table.capacity * FULL:
            continue
        out = _OUT.get(table.table, f"raise {table.key}, then `xdpwall unload` and `xdpwall load`")
        found.append(
            Finding(
                "fill",
                table.table,
                f"{table.entries:,} of {table.capacity:,} {_NAMES[table.table]} are taken: {out}",
            )
        )
    return found


def judge_rings(before: Rings, now: Rings) -> list[Finding]:
    """What did not arrive between two looks. What the kernel holds back on purpose in a flood is no fault."""
    found = []
    if now.samples > before.samples:
        found.append(
            Finding(
                "rings",
                "samples",
                "the ring of sampled packets was full: the controller came too late, and reports rest on fewer "
                "packets. Give it CPU",
            )
        )
    lost = now.watch_overwritten - before.watch_overwritten
    if lost >= _LAP:
        found.append(
            Finding(
                "rings",
                "watch",
                f"{lost:,} quiet events (scans, logins) were overwritten before they were read: the controller came "
                "too late. Give it CPU",
            )
        )
    return found


def judge_writes(refused: int) -> list[Finding]:
    """Writes to the kernel's tables that failed within the last minute."""
    if refused <= 0:
        return []
    return [
        Finding(
            "writes",
            "kernel",
            f"the kernel refused {refused:,} writes within a minute: sources over their limit may not be banned. Is a "
            "table full, or memory short? The log names the error",
        )
    ]
