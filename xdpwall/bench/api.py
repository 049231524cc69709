# SPDX-License-Identifier: Apache-2.0
"""What the command line needs of the bench. Light to import: the heavy parts come in when it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from xdpwall.errors import InputError, PrivilegeError

Result = dict[str, Any]
"""The object that `xdpwall bench -o json` prints."""

ROUNDS, QUICK_ROUNDS = 11, 3
_SHOT_MS, _QUICK_SHOT_MS = 120.0, 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.

    Args:
        rounds: how often each row runs.
        quick: short runs: to see that everything works, not for figures to rely on.
        only: names of rows; all when empty. The bare rows that they are compared with come along.
    """

    rounds: int = ROUNDS
    quick: bool = False
    only: Sequence[str] = ()


def run(options: Options, heard: Callable[[str], None] = lambda _: None) -> Result:
    """Measure.

    Args:
        options: how much.
        heard: told what is going on, for the person who waits.

    Raises:
        InputError: ``only`` names a row that there is not.
        PrivilegeError: not root.
        LabError: a link could not be built, or a row did not measure what it says.
    """
    from xdpwall.bench import live, machine, result, rows, stand  # noqa: PLC0415 - only this verb needs them
    from xdpwall.bench.gun import Gun  # noqa: PLC0415

    chosen = _chosen(options.only)
    if os.geteuid() != 0:
        raise PrivilegeError(
            "the bench makes network namespaces and loads XDP programs: it needs root", hint="use sudo"
        )
    shot_ms = _QUICK_SHOT_MS if options.quick else _SHOT_MS
    found: Result = {"machine": machine.describe(), "rounds": options.rounds, "shot_ms": shot_ms}
    load_before, steal_before = machine.load_average(), machine.steal_ticks()
    with ExitStack() as stack:
        heard("links")
        yard = stack.enter_context(stand.Yardstick())
        walls = {}
        for name in sorted({row.wall for row in chosen if row.wall is not None}):
            heard(f"wall: {name}")
            walls[name] = stack.enter_context(stand.LoadedWall(rows.WALLS[name]))
        gun = stack.enter_context(Gun(yard.lab))
        measured = live.measure(
            gun,
            live.targets(chosen, walls, yard),
            rounds=options.rounds,
            shot_ms=shot_ms,
            heard=lambda row, number: heard(
                f"round {number} of {options.rounds}: {row}" if number else f"warm-up: {row}"
            ),
        )
        found["machine"] |= yard.facts()
    found["rows"] = result.row_objects(chosen, measured)
    steal, ticks = (after - before for after, before in zip(machine.steal_ticks(), steal_before, strict=True))
    found["machine"] |= {
        "load_before": round(load_before, 2),
        "load_after": round(machine.load_average(), 2),
        "steal_percent": round(100 * steal / max(1, ticks), 2),
    }
    found["missed"] = result.missed(found)
    return found


def names() -> list[str]:
    """Everything that ``only`` may name."""
    from xdpwall.bench.rows import ROWS  # noqa: PLC0415

    return [row.name for row in ROWS]


def _chosen(only: Sequence[str]) -> list[Any]:
    from xdpwall.bench.rows import BARE, ROWS  # noqa: PLC0415

    known = names()
    for name in only:
        if name not in known:
            raise InputError(f"there is no row {name!r}", hint=f"there are: {', '.join(known)}")
    if not only:
        return list(ROWS)
    wanted = {*only, *(BARE[row.family] for row in ROWS if row.name in only)}
    return [row for row in ROWS if row.name in wanted]
