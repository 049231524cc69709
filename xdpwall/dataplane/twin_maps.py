# SPDX-License-Identifier: Apache-2.0
"""Copies of a wall's maps, for its twin."""

from __future__ import annotations

import os

from xdpwall.dataplane import layout, sys_bpf
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.stages import STAGES
from xdpwall.errors import KernelError, LayoutError


class Opened:
    """Some arrays, opened for a moment."""

    def __init__(self, pins: Pins, *names: str) -> None:
        self._pins, self._names = pins, names
        self._open: dict[str, MappedArray] = {}

    def __enter__(self) -> dict[str, MappedArray]:
        for name in self._names:
            self._open[name] = MappedArray(self._pins, name)
        return self._open

    def __exit__(self, *_: object) -> None:
        for array in self._open.values():
            array.close()


def copy_array(there: Pins, here: Pins, name: str) -> None:
    """Copy a mapped array.

    Raises:
        LayoutError: the two differ in size.
    """
    one, other = MappedArray(there, name), MappedArray(here, name)
    try:
        if one.size != other.size:
            raise LayoutError(
                f"the map {name} has {one.entries} entries, and {other.entries} were expected",
                hint=layout.RELOAD_HINT,
            )
        other.memory[: other.size] = one.memory[: one.size]
    finally:
        one.close()
        other.close()


def copy_entries(there: Pins, here: Pins, shape: layout.MapLayout) -> None:
    """Copy a hash map or a trie; what else was in ``here`` goes."""
    one, other = there.open_map(shape.name), here.open_map(shape.name)
    try:
        for key in list(sys_bpf.map_keys(other, shape.key_size)):
            sys_bpf.map_delete(other, key)
        for key in sys_bpf.map_keys(one, shape.key_size):
            value = sys_bpf.map_lookup(one, key, shape.value_size)
            if value is not None:
                sys_bpf.map_update(other, key, value)
    finally:
        os.close(one)
        os.close(other)


def stage_tags(pins: Pins, name: str) -> dict[int, str]:
    """Tags of the programs in a map of programs, by their place. Such a map gives their ids."""
    table = pins.open_map(name)
    try:
        found = {}
        for at in STAGES.values():
            raw = sys_bpf.map_lookup(table, at.to_bytes(4, "little"), 4)
            if raw is None:
                continue
            try:
                program = sys_bpf.prog_fd_by_id(int.from_bytes(raw, "little"))
            except KernelError:
                continue  # gone meanwhile
            found[at] = sys_bpf.prog_info(program).tag
            os.close(program)
        return found
    finally:
        os.close(table)
