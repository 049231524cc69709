# SPDX-License-Identifier: Apache-2.0
"""The map ``peers``: a bit for each source that this host has a flow with.

It tells the kernel whose excess over a limit is worth a second look (``bpf/reserve.h``); a bit too many costs such a
packet 20 ns, no more.
"""

from __future__ import annotations

from collections.abc import Iterable

from xdpwall.dataplane.hashing import mix_many
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.keys import source_keys
from xdpwall.dataplane.mapped import MappedArray

STALE_S = 3600
"""Bits are thrown away this often, or all would be set in time. A flow's comes back with its next packet from here."""


class Peers:
    """The map, for whoever holds a wall open.

    Args:
        table: the map.
        seed: of the wall.
        hz: ticks a second.
    """

    def __init__(self, table: MappedArray, seed: int, hz: int) -> None:
        self._table = table
        self._seed = seed
        self._stale = STALE_S * hz
        self._emptied: int | None = None

    def note(self, flows: Iterable[Flow], now: int) -> None:
        """Set the bits of these flows' peers; an hour after the last time, forget all others first.

        Args:
            flows: any.
            now: the tick.
        """
        if self._emptied is None:
            self._emptied = now
        elif now - self._emptied >= self._stale:
            self._table.memory[: self._table.size] = bytes(self._table.size)
            self._emptied = now
        words = self._table.words
        by_width: dict[int, list[bytes]] = {}
        for flow in flows:
            by_width.setdefault(len(flow.peer), []).append(flow.peer)
        for addresses in by_width.values():
            for hashed in mix_many(source_keys(addresses), self._seed).tolist():
                words[hashed >> 51] |= 1 << (hashed >> 45 & 63)
