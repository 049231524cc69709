# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of fingerprint rules: eight a lane, in memory that both sides map.

All that there is to know of a rule stands in the table, so a controller that starts anew takes the rules over, and
``xdpwall rules`` works without one.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator

from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.layout import BUDGET_WORDS, LANE_SLOTS, RULES_UNTIL
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.rule_map import HeldRule
from xdpwall.dataplane.ticks import EXPIRY_SHIFT, TickClock
from xdpwall.errors import KernelError
from xdpwall.fingerprint import Pattern, Rule
from xdpwall.lanes import Lane

PLACES = 8
"""Rules a lane (``RULES_A_LANE`` of ``bpf/fingerprints.h``)."""
RULE = struct.Struct("<Q6HIQ4I64s64s16x")
"""``struct rule``."""
SET_BYTES = 64 + PLACES * RULE.size
_ANY = (0, 0xFFFF)
_PPM = 1_000_000
_COUNT_WORDS = 4
_Change = Callable[[int], int]


class RuleTable:
    """The maps ``rules`` and ``rule_counts``, and a word of ``budgets``.

    One process writes at a time: who holds the instance's lock.
    """

    def __init__(
        self, rules: MappedArray, counts: MappedArray, lane_budgets: MappedArray, clock: TickClock
    ) -> None:
        self._rules = rules
        self._counts = counts
        self._budgets = lane_budgets
        self._clock = clock

    def next_id(self) -> int:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`. The last one stands beside the rules."""
        self._rules.words[1] += 1
        return self._rules.words[1]

    def put(self, rule: Rule, remaining_ms: int) -> None:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        lane = rule.pattern.lane
        now = self._clock.now()
        place = next((place for place in range(PLACES) if self._is_free(lane, place, now)), None)
        if place is None:
            raise KernelError(f"rule for lane {lane.label}", errno.ENOSPC)
        writes = (self._state(lane, place) >> 1) + 1 & 0x3FFFFFFF
        at = self._at(lane, place)
        self._set_state(lane, place, writes << 1)  # expiry 0: dead while the rest is written
        body = RULE.pack(
            0,
            *_range(rule.pattern.ttl),
            *_range(rule.pattern.length),
            *_range(rule.pattern.source_port),
            rule.id,
            rule.created_ms,
            round(rule.cover * _PPM),
            round(rule.collateral * _PPM),
            rule.support,
            rule.good,
            rule.pattern.mask,
            rule.pattern.value,
        )
        self._rules.memory[at + 8 : at + RULE.size] = body[8:]
        words = self._counts.words
        for first in self._count_places(lane, place):
            for word in range(first, first + _COUNT_WORDS):
                words[word] = 0
        expiry = self._clock.expiry(remaining_ms, now)
        self._set_state(lane, place, expiry << 32 | ((writes + 1) << 1 & 0xFFFFFFFE) | rule.observe)
        self._refresh(lane, now)

    def prolong(self, ident: int, remaining_ms: int) -> bool:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        now = self._clock.now()
        expiry = self._clock.expiry(remaining_ms, now)
        return self._change(ident, now, lambda state: expiry << 32 | state & 0xFFFFFFFF)

    def observe(self, ident: int, on: bool) -> bool:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        return self._change(ident, self._clock.now(), lambda state: state & ~1 | on)

    def remove(self, ident: int) -> bool:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        return self._change(ident, self._clock.now(), lambda state: state & 0xFFFFFFFE)

    def clear(self) -> int:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        return sum(self.remove(held.rule.id) for held in self.entries())

    def entries(self) -> list[HeldRule]:
        """See :class:`xdpwall.dataplane.rule_map.RuleMap`."""
        now = self._clock.now()
        return [self._held(lane, place, now) for lane, place in self._live(now)]

    def mend(self) -> int:
        """Tell the kernel anew which places to look at, where it is not told so. Gives in how many lanes."""
        now, count = self._clock.now(), 0
        for lane in Lane:
            at, until = lane * SET_BYTES // 8, lane * BUDGET_WORDS + RULES_UNTIL
            before = self._rules.words[at], self._budgets.words[until]
            live = sum(1 << place for place in range(PLACES) if not self._is_free(lane, place, now))
            if live & ~before[0] or (live and before[1] >> EXPIRY_SHIFT < before[0] >> 32):
                self._refresh(lane, now)
                count += 1
        return count

    def _change(self, ident: int, now: int, to: _Change) -> bool:
        for lane, place in self._live(now):
            if self._ident(lane, place) == ident:
                self._set_state(lane, place, to(self._state(lane, place)))
                self._refresh(lane, now)
                return True
        return False

    def _live(self, now: int) -> Iterator[tuple[Lane, int]]:
        for lane in Lane:
            for place in range(PLACES):
                if not self._is_free(lane, place, now):
                    yield lane, place

    def _is_free(self, lane: Lane, place: int, now: int) -> bool:
        return self._clock.remaining_ms(self._state(lane, place) >> 32, now) == 0

    def _refresh(self, lane: Lane, now: int) -> None:
        """Tell the kernel which places to look at, and until when at all."""
        live = latest = 0
        for place in range(PLACES):
            if not self._is_free(lane, place, now):
                live |= 1 << place
                latest = max(latest, self._state(lane, place) >> 32)
        self._rules.words[lane * SET_BYTES // 8] = latest << 32 | live
        self._budgets.words[lane * BUDGET_WORDS + RULES_UNTIL] = latest << EXPIRY_SHIFT

    def _held(self, lane: Lane, place: int, now: int) -> HeldRule:
        fields = RULE.unpack_from(self._rules.memory, self._at(lane, place))
        state, *ranges = fields[:7]
        ident, created_ms, cover, collateral, support, good, mask, value = fields[7:]
        pattern = Pattern(lane, mask, value, *(_limits(*ranges[n : n + 2]) for n in (0, 2, 4)))
        rule = Rule(
            id=ident,
            pattern=pattern,
            observe=bool(state & 1),
            created_ms=created_ms,
            cover=cover / _PPM,
            collateral=collateral / _PPM,
            support=support,
            good=good,
        )
        words = self._counts.words
        totals = [0] * _COUNT_WORDS
        for first in self._count_places(lane, place):
            for word in range(_COUNT_WORDS):
                totals[word] += words[first + word]
        return HeldRule(
            rule=rule,
            remaining_ms=self._clock.remaining_ms(state >> 32, now) or 0,
            matched=Count(*totals[:2]),
            proven=Count(*totals[2:]),
        )

    def _at(self, lane: Lane, place: int) -> int:
        return lane * SET_BYTES + 64 + place * RULE.size

    def _ident(self, lane: Lane, place: int) -> int:
        return int(RULE.unpack_from(self._rules.memory, self._at(lane, place))[7])

    def _state(self, lane: Lane, place: int) -> int:
        return self._rules.words[self._at(lane, place) // 8]

    def _set_state(self, lane: Lane, place: int, state: int) -> None:
        self._rules.words[self._at(lane, place) // 8] = state

    def _count_places(self, lane: Lane, place: int) -> Iterator[int]:
        """Index of the first of the four words of this rule's counters, for each CPU."""
        per_cpu = LANE_SLOTS * PLACES
        for cpu in range(self._counts.entries // per_cpu):
            yield (cpu * per_cpu + lane * PLACES + place) * _COUNT_WORDS


def _range(limits: tuple[int, int] | None) -> tuple[int, int]:
    low, high = limits or _ANY
    return low, high - low


def _limits(low: int, span: int) -> tuple[int, int] | None:
    return None if (low, span) == _ANY else (low, low + span)
