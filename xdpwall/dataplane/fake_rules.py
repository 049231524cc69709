# SPDX-License-Identifier: Apache-2.0
"""The fingerprint rules of the wall in memory; a part of :mod:`xdpwall.dataplane.fake`."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace

from xdpwall.clock import ManualClock
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.rule_map import HeldRule
from xdpwall.errors import KernelError
from xdpwall.fingerprint import Rule

PLACES = 8


@dataclass(slots=True)
class _Held:
    rule: Rule
    until_ns: int
    matched: Count = field(default_factory=Count)
    proven: Count = field(default_factory=Count)


class FakeRules:
    """The rule map. ``fail_errno`` makes every write raise that error."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._held: dict[int, _Held] = {}
        self._last = 0
        self.fail_errno = 0

    def next_id(self) -> int:
        """See :meth:`RuleMap.next_id`."""
        self._last += 1
        return self._last

    def put(self, rule: Rule, remaining_ms: int) -> None:
        """See :meth:`RuleMap.put`."""
        if self.fail_errno:
            raise KernelError("rule in the fake wall", self.fail_errno)
        self._sweep()
        if sum(held.rule.pattern.lane is rule.pattern.lane for held in self._held.values()) >= PLACES:
            raise KernelError(f"rule for lane {rule.pattern.lane.label}", errno.ENOSPC)
        self._held[rule.id] = _Held(rule, self._until(remaining_ms))

    def prolong(self, ident: int, remaining_ms: int) -> bool:
        """See :meth:`RuleMap.prolong`."""
        held = self._live(ident)
        if held is not None:
            held.until_ns = self._until(remaining_ms)
        return held is not None

    def observe(self, ident: int, on: bool) -> bool:
        """See :meth:`RuleMap.observe`."""
        held = self._live(ident)
        if held is not None:
            held.rule = replace(held.rule, observe=on)
        return held is not None

    def remove(self, ident: int) -> bool:
        """See :meth:`RuleMap.remove`."""
        self._sweep()
        return self._held.pop(ident, None) is not None

    def entries(self) -> list[HeldRule]:
        """See :meth:`RuleMap.entries`."""
        self._sweep()
        now = self._clock.mono_ns()
        return [
            HeldRule(held.rule, (held.until_ns - now) // 1_000_000, held.matched, held.proven)
            for held in self._held.values()
        ]

    def clear(self) -> int:
        """See :meth:`RuleMap.clear`."""
        self._sweep()
        count = len(self._held)
        self._held.clear()
        return count

    def count(self, ident: int, packets: int, *, proven: int = 0, size: int = 60) -> None:
        """For tests: packets that matched a rule, and how many of them had proof."""
        held = self._held[ident]
        held.matched = Count(held.matched.packets + packets, held.matched.bytes + packets * size)
        held.proven = Count(held.proven.packets + proven, held.proven.bytes + proven * size)

    def _until(self, remaining_ms: int) -> int:
        return self._clock.mono_ns() + remaining_ms * 1_000_000

    def _live(self, ident: int) -> _Held | None:
        self._sweep()
        return self._held.get(ident)

    def _sweep(self) -> None:
        now = self._clock.mono_ns()
        self._held = {ident: held for ident, held in self._held.items() if held.until_ns > now}
