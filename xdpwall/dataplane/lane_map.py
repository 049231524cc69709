# SPDX-License-Identifier: Apache-2.0
"""Lanes from Python: their counters, their budgets, and what is known of local ports."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from xdpwall.dataplane import budgets
from xdpwall.dataplane.interface import Count, LaneCount
from xdpwall.dataplane.layout import BUDGET_WORDS, BUDGETS, LANE_SLOTS, RULES_UNTIL, SHUT
from xdpwall.lanes import Lane

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from xdpwall.config_lanes import LanesConfig
    from xdpwall.dataplane.mapped import MappedArray

_COUNTS = struct.Struct("<6Q16x2Q48x")
_LISTENS, _ADMIN, _BUDGET = 0x80, 0x40, 0x3F
_PORTS = 65536


class LaneMap:
    """The maps ``lane_cpus``, ``budgets`` and ``ports``.

    Args:
        counters, budget_map, ports: the maps.
        hz: ticks per second.
        cpus: possible CPUs.
    """

    def __init__(
        self, counters: MappedArray, budget_map: MappedArray, ports: MappedArray, hz: int, cpus: int
    ) -> None:
        self._counters = counters
        self._budgets = budget_map
        self._ports = ports
        self._hz, self._cpus = hz, cpus
        self._sums: tuple[int, int] | None = None

    def counts(self) -> dict[Lane, LaneCount]:
        """Totals since load by lane, over all CPUs."""
        totals = {lane: [0] * 8 for lane in Lane if lane is not Lane.CLOSED}
        for cpu in range(self._cpus):
            for lane, sums in totals.items():
                found = _COUNTS.unpack_from(self._counters.memory, (cpu * LANE_SLOTS + lane) * _COUNTS.size)
                for number, value in enumerate(found):
                    sums[number] += value
        return {
            lane: LaneCount(Count(*sums[0:2]), Count(*sums[2:4]), Count(*sums[4:6]), Count(*sums[6:8]))
            for lane, sums in totals.items()
        }

    def set_budgets(self, lanes: LanesConfig) -> None:
        """Put budgets in force: at once, with no load."""
        raw = budgets.pack(lanes, self._hz, self._cpus)
        for number, word in enumerate(memoryview(raw).cast("Q")):
            if number % BUDGET_WORDS not in (RULES_UNTIL, SHUT) and self._budgets.words[number] != word:
                self._budgets.words[number] = word
        table = self._table()
        table &= _LISTENS | _ADMIN
        for entry in budgets.port_entries(lanes):
            table[_place(entry.protocol, entry.port)] |= entry.number
        self._write(table)
        self._sums = self._checksums()

    def tampered(self) -> list[str]:
        """Which of ``budgets`` and ``ports`` are no longer as this object wrote them, or first found them."""
        if self._sums is None:
            self._sums = self._checksums()
        pairs = zip(("budgets", "ports"), self._sums, self._checksums(), strict=True)
        return [name for name, held, found in pairs if held != found]

    def _checksums(self) -> tuple[int, int]:
        words = bytearray(self._budgets.words)
        for first in (RULES_UNTIL * 8, SHUT * 8):  # these belong to others
            for at in range(first, first + 8):
                words[at :: BUDGET_WORDS * 8] = bytes(BUDGETS)
        return zlib.crc32(words), zlib.crc32(self._ports.words)

    def shut_gate(self, lane: Lane, shut: bool) -> None:
        """Whether every packet of a lane is looked at, also while its budget is hardly used."""
        self._budgets.words[lane * BUDGET_WORDS + SHUT] = int(shut)

    def set_ports(self, tcp: Collection[int], udp: Collection[int], admin: Collection[int]) -> None:
        """Say on which local ports somebody listens, and which TCP ports are doors for administrators."""
        table = self._table()
        table &= _BUDGET
        for protocol, ports in (("tcp", tcp), ("udp", udp)):
            if ports:
                table[[_place(protocol, port) for port in ports]] |= _LISTENS
        if admin:
            table[[_place("tcp", port) for port in admin]] |= _ADMIN
        self._write(table)
        if self._sums is not None:
            self._sums = (self._sums[0], self._checksums()[1])

    def _table(self) -> npt.NDArray[np.uint8]:
        import numpy as np

        return np.frombuffer(self._ports.memory, dtype=np.uint8, count=2 * _PORTS).copy()

    def _write(self, table: npt.NDArray[np.uint8]) -> None:
        """Store the words that differ; each is one store, so the kernel never sees half of one."""
        import numpy as np

        words = table.view(np.uint64)
        now = np.frombuffer(self._ports.memory, dtype=np.uint64, count=len(words))
        for at in np.nonzero(words != now)[0].tolist():
            self._ports.words[at] = int(words[at])


def _place(protocol: str, port: int) -> int:
    return port + (_PORTS if protocol == "udp" else 0)
