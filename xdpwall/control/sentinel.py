# SPDX-License-Identifier: Apache-2.0
"""Joins detection to the record: looks at the meters, decides, bans, and folds many bans into one.

At rest it does next to nothing: while the whole wall lets through less than the smallest limit of a single source, no
source can be over its limit, and the meters are not copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.database import Changes, Event, Strike
from xdpwall.control.desk import describe, write_bans
from xdpwall.control.guard import Guard
from xdpwall.control.health import Health
from xdpwall.control.innocents import Innocents
from xdpwall.control.logs import Throttle
from xdpwall.control.sockets import SocketWatch
from xdpwall.control.traffic import Traffic
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.keys import source_prefix
from xdpwall.detection.banning import BanPolicy, BanRules, Decision, Refusal
from xdpwall.detection.collapse import Collapse, collapse
from xdpwall.detection.detector import Detection, Detector
from xdpwall.detection.finding import Finding
from xdpwall.detection.keys import Keys, KeySet, Mask, keys_of, no_keys
from xdpwall.detection.limits import Limits
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.rates import Rates
from xdpwall.model import Ban, Origin, Prefix

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.config_sections import PrefixLimits, SourceLimits

log = logging.getLogger(__name__)

BASELINE_NS = 2_000_000_000
"""At rest the meters are copied this often, and only when packets came: so that the first tick of an attack is not
measured against counters of long ago."""
_OURS = (Origin.AUTO, Origin.KERNEL)


class Sentinel:
    """Detection with its memory.

    Args:
        config: limits and ban rules.
        book: intended bans. ``guard``: what must not be banned.
        record: takes every change of the record; the caller hands it back through :meth:`took`.
        throttle: for log lines that come by the thousand.
    """

    def __init__(
        self, config: Config, book: Book, guard: Guard, record: Callable[[Changes], None], throttle: Throttle
    ) -> None:
        self._config = config
        self._book = book
        self._guard = guard
        self._record = record
        self._throttle = throttle
        self._banned = PrefixSet()
        self._spared = PrefixSet(guard.spared())
        self._automatic = KeySet()
        self._detector = Detector(*limits(config), banned=self._banned, spared=self._spared)
        self._policy = BanPolicy(rules(config), spared=self._spared)
        self._last_look_ns = 0
        self._last_packets = -1
        self._waiting = 0
        self._look_again = False
        self.watch: Callable[[Detection], None] = lambda _: None
        """Is handed each look at the meters, with what was found."""
        self.innocents: Innocents | None = None
        """Stands up for known sources; None: nobody is known. See :meth:`spare_known`."""
        self.detections = 0
        """Findings since start."""
        self.last_detection_ns: int | None = None
        """When the last one was made."""
        self.full = 0
        """Bans of the last tick that the kernel did not take."""
        self.write_errors = 0
        """The same, since start."""

    def recall(self, strikes: Iterable[Strike]) -> None:
        """At start: take over the book, and the strikes of bans that are over."""
        bans = list(self._book.bans())
        self._banned.add(ban.prefix for ban in bans)
        self._automatic.add(
            keys_of(ban.prefix for ban in bans if ban.prefix.is_source and ban.origin in _OURS)
        )
        self._policy.recall(bans)
        self._policy.recall(
            Ban(strike.prefix, strike.last_ms, strike.last_ms, strikes=strike.strikes) for strike in strikes
        )

    def spare_known(self, clock: Clock, health: Health, sockets: SocketWatch | None) -> None:
        """From now on sources that this host talks to are not banned for what may be forged.

        Args:
            clock: both clocks.
            health: told who is held back.
            sockets: knows who has a connection with this host; None: nobody has.
        """
        self.innocents = Innocents(
            clock,
            health,
            self._record,
            self._throttle,
            peers=lambda: no_keys() if sockets is None else sockets.peers,
            spared=self._spared,
        )
        self.innocents.configure(self._config)

    def knows(self, wall: Dataplane, keys: Keys) -> Mask:
        """Which of these sources this host talks to.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        if self.innocents is not None:
            return self.innocents.knows(wall, keys)
        return np.asarray(wall.proven(keys), np.bool_)

    def configure(self, config: Config) -> None:
        """Put another config in force."""
        self._config = config
        if self.innocents is not None:
            self.innocents.configure(config)
        self._detector.set_limits(*limits(config))
        self._policy.set_rules(rules(config))

    def took(self, changes: Changes) -> None:
        """The record changed: keep the sets of detection in step with it."""
        if changes.clear:
            for prefix in (banned := list(self._banned)):
                self._policy.pardon(prefix)
            self._banned.remove(banned)
            self._automatic = KeySet()
        if changes.lifted:
            self._banned.remove(changes.lifted)
            self._automatic.remove(keys_of(prefix for prefix in changes.lifted if prefix.is_source))
        for prefix in changes.forgiven:
            self._policy.pardon(prefix)
        bans = tuple(changes.bans)
        if bans:
            self._banned.add(ban.prefix for ban in bans)
            sources = [ban for ban in bans if ban.prefix.is_source]
            self._automatic.add(keys_of(ban.prefix for ban in sources if ban.origin in _OURS))
            self._automatic.remove(keys_of(ban.prefix for ban in sources if ban.origin not in _OURS))

    def respare(self) -> None:
        """The guard changed: what is spared is made anew. It is short."""
        self._spared.remove(list(self._spared))
        self._spared.add(self._guard.spared())

    def restart(self) -> None:
        """Another wall is there: its counters begin at zero."""
        self._last_packets = -1

    def step(self, wall: Dataplane, traffic: Traffic, now_ms: int, mono_ns: int) -> None:
        """One tick: look if it can matter, then ban whom detection found, and those who waited for their turn."""
        findings: list[Finding] = []
        rates: Rates | None = None
        if self._config.meters.enabled and self._should_look(traffic, mono_ns):
            self._last_look_ns, self._last_packets = mono_ns, traffic.packets
            detection = self._detector.observe(wall.sources(), wall.prefixes())
            self.watch(detection)
            findings, rates = detection.findings, detection.sources
            if findings:
                self.detections += len(findings)
                self.last_detection_ns = mono_ns
        if self.innocents is not None:
            findings = self.innocents.screen(wall, findings, rates, self._detector)
        if not findings and not self._waiting:
            return
        decisions = self._policy.decide(findings, now_ms)
        self._waiting = decisions.held
        if decisions.given_up:
            self._detector.release(decisions.given_up)
        for refusal in decisions.refused:
            self._hold_back(refusal, now_ms)
        self._ban(wall, decisions.bans, now_ms)

    @property
    def waiting(self) -> int:
        """Findings that wait because of the cap on bans a minute."""
        return self._waiting

    def smallest_limit(self) -> int:
        """The lowest limit in packets per second that is in force; 0 when there is none."""
        return _smallest(self._config)[0]

    def _should_look(self, traffic: Traffic, mono_ns: int) -> bool:
        if (
            self._look_again
        ):  # once with the new bans: only then detection forgets them, for when they are lifted
            self._look_again = False
            return True
        held = self.innocents.held if self.innocents is not None else 0
        if traffic.packets == self._last_packets and not held:
            return False  # but those who are held back are let go once they were calm: that must be seen
        packets, bits = traffic.last_tick()
        least_packets, least_bits = _smallest(self._config)
        if (least_packets and packets >= least_packets) or (least_bits and bits >= least_bits):
            return True
        return mono_ns - self._last_look_ns >= BASELINE_NS

    def _ban(self, wall: Dataplane, decisions: list[Decision], now_ms: int) -> None:
        bans = [self._prolonged(decision.ban(now_ms)) for decision in decisions]
        faults = write_bans(wall, bans, now_ms)
        self.full = len(faults)
        self.write_errors += len(faults)
        if faults:
            self._detector.release(
                [d.finding for d in decisions if d.prefix in faults and d.finding is not None]
            )
            self._throttle.line(
                "full", f"{next(iter(faults.values())).message}: no room for a ban", logging.ERROR
            )
            bans = [ban for ban in bans if ban.prefix not in faults]
        if not bans:
            return
        self._enter(bans, "ban", now_ms)
        self._look_again = True
        self._collapse(wall, [ban.prefix for ban in bans if ban.prefix.is_source], now_ms)

    def _enter(self, bans: list[Ban], event: str, now_ms: int, lifted: tuple[Prefix, ...] = ()) -> None:
        for prefix in lifted:
            self._book.remove(prefix)
            self._policy.ban_ended(prefix, now_ms)
        for ban in bans:
            self._book.put(ban)
            self._throttle.line(
                "ban", f"banned {ban.prefix}: {describe(ban)}", source=ban.prefix, reason=ban.reason
            )
        events = tuple(Event(now_ms, event, ban.prefix, ban.origin.value, describe(ban)) for ban in bans)
        self._record(Changes(lifted=lifted, bans=tuple(bans), events=events))

    def _prolonged(self, ban: Ban) -> Ban:
        """A new automatic ban never shortens one that stands."""
        stands = self._book.get(ban.prefix)
        if stands is None or stands.is_over(ban.created_ms) or ban.expires_ms is None:
            return ban
        if stands.expires_ms is None or stands.expires_ms > ban.expires_ms:
            return Ban(ban.prefix, ban.created_ms, stands.expires_ms, ban.reason, stands.origin, ban.strikes)
        return ban

    def _collapse(self, wall: Dataplane, fresh: list[Prefix], now_ms: int) -> None:
        threshold = self._config.bans.collapse_sources
        if not threshold or not fresh:
            return
        plan = collapse(
            self._automatic.array,
            threshold,
            standing=self._banned,
            spared=self._spared,
            only=keys_of(fresh),
        )
        for found in (*plan.collapses, *plan.held_back):
            parts = self._parts(wall, found.prefix)
            if parts is None:
                self._throttle.line(
                    "held back",
                    f"{found.prefix} is not banned as a whole: those in it are protected, or have flows",
                    source=found.prefix,
                )
            for part in parts or ():
                inside = [key for key in found.sources.tolist() if part.contains(source_prefix(key))]
                self._fold(wall, Collapse(part, np.array(inside, np.uint64)), len(found.sources), now_ms)

    def _parts(self, wall: Dataplane, prefix: Prefix) -> list[Prefix] | None:
        """What of a prefix may be banned; None: it is left alone."""
        if self.innocents is not None:
            return self.innocents.parts(wall, prefix)
        return None if self._spared.overlaps(prefix) else [prefix]

    def _fold(self, wall: Dataplane, found: Collapse, of: int, now_ms: int) -> None:
        """Ban a prefix in place of its sources; ``of`` is how many there are in the whole that it may be a part of."""
        sources = tuple(source_prefix(int(key)) for key in found.sources)
        decision = self._policy.decide_prefix(found.prefix, Collapse.words(of), now_ms)
        if isinstance(decision, Refusal):
            self._hold_back(decision, now_ms)
            return
        ban = decision.ban(now_ms)
        ends = [stands.expires_ms for stands in map(self._book.get, sources) if stands is not None]
        if ban.expires_ms is not None and ends:  # nobody gets off earlier than before
            last = None if None in ends else max(end for end in ends if end is not None)
            longer = last if last is None else max(last, ban.expires_ms)
            ban = Ban(ban.prefix, ban.created_ms, longer, ban.reason, ban.origin, ban.strikes)
        if write_bans(wall, [ban], now_ms):
            return  # no room: the single bans stand, and the next one of this prefix tries again
        wall.bans.remove_many(sources)
        self._enter([ban], "collapse", now_ms, lifted=sources)

    def _hold_back(self, refusal: Refusal, now_ms: int) -> None:
        self._throttle.line(
            "held back", f"{refusal.prefix} is not banned: {refusal.why}", source=refusal.prefix
        )
        self._record(Changes(events=(Event(now_ms, "held_back", refusal.prefix, "auto", refusal.why),)))


def limits(config: Config) -> tuple[Limits, Limits]:
    """The limits of sources and prefixes as detection wants them."""
    return _limits(config.limits.source), _limits(config.limits.prefix)


def rules(config: Config) -> BanRules:
    """The rules of bans as detection wants them."""
    bans = config.bans
    return BanRules(
        time_ms=bans.time_ms,
        growth=bans.growth,
        time_max_ms=bans.time_max_ms,
        forget_ms=bans.forget_ms,
        per_minute=bans.per_minute,
        min_prefix_v4=bans.min_prefix_v4,
        min_prefix_v6=bans.min_prefix_v6,
    )


def _limits(section: SourceLimits | PrefixLimits) -> Limits:
    return Limits(
        pps=section.pps,
        bps=section.bps,
        syn=section.syn,
        udp=section.udp,
        icmp=section.icmp,
        burst_s=section.burst_ms / 1000,
    )


def _smallest(config: Config) -> tuple[int, int]:
    scopes = (config.limits.source, config.limits.prefix)
    packets = [limit for s in scopes for limit in (s.pps, s.syn, s.udp, s.icmp) if limit]
    bits = [s.bps for s in scopes if s.bps]
    return min(packets, default=0), min(bits, default=0)
