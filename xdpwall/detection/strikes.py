# SPDX-License-Identifier: Apache-2.0
"""Who was banned before, and how often."""

from __future__ import annotations

from xdpwall.model import Prefix


class StrikeBook:
    """Strikes of prefixes, bounded.

    Args:
        capacity: prefixes at most. When there are more, an eighth of them is dropped: those whose ban ended first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._book: dict[Prefix, tuple[int, float]] = {}  # strikes, end of the last ban (infinite: for ever)

    def count(self, prefix: Prefix, now_ms: int, forget_ms: int) -> int:
        """Strikes so far; 0 when the last ban ended longer than ``forget_ms`` ago."""
        strikes, ended_ms = self._book.get(prefix, (0, 0.0))
        return 0 if now_ms - ended_ms > forget_ms else strikes

    def strike(self, prefix: Prefix, strikes: int, until_ms: int | None) -> None:
        """Write down the strikes of a ban that lasts until then (Unix milliseconds), None for ever."""
        self._book[prefix] = (strikes, float("inf") if until_ms is None else until_ms)
        if len(self._book) > self._capacity:
            self._shed()

    def recall(self, prefix: Prefix, strikes: int, until_ms: int | None) -> None:
        """Take over a record unless a later one is known."""
        until = float("inf") if until_ms is None else until_ms
        if prefix not in self._book or self._book[prefix][1] < until:
            self.strike(prefix, strikes, until_ms)

    def ended(self, prefix: Prefix, now_ms: int) -> None:
        """Its ban ended now, earlier than planned."""
        if (known := self._book.get(prefix)) is not None:
            self._book[prefix] = (known[0], min(known[1], now_ms))

    def pardon(self, prefix: Prefix) -> None:
        """Forget this one."""
        self._book.pop(prefix, None)

    def _shed(self) -> None:
        keep = max(1, self._capacity - self._capacity // 8)
        ends = sorted((end for _, end in self._book.values()), reverse=True)
        least = ends[keep - 1]
        kept = {prefix: record for prefix, record in self._book.items() if record[1] > least}
        for prefix, record in self._book.items():
            if len(kept) >= keep:
                break
            if record[1] == least:
                kept[prefix] = record
        self._book = kept

    def __len__(self) -> int:
        return len(self._book)
