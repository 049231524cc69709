# SPDX-License-Identifier: Apache-2.0
"""From findings to bans: how long, how many a minute, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xdpwall.detection.finding import Finding
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.model import Ban, Prefix


@dataclass(frozen=True, slots=True)
class BanRules:
    """The numbers of the policy.

    Args:
        time_ms: length of a first ban; None is for ever.
        growth: each further strike multiplies the length by this, 1 or more.
        time_max_ms: no ban is longer; None is no end.
        forget_ms: strikes are forgotten this long after the last ban ended.
        per_minute: automatic bans in any 60 s; 0 is no cap.
        min_prefix_v4: shorter prefixes are refused.
        min_prefix_v6: the same for IPv6.
    """

    time_ms: int | None = 600_000
    growth: float = 2.0
    time_max_ms: int | None = 86_400_000
    forget_ms: int = 86_400_000
    per_minute: int = 30_000
    min_prefix_v4: int = 8
    min_prefix_v6: int = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """A ban to be given. ``for_ms`` None is for ever; ``ban(now_ms)`` makes the record of it."""

    prefix: Prefix
    for_ms: int | None
    strikes: int
    reason: str
    finding: Finding | None

    def ban(self, now_ms: int) -> Ban:
        """The ban as the record keeps it."""
        raise NotImplementedError


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
        max_strikes: prefixes whose strikes are remembered at most; the longest quiet go first.
    """

    def __init__(
        self, rules: BanRules, *, spared: PrefixSet, max_held: int = 65_536, max_strikes: int = 262_144
    ) -> None:
        raise NotImplementedError

    def decide(self, findings: list[Finding], now_ms: int) -> Decisions:
        """Turn findings into bans. Call it in every tick, with no findings too, so that those that wait get through.

        Args:
            findings: new ones.
            now_ms: Unix milliseconds. May jump.
        """
        raise NotImplementedError

    def decide_prefix(self, prefix: Prefix, reason: str, now_ms: int) -> Decision | Refusal:
        """The same for a prefix with no finding of its own (a collapse). Counts as one ban of the minute."""
        raise NotImplementedError

    def recall(self, bans: Iterable[Ban]) -> None:
        """Take over strikes from bans on record, standing or past: at start."""
        raise NotImplementedError

    def pardon(self, prefix: Prefix) -> None:
        """Forget the strikes of a prefix and what waits for it: an operator lifted its ban."""
        raise NotImplementedError

    def ban_ended(self, prefix: Prefix, now_ms: int) -> None:
        """A ban was lifted before its time, but not as a mistake: the time to forget begins now."""
        raise NotImplementedError

    def set_rules(self, rules: BanRules) -> None:
        """Put other numbers in force."""
        raise NotImplementedError
