# SPDX-License-Identifier: Apache-2.0
"""From findings to bans: how long, how many a minute, and what is left alone."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.strikes import StrikeBook
from xdpwall.model import Ban, Origin, Prefix

_WINDOW_MS = 60_000
_ENDLESS_MS = 100 * 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class BanRules:
    """The numbers of the policy.

    Args:
        time_ms: length of a first ban; None is for ever.
        growth: each further strike multiplies the length by this, 1 or more.
        time_max_ms: no ban is longer; None is no bound.
        forget_ms: strikes are forgotten this long after the last ban ended.
        per_minute: automatic bans in any 60 s; 0 is no cap.
        min_prefix_v4: shorter prefixes are refused.
        min_prefix_v6: the same for IPv6.

    Raises:
        ValueError: a number that makes no sense.
    """

    time_ms: int | None = 600_000
    growth: float = 2.0
    time_max_ms: int | None = 86_400_000
    forget_ms: int = 86_400_000
    per_minute: int = 30_000
    min_prefix_v4: int = 8
    min_prefix_v6: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.growth < math.inf:
            raise ValueError(f"growth must be 1 or more, not {self.growth}")
        for name in ("time_ms", "time_max_ms"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("forget_ms", "per_minute"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")

    def length_ms(self, strikes: int) -> int | None:
        """How long the ban of this strike lasts (1 is the first): ``time * growth**(strikes - 1)``, capped."""
        if self.time_ms is None:
            return self.time_max_ms
        try:
            length = self.time_ms * self.growth ** (strikes - 1)
        except OverflowError:
            length = math.inf
        if self.time_max_ms is not None:
            return int(min(length, self.time_max_ms))
        return int(length) if length < _ENDLESS_MS else None

    def too_wide(self, prefix: Prefix) -> str | None:
        """Why this prefix is too short to be banned, or None."""
        least = self.min_prefix_v4 if prefix.version == 4 else self.min_prefix_v6
        return f"wider than /{least}" if prefix.length < least else None


@dataclass(frozen=True, slots=True)
class Decision:
    """A ban to be given, for ``for_ms`` from now on; None is for ever. ``finding`` is what it is given for, if any."""

    prefix: Prefix
    for_ms: int | None
    strikes: int
    reason: str
    finding: Finding | None

    def ban(self, now_ms: int) -> Ban:
        """The ban as the record keeps it."""
        expires_ms = None if self.for_ms is None else now_ms + self.for_ms
        return Ban(self.prefix, now_ms, expires_ms, self.reason, Origin.AUTO, self.strikes)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A prefix that must not be banned. ``why`` is for people."""

    prefix: Prefix
    why: str
    finding: Finding | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What to do now.

    Args:
        bans: to be given, prefixes first, then the worst first.
        held: how many wait because the cap on bans a minute is reached; they come with later calls, the worst first.
        given_up: findings that waited too long or did not fit the queue.
        refused: findings on something that must not be banned.
    """

    bans: list[Decision] = field(default_factory=list)
    held: int = 0
    given_up: list[Finding] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class BanPolicy:
    """Remembers strikes, the last minute's bans, and findings that wait for their turn.

    Args:
        rules: may be replaced by :meth:`set_rules`.
        spared: what is never banned. Kept by reference.
        max_held: findings that wait at most; the worst stay.
        max_strikes: prefixes whose strikes are remembered at most; those whose ban ended first go first.
    """

    def __init__(
        self, rules: BanRules, *, spared: PrefixSet, max_held: int = 16_384, max_strikes: int = 262_144
    ) -> None:
        self._rules = rules
        self._spared = spared
        self._strikes = StrikeBook(max_strikes)
        self._max_held = max_held
        self._held: dict[Prefix, tuple[Finding, int]] = {}
        self._given: deque[tuple[int, int]] = deque()
        self._given_sum = 0

    def decide(self, findings: list[Finding], now_ms: int) -> Decisions:
        """Turn findings into bans. Call it in every tick, with no findings too, so that those that wait get through.

        A source in a prefix that is banned in the same call needs no ban of its own.

        Args:
            findings: new ones. Of several on one prefix the worst counts.
            now_ms: Unix milliseconds. May jump.
        """
        for finding in findings:
            known = self._held.get(finding.prefix)
            if known is None or known[0].severity < finding.severity:
                self._held[finding.prefix] = (finding, now_ms)
        if not self._held:
            return Decisions()
        room = self._room(now_ms)
        bans: list[Decision] = []
        refused: list[Refusal] = []
        if room:
            ranked = sorted(
                (finding for finding, _ in self._held.values()), key=lambda found: -found.severity
            )
            wide = PrefixSet()
            for finding in (found for found in ranked if found.scope is Scope.PREFIX):
                if len(bans) < room and self._grant(finding, now_ms, bans, refused):
                    wide.add([finding.prefix])
            sources = [found for found in ranked if found.scope is Scope.SOURCE]
            keys = np.array([finding.key for finding in sources], np.uint64)
            inside = wide.covers_sources(keys).tolist()
            spared = self._spared.covers_sources(keys).tolist()
            for finding, is_inside, is_spared in zip(sources, inside, spared, strict=True):
                if is_inside:
                    del self._held[finding.prefix]
                elif len(bans) < room:
                    self._grant(finding, now_ms, bans, refused, spared=is_spared)
        given_up = self._trim(now_ms)
        self._count(len(bans), now_ms)
        return Decisions(bans, len(self._held), given_up, refused)

    def decide_prefix(self, prefix: Prefix, reason: str, now_ms: int) -> Decision | Refusal:
        """The same for a prefix with no finding of its own (a collapse).

        Never held back by the cap on bans a minute, for it frees more bans than it takes, but counted in it.
        """
        if (why := self._objection(prefix)) is not None:
            return Refusal(prefix, why, None)
        self._room(now_ms)
        self._count(1, now_ms)
        return self._decision(prefix, reason, None, now_ms)

    def recall(self, bans: Iterable[Ban]) -> None:
        """Take over strikes from bans on record, standing or past: at start."""
        for ban in bans:
            self._strikes.recall(ban.prefix, ban.strikes, ban.expires_ms)

    def pardon(self, prefix: Prefix) -> None:
        """Forget the strikes of a prefix and what waits for it: an operator lifted its ban."""
        self._strikes.pardon(prefix)
        self._held.pop(prefix, None)

    def ban_ended(self, prefix: Prefix, now_ms: int) -> None:
        """A ban was lifted before its time, but not as a mistake: the time to forget begins now."""
        self._strikes.ended(prefix, now_ms)

    def set_rules(self, rules: BanRules) -> None:
        """Put other numbers in force."""
        self._rules = rules

    def _grant(
        self,
        finding: Finding,
        now_ms: int,
        bans: list[Decision],
        refused: list[Refusal],
        *,
        spared: bool | None = None,
    ) -> bool:
        """Take a finding out of the queue: a ban for it, or a refusal."""
        del self._held[finding.prefix]
        if (why := self._objection(finding.prefix, spared)) is not None:
            refused.append(Refusal(finding.prefix, why, finding))
            return False
        bans.append(self._decision(finding.prefix, finding.text, finding, now_ms))
        return True

    def _trim(self, now_ms: int) -> list[Finding]:
        """Give up what waited for longer than a minute, and the mildest of what is too much."""
        stale = [found for found, since_ms in self._held.values() if abs(now_ms - since_ms) > _WINDOW_MS]
        for finding in stale:
            del self._held[finding.prefix]
        surplus = len(self._held) - self._max_held
        if surplus > 0:
            mildest = heapq.nsmallest(
                surplus, (found for found, _ in self._held.values()), key=lambda found: found.severity
            )
            for finding in mildest:
                del self._held[finding.prefix]
            stale += mildest
        return stale

    def _objection(self, prefix: Prefix, spared: bool | None = None) -> str | None:
        if (why := self._rules.too_wide(prefix)) is not None:
            return why
        spared = self._spared.overlaps(prefix) if spared is None else spared
        return "allowlisted or protected" if spared else None

    def _decision(self, prefix: Prefix, reason: str, finding: Finding | None, now_ms: int) -> Decision:
        strikes = self._strikes.count(prefix, now_ms, self._rules.forget_ms) + 1
        for_ms = self._rules.length_ms(strikes)
        self._strikes.strike(prefix, strikes, None if for_ms is None else now_ms + for_ms)
        return Decision(prefix, for_ms, strikes, reason, finding)

    def _room(self, now_ms: int) -> float:
        """How many bans may be given now. A clock that jumped back must not stretch the minute."""
        if self._given and self._given[-1][0] > now_ms:
            self._given = deque((min(at_ms, now_ms), count) for at_ms, count in self._given)
        while self._given and now_ms - self._given[0][0] >= _WINDOW_MS:
            self._given_sum -= self._given.popleft()[1]
        if not self._rules.per_minute:
            return math.inf
        return max(0, self._rules.per_minute - self._given_sum)

    def _count(self, bans: int, now_ms: int) -> None:
        if bans:
            self._given.append((now_ms, bans))
            self._given_sum += bans
