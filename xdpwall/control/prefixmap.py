# SPDX-License-Identifier: Apache-2.0
"""A dictionary over prefixes that can tell what covers an address and what lies inside a prefix.

One table per family and prefix length, keyed by the network's bits as a number: an entry costs about 85 bytes besides
its value, and a look-up for covering prefixes asks only the lengths that are in use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Generic, TypeVar

from xdpwall.model import Prefix

V = TypeVar("V")


class PrefixMap(Generic[V]):
    """Values by prefix, both families."""

    __slots__ = ("_count", "_tables")

    def __init__(self) -> None:
        # Bytes of an address (4 or 16) -> prefix length -> the network's bits -> value.
        self._tables: dict[int, dict[int, dict[int, V]]] = {4: {}, 16: {}}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, prefix: Prefix) -> bool:
        return self.get(prefix) is not None

    def get(self, prefix: Prefix) -> V | None:
        """The value of exactly this prefix."""
        table = self._tables[len(prefix.packed)].get(prefix.length)
        return None if table is None else table.get(_bits(prefix.packed, prefix.length))

    def put(self, prefix: Prefix, value: V) -> None:
        """Add or replace."""
        table = self._tables[len(prefix.packed)].setdefault(prefix.length, {})
        before = len(table)
        table[_bits(prefix.packed, prefix.length)] = value
        self._count += len(table) - before

    def pop(self, prefix: Prefix) -> V | None:
        """Remove, and give what was there."""
        tables = self._tables[len(prefix.packed)]
        table = tables.get(prefix.length)
        if table is None:
            return None
        value = table.pop(_bits(prefix.packed, prefix.length), None)
        if value is not None:
            self._count -= 1
            if not table:
                del tables[prefix.length]
        return value

    def clear(self) -> None:
        """Remove all."""
        self._tables = {4: {}, 16: {}}
        self._count = 0

    def covering(self, prefix: Prefix) -> Iterator[tuple[Prefix, V]]:
        """Every entry that holds the whole of ``prefix``, itself included, longest first."""
        size = len(prefix.packed)
        tables = self._tables[size]
        if not tables:
            return
        whole = int.from_bytes(prefix.packed, "big")
        for length in sorted(tables, reverse=True):
            if length <= prefix.length:
                value = tables[length].get(whole >> (size * 8 - length))
                if value is not None:
                    yield Prefix.covering(prefix.packed, length), value

    def inside(self, prefix: Prefix) -> Iterator[tuple[Prefix, V]]:
        """Every entry that lies in ``prefix``, itself included. Looks at all entries of its family."""
        size = len(prefix.packed)
        if not self._tables[size]:
            return
        network = _bits(prefix.packed, prefix.length)
        for length, table in list(self._tables[size].items()):
            if length == prefix.length:
                if network in table:
                    yield prefix, table[network]
            elif length > prefix.length:
                shift = length - prefix.length
                found = [(bits, value) for bits, value in table.items() if bits >> shift == network]
                for bits, value in found:
                    yield _prefix(size, length, bits), value

    def newest(self, limit: int) -> Iterator[tuple[Prefix, V]]:
        """The last ``limit`` entries that were added of each length and family."""
        for size, tables in self._tables.items():
            for length, table in tables.items():
                for bits, value in itertools.islice(reversed(table.items()), limit):
                    yield _prefix(size, length, bits), value

    def items(self) -> Iterator[tuple[Prefix, V]]:
        """Every entry as they are now; the map may change while they are read, in another thread too."""
        frozen = [
            (size, length, list(table.items()))
            for size, tables in self._tables.items()
            for length, table in tables.items()
        ]
        return ((_prefix(size, length, bits), value) for size, length, rows in frozen for bits, value in rows)


def _bits(packed: bytes, length: int) -> int:
    return int.from_bytes(packed, "big") >> (len(packed) * 8 - length)


def _prefix(size: int, length: int, bits: int) -> Prefix:
    return Prefix((bits << (size * 8 - length)).to_bytes(size, "big"), length)
