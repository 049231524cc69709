# SPDX-License-Identifier: Apache-2.0
"""Makes rules from an attack's packets while it runs, watches what they do, and takes back those that harm.

Samples come in with each tick. Once enough packets of a lane were dropped over its budget, what they share is searched
for; a rule goes to the kernel at once, with an end of its own, so that nothing stays behind should the controller die.
A rule that goes on matching is prolonged; one that hits known-good traffic is taken out of force, and not made again
for a while. The kernel holds all that is to know of a rule, so a new controller goes on with those it finds.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xdpwall.control.database import Changes, Event
from xdpwall.control.logs import Throttle
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.rule_map import HeldRule
from xdpwall.detection.fingerprint_evidence import Evidence
from xdpwall.detection.fingerprint_search import Bounds, Finding, search
from xdpwall.errors import KernelError
from xdpwall.fingerprint import Pattern, Rule
from xdpwall.fingerprint_text import describe
from xdpwall.lanes import Lane
from xdpwall.observe import covers_rules_of
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.config import Config

FIRST_SUPPORT = 64
"""So many dropped packets are enough to look for a lane's first rule: a tick or two of a flood."""
NEXT_SUPPORT = 192
"""And so many that no rule matches for one more: what is left may be nobody's attack."""
PAUSE_MS = 200
LONGEST_PAUSE_MS = 5_000
"""Time between two searches in a lane; it doubles with each that finds nothing."""
UPKEEP_MS = 1_000
STILL_MATCHES = 10
"""A rule that matched fewer packets in a second does not live on for their sake."""
HARM_HITS = 3
"""Known-good packets that a rule must hit before it is judged by them: one may be a chance, or an attacker's."""
HARM_PROVEN, HARM_SHARE = 50, 0.01
"""And by the kernel's own count: so many packets with proof, and such a share of all that matched."""
BLOCKED_MS = 600_000
"""A pattern that did harm is not made again for this long."""


@dataclass(slots=True)
class _Watch:
    """What is known of a rule beside what the kernel holds."""

    matched: int = 0
    grew: int = 0
    good: int = 0
    hits: int = 0


@dataclass(slots=True)
class _Pace:
    next_ms: int = 0
    pause_ms: int = PAUSE_MS


@dataclass(slots=True)
class _Memory:
    watches: dict[int, _Watch] = field(default_factory=dict)
    paces: dict[Lane, _Pace] = field(default_factory=dict)
    blocked: dict[Pattern, int] = field(default_factory=dict)


class Fingerprints:
    """The life cycle of rules.

    Args:
        config: policy, time and bound on collateral are taken from ``fingerprints``.
        record: takes each change of the record.
        throttle: for log lines that may come often.
    """

    def __init__(self, config: Config, record: Callable[[Changes], None], throttle: Throttle) -> None:
        self._config, self._observe = config.fingerprints, config.observe
        self._record = record
        self._throttle = throttle
        self._evidence = Evidence()
        self._memory = _Memory()
        self._next_upkeep_ms = 0

    def configure(self, config: Config) -> None:
        """Put another config in force. Rules that stand keep their policy."""
        self._config, self._observe = config.fingerprints, config.observe

    def restart(self) -> None:
        """Another wall is there."""
        self._memory = _Memory()

    def step(self, wall: Dataplane, samples: Iterable[Sample], now_ms: int, mono_ns: int) -> None:
        """One tick: take in what was sampled, look for rules where it is time, keep up those that stand.

        Raises:
            DataplaneError: the wall cannot be read or written.
        """
        mono_ms = mono_ns // 1_000_000
        fresh = self._evidence.take(samples, mono_ms)
        upkeep = mono_ms >= self._next_upkeep_ms
        busy = [lane for lane in Lane if self._is_due(lane, mono_ms)]
        if not (fresh or upkeep or busy):
            return
        held = wall.rules.entries()
        self._judge_by(fresh, held)
        if upkeep:
            self._next_upkeep_ms = mono_ms + UPKEEP_MS
            self._keep_up(wall, held, now_ms, mono_ms)
            held = wall.rules.entries()
        if self._config.policy == "off":
            for ident in [rule.rule.id for rule in held if wall.rules.remove(rule.rule.id)]:
                self._memory.watches.pop(ident, None)
                self._tell(
                    "rule_end", f"rule {ident} is withdrawn: fingerprints.policy is off", now_ms, ident
                )
            return
        for lane in busy:
            self._look(wall, lane, [h for h in held if h.rule.pattern.lane is lane], now_ms, mono_ms)

    # --- new rules ---

    def _is_due(self, lane: Lane, mono_ms: int) -> bool:
        if not self._evidence.is_stressed(lane, mono_ms):
            self._memory.paces.pop(lane, None)
            return False
        pace = self._memory.paces.setdefault(lane, _Pace())
        return mono_ms >= pace.next_ms and self._evidence.size(lane) >= FIRST_SUPPORT

    def _look(self, wall: Dataplane, lane: Lane, held: list[HeldRule], now_ms: int, mono_ms: int) -> None:
        attack, sources = self._evidence.attack(lane, [rule.rule.pattern for rule in held])
        support = NEXT_SUPPORT if held else FIRST_SUPPORT
        pace = self._memory.paces.setdefault(lane, _Pace())
        pace.next_ms = mono_ms + pace.pause_ms
        if len(attack) < support:
            return
        bounds = Bounds(collateral=self._config.collateral)
        found = search(attack, sources, self._evidence.good(lane), lane, bounds)
        made = [self._make(wall, finding, lane, now_ms, mono_ms) for finding in found]
        pace.pause_ms = PAUSE_MS if any(made) else min(LONGEST_PAUSE_MS, 2 * pace.pause_ms)
        pace.next_ms = mono_ms + pace.pause_ms

    def _make(self, wall: Dataplane, finding: Finding, lane: Lane, now_ms: int, mono_ms: int) -> bool:
        pattern = finding.terms.pattern(lane)
        if self._memory.blocked.get(pattern, 0) > mono_ms:
            return False
        rule = Rule(
            id=wall.rules.next_id(),
            pattern=pattern,
            observe=self._config.policy == "observe" or covers_rules_of(lane, self._observe),
            created_ms=now_ms,
            cover=finding.cover,
            collateral=finding.collateral,
            support=finding.support,
            good=finding.good,
        )
        try:
            wall.rules.put(rule, self._config.time_ms)
        except KernelError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._throttle.line(
                "rules full", f"no room for another rule in lane {lane.label}", logging.WARNING
            )
            return False
        self._memory.watches[rule.id] = _Watch()
        how = " (only observes)" if rule.observe else ""
        self._tell(
            "rule",
            f"rule {rule.id}{how}: {describe(pattern)}; it covers {finding.cover:.1%} of {finding.support} dropped"
            f" packets, and {finding.hits} of {finding.good} known-good ones",
            now_ms,
            rule.id,
        )
        return True

    # --- rules that stand ---

    def _judge_by(self, fresh: dict[Lane, list[bytes]], held: list[HeldRule]) -> None:
        for rule in held:
            packets = fresh.get(rule.rule.pattern.lane)
            if packets:
                watch = self._memory.watches.setdefault(rule.rule.id, _Watch(matched=rule.matched.packets))
                watch.good += len(packets)
                watch.hits += sum(rule.rule.pattern.matches(packet) for packet in packets)

    def _keep_up(self, wall: Dataplane, held: list[HeldRule], now_ms: int, mono_ms: int) -> None:
        standing = {rule.rule.id for rule in held}
        for ident in self._memory.watches.keys() - standing:
            del self._memory.watches[ident]
            self._tell("rule_end", f"rule {ident} lapsed: it matched no more", now_ms, ident)
        self._memory.blocked = {p: until for p, until in self._memory.blocked.items() if until > mono_ms}
        for rule in held:
            ident = rule.rule.id
            watch = self._memory.watches.setdefault(ident, _Watch(matched=rule.matched.packets))
            harm = _harm(rule, watch, self._config.collateral)
            if harm is not None and not rule.rule.observe:
                wall.rules.remove(ident)
                del self._memory.watches[ident]
                self._memory.blocked[rule.rule.pattern] = mono_ms + BLOCKED_MS
                self._tell("rule_end", f"rule {ident} is withdrawn: {harm}", now_ms, ident)
                continue
            watch.grew = rule.matched.packets - watch.matched
            watch.matched = rule.matched.packets
            if watch.grew >= STILL_MATCHES:
                wall.rules.prolong(ident, self._config.time_ms)

    def _tell(self, event: str, detail: str, now_ms: int, rule: int) -> None:
        self._throttle.line(event, detail, rule=rule)
        self._record(Changes(events=(Event(now_ms, event, None, "auto", detail),)))

    # --- for people ---

    def collateral(self, rule: HeldRule) -> tuple[float, int]:
        """The share of known-good packets that a rule matches, when it was made and since; and of how many."""
        watch = self._memory.watches.get(rule.rule.id, _Watch())
        good = rule.rule.good + watch.good
        hits = round(rule.rule.collateral * rule.rule.good) + watch.hits
        return (hits / good if good else 0.0), good

    @property
    def rates(self) -> dict[int, int]:
        """Packets per second that each rule matched, over the last second or so."""
        return {ident: watch.grew * 1_000 // UPKEEP_MS for ident, watch in self._memory.watches.items()}

    def removed(self, rule: Rule, mono_ns: int) -> None:
        """Somebody took the rule out of force: it did not lapse, and must not come back the next moment."""
        self._memory.watches.pop(rule.id, None)
        self._memory.blocked[rule.pattern] = mono_ns // 1_000_000 + BLOCKED_MS


def _harm(rule: HeldRule, watch: _Watch, bound: float) -> str | None:
    """Why a rule must go, None when it may stay."""
    if watch.hits >= HARM_HITS and watch.hits > bound * watch.good:
        return f"it matches {watch.hits} of {watch.good} known-good packets"
    proven, matched = rule.proven.packets, rule.matched.packets
    if proven >= HARM_PROVEN and proven > max(bound, HARM_SHARE) * matched:
        return f"{proven} of the {matched} packets that it matches have proof"
    return None
