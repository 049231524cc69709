# SPDX-License-Identifier: Apache-2.0
"""Follows the bans that detection writes, and what else the wall does, for the open incident."""

from __future__ import annotations

from collections import deque

from xdpwall.clock import Clock
from xdpwall.control.database import Changes
from xdpwall.incident.account import Account
from xdpwall.model import Origin

LATELY_NS = 10_000_000_000
_FRESH_MS = 1_000
_MOST_NAMED = 20
_TOLD = frozenset(
    {"rule", "rule_end", "collapse", "cut", "flush", "cookies", "reload", "load", "off", "on", "spared"}
)
"""Events of the history that belong into an incident's list of actions."""


class BanTally:
    """Counts automatic bans.

    Args:
        clock: both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: deque[tuple[int, int, int]] = deque()
        self._first_ms: float | None = None
        self.total = 0
        """Automatic bans since start."""

    def took(self, changes: Changes, account: Account | None) -> None:
        """The record changed; ``account`` is of the incident that is open."""
        if not changes.events:
            return
        now_ms = self._clock.wall_ms()
        bans = [
            ban for ban in changes.bans if ban.origin is Origin.AUTO and ban.created_ms >= now_ms - _FRESH_MS
        ]
        if bans:
            self.total += len(bans)
            exact = sum(ban.prefix.is_source for ban in bans)
            self._times.append((self._clock.mono_ns(), exact, len(bans) - exact))
            self._first_ms = self._first_ms or float(now_ms)
        if account is None:
            return
        if bans:
            exact = sum(ban.prefix.is_source for ban in bans)
            account.ledger(ban_ms=float(now_ms))
            named = account.brief.bans.exact + account.brief.bans.prefix
            for ban in bans[: max(0, _MOST_NAMED - named)]:
                account.act(now_ms, "ban", f"{ban.prefix}: {ban.reason}")
            account.banned(exact, len(bans) - exact)
        for event in changes.events:
            if event.event in _TOLD:
                where = "" if event.prefix is None else f"{event.prefix}: "
                account.act(event.at_ms, event.event, f"{where}{event.detail}")

    def lately(self) -> int:
        """Bans of the last ten seconds."""
        horizon = self._clock.mono_ns() - LATELY_NS
        while self._times and self._times[0][0] < horizon:
            self._times.popleft()
        if not self._times:
            self._first_ms = None
        return sum(exact + wide for _, exact, wide in self._times)

    def since(self, mono_ns: int) -> tuple[int, int]:
        """Bans of sources and of prefixes at or after a moment of the last ten seconds."""
        recent = [(exact, wide) for at, exact, wide in self._times if at >= mono_ns]
        return sum(exact for exact, _ in recent), sum(wide for _, wide in recent)

    @property
    def first_ms(self) -> float | None:
        """When the first ban of the present series was written; None when there was none lately."""
        return self._first_ms
