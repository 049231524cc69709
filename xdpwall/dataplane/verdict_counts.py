# SPDX-License-Identifier: Apache-2.0
"""The counters of verdicts: maps ``verdicts`` and ``would_drop``, of the same shape. A packet is in one of them.

``would_drop`` holds what passed only because a reason observes, by that reason: all drops of ``policy = "observe"``,
and of single parts (``xdpwall.observe``) what nothing else dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.layout import INTERFACES, REASON_SLOTS
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.table import InterfaceEntry
from xdpwall.reasons import Reason

Totals = dict[str, dict[Reason, Count]]
_PER_CPU = INTERFACES * REASON_SLOTS * 2
_NOTHING = bytes(REASON_SLOTS * 16)


def read(array: MappedArray, entries: Iterable[InterfaceEntry]) -> Totals:
    """Totals of one of the two maps, by interface and reason. Reasons never seen are left out."""
    totals: Totals = {}
    for entry in entries:
        by_reason: dict[Reason, Count] = {}
        if not _is_empty(array, entry.slot):
            for reason in Reason:
                at = (entry.slot * REASON_SLOTS + reason) * 2
                packets = sum(array.words[at::_PER_CPU])
                if packets:
                    by_reason[reason] = Count(packets, sum(array.words[at + 1 :: _PER_CPU]))
        if entry.wanted or by_reason:
            totals[entry.name] = by_reason
    return totals


def _is_empty(array: MappedArray, slot: int) -> bool:
    """Whether an interface has no count at all; of ``would_drop`` that is the rule."""
    size = len(_NOTHING)
    starts = range(slot * size, array.size, INTERFACES * size)
    return all(array.memory[start : start + size] == _NOTHING for start in starts)


def merged(counted: Totals, would: Totals) -> Totals:
    """Both together: every packet by the reason that decided it, or would have."""
    for name, reasons in would.items():
        for reason, count in reasons.items():
            known = counted.setdefault(name, {}).get(reason, Count())
            counted[name][reason] = Count(known.packets + count.packets, known.bytes + count.bytes)
    return counted


def begin_anew(would: MappedArray, mask: int) -> None:
    """Count would-drops of these reasons from 0 on: observing begins."""
    for reason in Reason:
        if mask >> reason & 1:
            for at in range(reason * 2, would.entries * 2, REASON_SLOTS * 2):
                would.words[at] = would.words[at + 1] = 0
