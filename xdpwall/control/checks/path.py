# SPDX-License-Identifier: Apache-2.0
"""Judges counters: do packets that come in go through the wall, and do its sums agree? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdpwall.control.checks.place import Finding

if TYPE_CHECKING:
    from xdpwall.dataplane.vitals import Counted

ENOUGH = 50
"""So many packets must have come in between two looks, before that none was counted says anything."""
_SLACK_PACKETS, _SLACK_SHARE = 1_000, 0.02
"""Lanes and verdicts are read one after the other, while packets come in."""


def judge_path(before: Mapping[str, int], now: Mapping[str, int], came: Mapping[str, int]) -> list[Finding]:
    """Interfaces whose packets go past the wall.

    Only "none at all" is held against it: a driver may count what the wall dropped or not, and in generic mode several
    packets come as one.

    Args:
        before: packets that the wall had counted at the look before, by interface.
        now: as they are.
        came: packets that the interface took in between the two looks.
    """
    found = []
    for name, packets in came.items():
        if packets >= ENOUGH and name in before and now.get(name) == before[name]:
            found.append(
                Finding(
                    "path",
                    name,
                    f"{name}: {packets:,} packets came in, and the wall saw none of them: it is not in their path. "
                    f"`xdpwall load` puts it there; `bpftool net show dev {name}` shows what is",
                )
            )
    return found


def judge_sums(before: Counted | None, now: Counted) -> list[Finding]:
    """Counters that cannot be right.

    Args:
        before: of the look before, on the same wall; None at the first.
        now: as they are.
    """
    found: list[Finding] = []
    if before is None:
        return found
    back = [cpu for cpu, (old, new) in enumerate(zip(before.by_cpu, now.by_cpu, strict=False)) if new < old]
    if back:
        found.append(
            Finding(
                "sums",
                "back",
                f"the wall's counters of CPU {', '.join(map(str, back))} went back. {_WRITTEN}",
            )
        )
    if sum(now.by_interface.values()) + now.stray < before.packets:
        found.append(Finding("sums", "lost", f"the wall counts fewer packets than before. {_WRITTEN}"))
    if now.stray > before.stray:
        found.append(
            Finding(
                "sums",
                "stray",
                f"{now.stray - before.stray:,} packets were counted under reasons or interfaces that there are not. "
                "Please report it, with `xdpwall doctor -o json`",
            )
        )
    counted, lanes = now.packets - before.packets, now.lanes - before.lanes
    if counted >= 0 and lanes > counted * (1 + _SLACK_SHARE) + _SLACK_PACKETS:
        found.append(
            Finding(
                "sums",
                "lanes",
                f"lanes counted {lanes:,} packets where all verdicts are {counted:,}. {_WRITTEN}",
            )
        )
    return found


_WRITTEN = "Somebody else writes into the wall's tables, or memory is faulty: figures since then are not to be trusted"
