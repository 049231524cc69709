# SPDX-License-Identifier: Apache-2.0
"""One bench from end to end: builds what is measured, measures it, takes it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

from xdpwall.bench import accuracy, bars, control_side, live, machine, peers, result, stages
from xdpwall.bench.api import ACCURACY, CONTROL, STAGES, Options
from xdpwall.bench.gun import Gun
from xdpwall.bench.result import Result
from xdpwall.bench.rows import BARE, ROWS, WALLS, Row
from xdpwall.bench.stand import LoadedWall, WallPlan, Yardstick

Heard = Callable[[str], None]

_SHOT_MS, _QUICK_SHOT_MS = 50.0, 10.0
"""Short, so that the rows of a round lie close together in time."""
_FLOOD_PACKETS, _QUICK_FLOOD_PACKETS = 24_000_000, 2_000_000
_DRY_PACKETS, _QUICK_DRY_PACKETS = 1 << 20, 1 << 17
_EFFORT = control_side.Effort(times=9, seconds=6.0)
_QUICK_EFFORT = control_side.Effort(times=2, seconds=0.5)


@dataclass(slots=True)
class _Plan:
    """What of everything is to be measured."""

    rows: list[Row] = field(default_factory=list)
    peers: list[peers.PeerRow] = field(default_factory=list)
    control: bool = False
    accuracy: bool = False
    stages: bool = False


def measure(options: Options, heard: Heard) -> Result:
    """See :func:`xdpwall.bench.api.run`, which calls this with options that it has checked."""
    plan = _plan(options.only)
    load_before, steal_before = machine.load_average(), machine.steal_ticks()
    found: Result = {
        "machine": machine.describe(),
        "quick": options.quick,
        "rounds": options.rounds,
        "shot_ms": _QUICK_SHOT_MS if options.quick else _SHOT_MS,
    }
    with Yardstick() as yard, Gun(yard.home) as gun:
        found["machine"] |= yard.facts()
        if plan.rows or plan.peers:
            found |= _data_path(plan, options, yard, gun, heard)
        if plan.accuracy:
            packets = _QUICK_FLOOD_PACKETS if options.quick else _FLOOD_PACKETS
            for key, family in accuracy.KEYS.items():
                heard(f"accuracy, IPv{family}")
                with LoadedWall(WallPlan(pass_is_drop=True)) as wall:
                    found[key] = accuracy.measure(gun, wall, packets, family)
        if plan.stages:
            found["stages"] = stages.measure(
                gun,
                yard,
                rounds=options.rounds,
                packets=_QUICK_DRY_PACKETS if options.quick else _DRY_PACKETS,
                tick_hz=found["machine"]["tick_hz"],
                heard=heard,
            )
        if plan.control:
            found["control"] = control_side.measure(gun, _QUICK_EFFORT if options.quick else _EFFORT, heard)
    steal, ticks = (after - before for after, before in zip(machine.steal_ticks(), steal_before, strict=True))
    found["machine"] |= {
        "load_before": round(load_before, 2),
        "load_after": round(machine.load_average(), 2),
        "steal_percent": round(100 * steal / max(1, ticks), 2),
    }
    return found | {"wide": result.wide(found), "missed": result.missed(found)}


def _data_path(plan: _Plan, options: Options, yard: Yardstick, gun: Gun, heard: Heard) -> Result:
    """Rows of ours and of the peers, in the same rounds."""

    def told(row: str, number: int) -> None:
        heard(f"round {number} of {options.rounds}: {row}" if number else f"warm-up: {row}")

    with ExitStack() as stack:
        walls = {}
        for name in dict.fromkeys(row.wall for row in plan.rows if row.wall is not None):
            heard(f"wall: {name}")
            walls[name] = stack.enter_context(LoadedWall(WALLS[name]))
        aims = live.targets(plan.rows, walls, yard)
        others, missing = peers.gather(plan.peers, stack, heard)
        measured = live.measure(
            gun,
            [*aims, *others],
            rounds=options.rounds,
            shot_ms=_QUICK_SHOT_MS if options.quick else _SHOT_MS,
            heard=told,
        )
    found: Result = {"rows": result.row_objects(plan.rows, measured), "peers": []}
    for other in others:
        row = other.row
        head: Result = {"name": row.name, "peer": row.peer, "job": row.job, "family": 4, "title": row.title}
        found["peers"].append(
            head | result.live_figures(measured[row.name]) | result.peer_ratios(row.name, measured)
        )
    return found | {"missing": [asdict(one) for one in missing]}


def _plan(only: Sequence[str]) -> _Plan:
    """With each row comes what it is compared with."""
    if not only:
        return _Plan(list(ROWS), list(peers.PEERS), control=True, accuracy=True, stages=True)
    names = set(only)
    chosen = [row for row in peers.PEERS if row.name in names]
    for peer in chosen:
        names |= {BARE[4], bars.RATIO_TO_PEER[peer.name][0]}
    for row in ROWS:
        if row.name in names:
            names.add(BARE[row.family])
    return _Plan(
        [row for row in ROWS if row.name in names],
        chosen,
        control=CONTROL in only,
        accuracy=ACCURACY in only,
        stages=STAGES in only,
    )
