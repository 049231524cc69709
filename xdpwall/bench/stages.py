# SPDX-License-Identifier: Apache-2.0
"""Where the nanoseconds go: the wall compiled with ever more of it, by test run.

What a config can switch off costs no instruction, so each step is the real program of a real config, and the difference
between two steps is what the stage between them costs in that traffic.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from xdpwall.bench.figures import Spread, differences, rotated
from xdpwall.bench.gun import Gun
from xdpwall.bench.result import Result
from xdpwall.bench.rows import FEW, MANY
from xdpwall.bench.stand import Yardstick
from xdpwall.bench.traffic import Traffic
from xdpwall.config import Config
from xdpwall.dataplane import budgets, compiler, defines, loader, source, sys_bpf
from xdpwall.dataplane.stages import Stages
from xdpwall.lanes import Lane

_NO_LANES: dict[str, Any] = {"lanes": {"enabled": False}}
_OPEN: dict[str, Any] = {"lanes": {lane.label: {"pps": 0, "bps": 0} for lane in Lane}}
_OFF = {"meters": {"enabled": False}, "checks": {"own_source": False}, **_NO_LANES}
_NO_LIMITS = {scope: {"pps": 0, "bps": 0, "syn": 0} for scope in ("source", "prefix")}

STEPS: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("bare", "bare XDP_DROP", None),
    ("parse", "parse", None),
    ("lists", "hash, gate, banned sources, verdict counters", _OFF),
    ("own", "own addresses", {"meters": {"enabled": False}, **_NO_LANES}),
    ("meters", "meters of sources and prefixes", {"limits": _NO_LIMITS, **_NO_LANES}),
    ("limits", "limits in the kernel", _NO_LANES),
    ("gate", "the gate of the lane, with room", _OPEN),
    ("over", "over budget: all that is on by default", {}),
)
"""Name, title, and what the config says (None: a program of the yardstick). Each has all that the ones before have."""

TRAFFIC: dict[str, Traffic] = {
    "flood": Traffic(4),
    "pass-1k": Traffic(4, FEW, tcp=True),
    "pass-100k": Traffic(4, MANY, tcp=True),
}


def measure(
    gun: Gun, yard: Yardstick, *, rounds: int, packets: int, tick_hz: int, heard: Callable[[str], None]
) -> list[Result]:
    """One object for each traffic and step: nanoseconds over the bare program, and over the step before.

    Args:
        gun: the generator.
        yard: has the first two steps.
        rounds: how many; each runs every step once.
        packets: in each run.
        tick_hz: of the kernel.
        heard: told what is going on.
    """
    with ExitStack() as stack:
        programs = {name: yard.programs[f"{name}_drop"] for name in ("bare", "parse")}
        for name, _, settings in STEPS:
            if settings is not None:
                heard(f"stages: compiling {name}")
                programs[name] = _program(settings, tick_hz, stack)
        taken: dict[tuple[str, str], list[float]] = {
            (kind, name): [] for kind in TRAFFIC for name in programs
        }
        link = yard.home.wall_links[0]
        for number in range(rounds + 1):
            heard(f"stages: round {number} of {rounds}" if number else "stages: warm-up")
            for kind, traffic in TRAFFIC.items():
                for name in rotated(list(programs), number):
                    ns = gun.dry(link, programs[name], traffic, packets)
                    if number:
                        taken[kind, name].append(float(ns))
    found = []
    for kind in TRAFFIC:
        before = taken[kind, "bare"]
        for name, title, _ in STEPS:
            now = taken[kind, name]
            total, step = (
                Spread.of(differences(now, taken[kind, "bare"])),
                Spread.of(differences(now, before)),
            )
            found.append(
                {
                    "traffic": kind,
                    "name": name,
                    "title": title,
                    "added_ns": total.median,
                    "step_ns": step.median,
                }
            )
            before = now
    return found


def _program(settings: dict[str, Any], tick_hz: int, stack: ExitStack) -> int:
    """The wall for a config, with maps of its own, attached nowhere; closed with the stack."""
    config = Config.from_mapping(settings)
    shape = defines.sizes(config, defines.possible_cpus())
    module = compiler.compile_source(source.bpf_folder() / "wall.c", defines.defines(config, shape, seed=1))
    stack.callback(module.close)
    maps: dict[int, int] = {}
    if config.lanes.enabled:
        raw = budgets.pack(config.lanes, tick_hz, shape.cpus)
        sys_bpf.map_update(module.map_fd("budgets"), bytes(4), raw)
        maps = Stages(module, {}, tick_hz).map_fds(jumbo=False)
    code = loader.ready_program(module, config, maps, slot=0, jumbo=False, hz=tick_hz)
    program = sys_bpf.prog_load(code, "bench_stage")
    stack.callback(os.close, program)
    return program
