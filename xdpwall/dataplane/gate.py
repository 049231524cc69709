# SPDX-License-Identifier: Apache-2.0
"""The gate: one bit a /16 (IPv4) or hashed /32 (IPv6) and list, that says whether the list's trie is worth asking.

Order matters to packets in flight: a bit is set before the trie gains an entry and cleared after it lost the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

from xdpwall.dataplane.hashing import gate_bit
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.model import Prefix

_WORDS = 2048
_STRIDE = 4  # 64-bit words in a struct gate_word


class GateList(IntEnum):
    """Which member of ``struct gate_word`` a list has."""

    ALLOW = 0
    BAN = 1
    OWN = 2


class Gate:
    """One list's bits."""

    def __init__(self, array: MappedArray, which: GateList) -> None:
        self._words = array.words
        self._which = which

    def open(self, prefix: Prefix) -> None:
        """Set the bits of a prefix, before it is put into its trie."""
        for bit in _bits(prefix):
            at = (bit >> 6) * _STRIDE + self._which
            self._words[at] |= 1 << (bit & 63)

    def rebuild(self, prefixes: Iterable[Prefix]) -> None:
        """Set exactly the bits of these prefixes, after some were taken out of the trie."""
        for index, word in enumerate(_wanted(prefixes)):
            at = index * _STRIDE + self._which
            if self._words[at] != word:
                self._words[at] = word

    def mend(self, prefixes: Iterable[Prefix]) -> int:
        """Set the bits of these prefixes that are not set, with which their list would not be asked. Gives how many."""
        count = 0
        for index, word in enumerate(_wanted(prefixes)):
            at = index * _STRIDE + self._which
            missing = word & ~self._words[at]
            if missing:
                self._words[at] |= missing
                count += missing.bit_count()
        return count


def _wanted(prefixes: Iterable[Prefix]) -> list[int]:
    wanted = [0] * _WORDS
    for prefix in prefixes:
        for bit in _bits(prefix):
            wanted[bit >> 6] |= 1 << (bit & 63)
    return wanted


def _bits(prefix: Prefix) -> Iterator[int]:
    exact, first = (16, 0) if prefix.version == 4 else (32, 65536)
    if prefix.length >= exact:
        yield gate_bit(prefix.packed)
    elif prefix.version == 4:
        start = gate_bit(prefix.packed)
        yield from range(start, start + (1 << (16 - prefix.length)))
    elif prefix.length > 20:
        network = int.from_bytes(prefix.packed[:4], "big")
        for low in range(1 << (32 - prefix.length)):
            yield gate_bit((network + low).to_bytes(4, "big") + bytes(12))
    else:
        yield from range(first, first + 65536)
