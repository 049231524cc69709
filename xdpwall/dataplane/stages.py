# SPDX-License-Identifier: Apache-2.0
"""Programs that the wall goes on in by tail call (``enum stage`` in ``bpf/maps.h``), put into the maps for that.

A map of programs takes only such that handle frames of many buffers, or only such that do not, so there are two maps;
the program of an interface is made to call from the one that fits it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from xdpwall.dataplane import sys_bpf, ticks
from xdpwall.dataplane.instructions import patch_constant, patch_map_fds
from xdpwall.dataplane.module import CompiledModule

STAGES = {"over": 0, "cookie": 1, "sampled": 2, "rules_stage": 3}
"""Function in ``bpf/wall.c``, and its place in the map."""
_SAMPLING = ("over", "sampled")
_SAMPLE_SHIFT = 0x57A11030
"""Placeholder of ``bpf/samples.h``, and who has it."""


class Stages:
    """The stages of one load.

    Args:
        module: compiled with ``LANES``.
        map_fds: its maps to exchange for pinned ones.
        hz: ticks per second.
    """

    def __init__(self, module: CompiledModule, map_fds: Mapping[int, int], hz: int) -> None:
        self._module = module
        self._hz = hz
        self._plain = module.map_fd("stages")
        self._map_fds = {**map_fds}
        self._filled: set[bool] = set()

    def map_fds(self, jumbo: bool) -> dict[int, int]:
        """What to exchange in a program for interfaces of this kind; its stages are in place then.

        Raises:
            VerifierError: a stage was refused.
        """
        table = self._module.map_fd("stages_jumbo") if jumbo else self._plain
        pinned = self._map_fds.get(table, table)
        replacement = {**self._map_fds, self._plain: pinned}
        if jumbo not in self._filled:
            self._fill(pinned, replacement, jumbo)
            self._filled.add(jumbo)
        return replacement

    def _fill(self, table: int, replacement: Mapping[int, int], jumbo: bool) -> None:
        flags = sys_bpf.BPF_F_XDP_HAS_FRAGS if jumbo else 0
        for name, place in STAGES.items():
            code = patch_map_fds(self._module.program(name), replacement)
            if name in _SAMPLING:
                code = patch_constant(code, _SAMPLE_SHIFT, ticks.sample_shift(self._hz))
            program = sys_bpf.prog_load(code, f"xdpwall_{name}", flags=flags)
            try:
                sys_bpf.map_update(table, place.to_bytes(4, "little"), program.to_bytes(4, "little"))
            finally:
                os.close(program)
