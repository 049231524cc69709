# SPDX-License-Identifier: Apache-2.0
"""The face of the kernel's fingerprint rules; a part of :mod:`xdpwall.dataplane.interface`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from xdpwall.dataplane.interface import Count
from xdpwall.fingerprint import Rule


@dataclass(frozen=True, slots=True)
class HeldRule:
    """A rule as the kernel holds it.

    ``matched`` counts packets beyond the lane's gate and of no known flow that matched since it was put; ``proven``
    those of them that passed because they had proof of another kind.
    """

    rule: Rule
    remaining_ms: int
    matched: Count
    proven: Count


class RuleMap(Protocol):
    """The kernel's fingerprint rules."""

    def next_id(self) -> int:
        """A number that no rule of this wall has had, 1 or more."""

    def put(self, rule: Rule, remaining_ms: int) -> None:
        """Put a rule in force. Its counters begin at zero.

        Raises:
            KernelError: ENOSPC when its lane holds as many as it can.
        """

    def prolong(self, ident: int, remaining_ms: int) -> bool:
        """Give a rule another end. Gives whether it stood."""

    def observe(self, ident: int, on: bool) -> bool:
        """Let a rule only count, or drop again. Gives whether it stood."""

    def remove(self, ident: int) -> bool:
        """Take a rule out of force. Gives whether it stood."""

    def entries(self) -> list[HeldRule]:
        """All rules in force."""

    def clear(self) -> int:
        """Take all out of force. Gives how many stood."""
