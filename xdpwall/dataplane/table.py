# SPDX-License-Identifier: Apache-2.0
"""The table of interfaces: which slot of the verdict counters an interface has, and whether it should be guarded.

A slot stays with a name for the life of the wall, so an interface that comes and goes keeps its counters.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.dataplane.layout import INTERFACE, INTERFACES
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.errors import RefusedError

_MODES = {0: None, 1: "native", 2: "generic"}
_NUMBERS = {mode: number for number, mode in _MODES.items()}


@dataclass(frozen=True, slots=True)
class InterfaceEntry:
    """One slot. ``mode``: how it was attached last, or None."""

    slot: int
    name: str
    wanted: bool
    mode: str | None


class InterfaceTable:
    """The map ``interfaces``."""

    def __init__(self, array: MappedArray) -> None:
        self._array = array

    def entries(self) -> list[InterfaceEntry]:
        """Slots that have a name."""
        found = []
        for slot in range(INTERFACES):
            raw, wanted, mode = INTERFACE.unpack_from(self._array.memory, slot * INTERFACE.size)
            name = raw.split(b"\0")[0].decode(errors="replace")
            if name:
                found.append(InterfaceEntry(slot, name, bool(wanted), _MODES.get(mode)))
        return found

    def find(self, name: str) -> InterfaceEntry | None:
        """The slot of an interface."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def slot_for(self, name: str) -> int:
        """The slot that an interface has, or the first free one.

        Raises:
            RefusedError: all slots have a name.
        """
        entry = self.find(name)
        if entry is not None:
            return entry.slot
        taken = {entry.slot for entry in self.entries()}
        for slot in range(INTERFACES):
            if slot not in taken:
                return slot
        raise RefusedError(
            f"interface {name}: a wall stands on at most {INTERFACES} interfaces in its life",
            hint="unload the wall and load it again on those that matter",
        )

    def set(self, slot: int, name: str, *, wanted: bool, mode: str | None) -> None:
        """Write one slot."""
        INTERFACE.pack_into(
            self._array.memory, slot * INTERFACE.size, name.encode(), int(wanted), _NUMBERS[mode]
        )
