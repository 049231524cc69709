# SPDX-License-Identifier: Apache-2.0
"""How many of those whom this host talks to may be banned without an operator, even where each case looks clear.

A limit that is set badly, or an attack that nobody thought of, makes many of them look guilty at once. So in any hour
only a share of them is banned, and the rest is left to limits, budgets and proof, which take only the excess.
"""

from __future__ import annotations

from collections import deque

HOUR_NS = 3_600_000_000_000
LEAST = 3
"""So many may be banned however few this host talks to: one attacker with a handful of machines is no accident."""


class BlastRadius:
    """Counts the last hour's bans of known sources.

    Args:
        percent: of the known sources; 0 bans none of them.
    """

    def __init__(self, percent: int = 5) -> None:
        self.percent = percent
        self._given: deque[int] = deque()

    def room(self, known: int, now_ns: int) -> int:
        """How many more may be banned now.

        Args:
            known: how many sources this host talks to at the moment.
            now_ns: monotonic time.
        """
        while self._given and now_ns - self._given[0] >= HOUR_NS:
            self._given.popleft()
        most = max(LEAST, known * self.percent // 100) if self.percent else 0
        return max(0, most - len(self._given))

    def took(self, count: int, now_ns: int) -> None:
        """So many were banned."""
        self._given.extend([now_ns] * count)
