# SPDX-License-Identifier: Apache-2.0
"""Plays recorded traffic to the controller's own detection, with any configuration: who would have been banned.

Nothing here decides. ``Sentinel`` does, which does so in the controller, on meters that move as the record says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control import record
from xdpwall.control.book import Book
from xdpwall.control.database import AllowEntry, Changes
from xdpwall.control.guard import Guard
from xdpwall.control.health import Health
from xdpwall.control.innocents import Innocents, Reading
from xdpwall.control.logs import Throttle
from xdpwall.control.past_wall import STEPS, EveryLook, PastWall, steps
from xdpwall.control.sentinel import Sentinel, limits
from xdpwall.detection.detector import Detection
from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import Mask, no_keys, source_of
from xdpwall.detection.limits import KINDS, Kind, Limits
from xdpwall.detection.past import PROVEN, SECONDS, TENTH, Floats, Part, Rows
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.model import Ban, Origin, Prefix

_MONO_NS = 1_000_000_000_000
_IN_KERNEL = (Kind.PPS, Kind.BPS, Kind.SYN)
"""Limits that the program itself holds to, packet by packet, before any ban (``bpf/limits.h``)."""


@dataclass(slots=True)
class Hit:
    """What would have become of one source or prefix.

    Args:
        prefix: which.
        over_ms: when it was first over a limit; None: never itself.
        why: the first finding, or the first ban's reason.
        banned_ms: when it was first banned, by itself or with its prefix; None: it was not.
        good: it had completed a handshake.
        sent: packets it sent, as far as they are on record. ``dropped``: of them, by bans or by the limits themselves.
    """

    prefix: Prefix
    over_ms: int | None = None
    why: str = ""
    banned_ms: int | None = None
    good: bool = False
    sent: float = 0.0
    dropped: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What would have happened with one configuration.

    Args:
        sources: every source that would have been over a limit or banned, or lost a packet.
        bans: how many bans there would have been: of sources, of prefixes.
        first_ms: when the first of them.
        held_back: findings on what must not be banned.
        dropped: packets in all, an estimate.
        dropped_good: of those, of sources that had completed a handshake.
        left_out: sources that came near a limit and are not on record, in the fullest minute.
    """

    sources: dict[Prefix, Hit] = field(default_factory=dict)
    prefixes: dict[Prefix, Hit] = field(default_factory=dict)
    bans: tuple[int, int] = (0, 0)
    first_ms: int | None = None
    held_back: int = 0
    dropped: float = 0.0
    dropped_good: float = 0.0
    left_out: int = 0

    @property
    def over(self) -> list[Hit]:
        """Sources over a limit, the first one first."""
        found = [hit for hit in self.sources.values() if hit.over_ms is not None]
        return sorted(found, key=lambda hit: hit.over_ms or 0)

    @property
    def banned(self) -> list[Hit]:
        """Sources that would have been banned, the first one first."""
        found = [hit for hit in self.sources.values() if hit.banned_ms is not None]
        return sorted(found, key=lambda hit: hit.banned_ms or 0)

    @property
    def good(self) -> list[Hit]:
        """Good sources that would have been over a limit, banned or lost packets, those that lost most first."""
        found = [hit for hit in self.sources.values() if hit.good]
        return sorted(found, key=lambda hit: -hit.dropped)


class Run:
    """One configuration's run over the record.

    Args:
        config: to try.
        allow: the operators' allowlist; the config's own is added.
        size: the most sources, and prefixes, of any part.
        begin_ms: Unix time before the first part.
    """

    def __init__(
        self, config: Config, allow: Iterable[AllowEntry], size: tuple[int, int], begin_ms: int
    ) -> None:
        self.outcome = Outcome()
        self._config = config
        self._limits = limits(config)
        self._clock = ManualClock(begin_ms, _MONO_NS)
        self._wall = PastWall(self._clock, config, size)
        self._book = Book()
        guard = Guard(config.bans.min_prefix_v4, config.bans.min_prefix_v6)
        for entry in allow:
            guard.allow.put(entry.prefix, entry)
        record.set_config_allow(guard, config.allow.prefixes, begin_ms)
        self._allowed = PrefixSet(guard.spared())
        silent = Throttle(_silent())
        self._sentinel = Sentinel(config, self._book, guard, self._took, silent)
        self._sentinel.watch = self._saw
        self._sentinel.innocents = Innocents(
            self._clock,
            Health(),
            self._took,
            silent,
            peers=no_keys,
            spared=self._allowed,
            read=lambda _: Reading(frozenset(), {}),  # connections of then cannot be asked any more
            submit=_at_once,
        )
        self._sentinel.innocents.configure(config)
        self._standing = PrefixSet()
        self._looks = 0
        self._fill: dict[int, Floats] = {}

    def play(self, part: Part) -> None:
        """One part, in the order of time."""
        sources, prefixes = self._without_allowed(part.sources), part.prefixes
        self.outcome.left_out = max(self.outcome.left_out, sources.left_out)
        self._forward(part.at_ms)
        over = [_above(rows, mine) for rows, mine in zip((sources, prefixes), self._limits, strict=True)]
        exciting = np.logical_or.reduce(np.concatenate(over), axis=0)
        if not exciting.any() and not len(self._book):
            return
        self._wall.hold(sources, prefixes)
        self._step(1)  # forgets who is gone; whatever was over long ago has had its rest
        dropped = np.zeros(len(sources))
        for second in range(part.seconds):
            banned = self._banned(sources)
            covered = self._standing.covers_prefixes(prefixes.keys)
            if exciting[second] and (over[0][~banned, second].any() or over[1][~covered, second].any()):
                dropped += self._look_at(sources, prefixes, second)
            else:
                self._pass(1000)
                self._fill.clear()  # nobody spends more than comes in
                dropped += np.where(banned, sources.total[0, :, second], 0.0)
        self._settle(sources, dropped)

    def _look_at(self, sources: Rows, prefixes: Rows, second: int) -> Floats:
        """One second, in as many looks as the controller has. Gives the packets dropped of each source."""
        dropped = np.zeros(len(sources))
        for ours, theirs in zip(steps(sources, second), steps(prefixes, second), strict=True):
            banned = self._banned(sources)
            covered = self._standing.covers_prefixes(prefixes.keys)
            passing = np.where(banned, 0.0, ours)  # what a ban drops is not metered
            self._wall.come_in(passing, np.where(covered, 0.0, theirs))
            self._step(1000 // STEPS)
            dropped += np.where(banned, ours[0], self._over_limit(sources, ours))
        return dropped

    def end(self) -> Outcome:
        """All parts were played."""
        self._wall.close()
        return self.outcome

    def _without_allowed(self, rows: Rows) -> Rows:
        """What is allowlisted passes before it is metered."""
        keep = ~self._allowed.covers_sources(rows.keys)
        if keep.all():
            return rows
        return Rows(
            rows.keys[keep], rows.flags[keep], rows.total[:, keep], rows.tenth[:, keep], rows.left_out
        )

    def _forward(self, to_ms: int) -> None:
        self._pass(max(0, to_ms - self._clock.wall_ms()))
        self._fill.clear()

    def _pass(self, milliseconds: int) -> None:
        self._clock.advance_ms(milliseconds)
        lapsed = self._book.take_lapsed(self._clock.wall_ms())
        if lapsed:
            self._wall.bans.remove_many([ban.prefix for ban in lapsed])
            self._took(record.ended(lapsed))

    def _step(self, milliseconds: int) -> None:
        """Time passes, and detection looks."""
        self._pass(milliseconds)
        self._looks += 1
        look = EveryLook(self._looks).as_traffic()
        self._sentinel.step(self._wall, look, self._clock.wall_ms(), self._clock.mono_ns())

    def _banned(self, sources: Rows) -> Mask:
        return self._standing.covers_sources(sources.keys)

    def _over_limit(self, sources: Rows, sent: Floats) -> Floats:
        """Packets that the limits themselves drop: a token bucket of each source and kind, as in ``bpf/limits.h``."""
        refused = np.zeros(len(sources))
        mine = self._limits[0]
        for kind in _IN_KERNEL:
            limit = mine.per_kind()[KINDS.index(kind)]
            if not limit:
                continue
            amounts = sent[KINDS.index(kind)]
            depth = limit * mine.burst_s
            tokens = self._tokens(kind, sources, depth)
            np.minimum(depth, tokens + limit * TENTH, out=tokens)
            lacking = np.maximum(amounts - tokens, 0)
            np.maximum(tokens - amounts, 0, out=tokens)
            share = np.divide(lacking, amounts, out=np.zeros_like(amounts), where=amounts > 0)
            of = sent[2] if kind is Kind.SYN else sent[0]
            refused = np.minimum(np.maximum(refused, share * of), sent[0])
        return refused

    def _tokens(self, kind: Kind, sources: Rows, depth: float) -> Floats:
        number = KINDS.index(kind)
        if number not in self._fill or len(self._fill[number]) != len(sources):
            self._fill[number] = np.full(len(sources), depth)
        return self._fill[number]

    def _settle(self, sources: Rows, dropped: Floats) -> None:
        """The part is over: what was dropped of whom."""
        good = (sources.flags & PROVEN) != 0
        self.outcome.dropped += float(dropped.sum())
        self.outcome.dropped_good += float(dropped[good].sum())
        told = dropped >= 1
        hits = self.outcome.sources
        sent = sources.total[0].sum(axis=1)
        standing = self._banned(sources)
        for place, key in enumerate(sources.keys.tolist()):
            prefix = source_of(key)
            if told[place] or standing[place] or prefix in hits:
                hit = hits.setdefault(prefix, Hit(prefix))
                hit.good |= bool(good[place])
                hit.sent += float(sent[place])
                hit.dropped += float(dropped[place])
                if standing[place] and hit.banned_ms is None:
                    ban = self._book.covering(prefix, self._clock.wall_ms())
                    if ban is not None:  # with its prefix
                        hit.banned_ms, hit.why = ban.created_ms, hit.why or f"{ban.prefix}: {ban.reason}"

    def _saw(self, detection: Detection) -> None:
        for finding in detection.findings:
            self._note(finding)

    def _note(self, finding: Finding) -> None:
        hits = self.outcome.sources if finding.scope is Scope.SOURCE else self.outcome.prefixes
        hit = hits.setdefault(finding.prefix, Hit(finding.prefix))
        if hit.over_ms is None:
            hit.over_ms, hit.why = self._clock.wall_ms(), finding.text

    def _took(self, changes: Changes) -> None:
        """The record of this run changed."""
        self._sentinel.took(changes)
        self._standing.remove(changes.lifted)
        bans = [ban for ban in changes.bans if ban.origin is Origin.AUTO]
        self._standing.add(ban.prefix for ban in bans)
        self.outcome.held_back += sum(event.event == "held_back" for event in changes.events)
        for ban in bans:
            self._note_ban(ban)

    def _note_ban(self, ban: Ban) -> None:
        hits = self.outcome.sources if ban.prefix.is_source else self.outcome.prefixes
        hit = hits.setdefault(ban.prefix, Hit(ban.prefix))
        if hit.banned_ms is None:
            hit.banned_ms, hit.why = ban.created_ms, hit.why or ban.reason
        exact, wide = self.outcome.bans
        self.outcome.bans = (exact + ban.prefix.is_source, wide + (not ban.prefix.is_source))
        if self.outcome.first_ms is None:
            self.outcome.first_ms = ban.created_ms


def play(
    parts: Iterable[Part],
    configs: Sequence[Config],
    allow: Sequence[AllowEntry],
    size: tuple[int, int],
    also: Callable[[Part], None] = lambda _: None,
) -> list[Outcome]:
    """Play the record to each configuration, in one pass.

    Args:
        parts: oldest first.
        configs: to try.
        allow: the operators' allowlist.
        size: the most sources, and prefixes, of any part.
        also: is handed each part, too.
    """
    runs: list[Run] = []
    for part in parts:
        if not runs:
            begin_ms = part.at_ms - SECONDS * 1000
            runs = [Run(config, allow, size, begin_ms) for config in configs]
        for run in runs:
            run.play(part)
        also(part)
    return [run.end() for run in runs] if runs else [Outcome() for _ in configs]


def _above(rows: Rows, limits_: Limits) -> npt.NDArray[np.bool_]:
    """Who can fill a bucket in which second: only who is above a limit then. Shape ``(rows, seconds)``."""
    least = np.array([limit or np.inf for limit in limits_.per_kind()])[:, None, None]
    both = np.logical_or(rows.total > least, rows.tenth > least * TENTH)
    above: npt.NDArray[np.bool_] = np.logical_or.reduce(both, axis=0)
    return above


def _at_once(work: Callable[[], Reading]) -> Future[Reading]:
    done: Future[Reading] = Future()
    done.set_result(work())
    return done


def _silent() -> logging.Logger:
    logger = logging.getLogger("xdpwall.simulate")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
