# SPDX-License-Identifier: Apache-2.0
"""Stands up for those whom this host talks to, when somebody floods it in their name.

Detection's findings go through here on their way to bans. Who is known (``detection.innocence``) is not banned for what
may be forged. Meanwhile his handshake does not count beyond the budgets, so what is not of his own flows competes like
a stranger's. Prefix bans are cut around such sources, or held back where there are many.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from xdpwall.clock import Clock
from xdpwall.control.database import Changes, Event
from xdpwall.control.health import Health
from xdpwall.control.logs import Throttle
from xdpwall.dataplane.interface import Dataplane, Flow
from xdpwall.dataplane.keys import source_key, source_prefix
from xdpwall.dataplane.tcp_sockets import MOST_PEERS, Connection, connections
from xdpwall.detection.blast import BlastRadius
from xdpwall.detection.detector import Detector
from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.innocence import Innocence, Own
from xdpwall.detection.keys import Keys, Mask, prefix_keys, source_of
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.rates import Rates
from xdpwall.errors import KernelError
from xdpwall.model import Prefix

if TYPE_CHECKING:
    from xdpwall.config import Config

REVIEW_NS = 1_000_000_000
MOST_HOLES = 8
"""A prefix with more known sources in it is not banned as a whole: it is somebody's customers."""
_NAMED = 3
_TELL_NS = 10_000_000_000
_WHY = "it has flows with this host, and what is over its limit may be forged: only its excess is dropped"
Read = Callable[[list[Prefix]], "Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What connections took in so far, and of which sources that was asked."""

    asked: frozenset[int]
    segments: Mapping[Flow, int]


class Innocents:
    """Between detection and bans.

    Args:
        clock: both clocks.
        health: told who is held back.
        record: takes lines of history.
        throttle: for log lines.
        peers: source keys of those with a connection or socket of this host, in order of their prefix's key.
        spared: what is never banned anyway.
        read: counts what connections took in.
        submit: runs that in a thread.
    """

    def __init__(
        self,
        clock: Clock,
        health: Health,
        record: Callable[[Changes], object],
        throttle: Throttle,
        *,
        peers: Callable[[], Keys],
        spared: PrefixSet,
        read: Read | None = None,
        submit: Callable[[Callable[[], Reading]], Future[Reading]] | None = None,
    ) -> None:
        self._clock = clock
        self._health = health
        self._record = record
        self._throttle = throttle
        self._peers = peers
        self._spared = spared
        self._read = read or read_connections
        self._submit = submit or _in_thread
        self._innocence = Innocence()
        self.blast = BlastRadius()
        """How many of those whom this host talks to may be banned."""
        self._radius_told = False
        self._running: Future[Reading] | None = None
        self._before: Reading | None = None
        self._next_ns = 0
        self._told = (0, 0)

    @property
    def held(self) -> int:
        """Sources that are over a limit and not banned, because they are known."""
        return len(self._innocence)

    @property
    def spared(self) -> int:
        """Findings that were held back since start."""
        return self._innocence.spared

    def configure(self, config: Config) -> None:
        """Put another config in force: how long a source stays known after its last flow, how many may be banned."""
        self._innocence.lapse_ns = config.proof.source_ms * 1_000_000
        self.blast.percent = config.bans.known_percent

    def screen(
        self, wall: Dataplane, findings: list[Finding], rates: Rates | None, detector: Detector
    ) -> list[Finding]:
        """In each tick: what may be acted on, of what was found, and of what was held back before.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        known = functools.partial(self._known, wall)
        now_ns = self._clock.mono_ns()
        sources = [finding for finding in findings if finding.scope is Scope.SOURCE]
        free, held = self._innocence.screen(sources, known, now_ns)
        for finding in held:
            self._hold(finding.prefix, _WHY)
        for finding in (found for found in findings if found.scope is Scope.PREFIX):
            free += self._around(wall, finding)
        if rates is not None:
            self._innocence.count(rates)
        if self._running is None and len(self._innocence) and now_ns >= self._next_ns:
            self._next_ns = now_ns + REVIEW_NS
            suspects = [source_of(finding.key) for finding in self._innocence.suspects(MOST_PEERS)]
            self._running = self._submit(functools.partial(self._read, suspects))
        if self._running is not None and self._running.done():
            free += self._review(wall, known, detector, now_ns)
        return free

    def knows(self, wall: Dataplane, keys: Keys) -> Mask:
        """Which sources this host talks to, also those whose handshake does not count just now."""
        return self._known(wall, keys) | np.isin(keys, self._innocence.keys)

    def parts(self, wall: Dataplane, prefix: Prefix) -> list[Prefix] | None:
        """What of a prefix may be banned: all, or what is left around those who must not be; None: leave it alone."""
        holes = self._holes(wall, prefix)
        if holes is None:
            return None
        parts = [prefix]
        for hole in holes:
            parts = [rest for part in parts for rest in part.without(hole)]
        return parts

    def _around(self, wall: Dataplane, finding: Finding) -> list[Finding]:
        parts = self.parts(wall, finding.prefix)
        if parts is None:
            self._innocence.spared += 1
            self._hold(
                finding.prefix,
                f"more than {MOST_HOLES} sources in it have flows with this host, or are protected",
            )
            return []
        if parts != [finding.prefix]:
            self._throttle.line(
                "cut",
                f"the ban on {finding.prefix} is cut around those who are protected or have flows",
                source=finding.prefix,
            )
        return [replace(finding, prefix=part) for part in parts]

    def _holes(self, wall: Dataplane, prefix: Prefix) -> list[Prefix] | None:
        """Sources in a prefix that must not be banned; None when there are too many."""
        holes = {_source(member) for member in self._spared.inside(prefix)}
        if prefix.version == 4 and prefix.length >= 24:  # all of its sources can be asked for
            first = int.from_bytes(prefix.packed, "big")
            every = [Prefix((first + n).to_bytes(4, "big"), 32) for n in range(1 << 32 - prefix.length)]
            keys = np.array([source_key(source) for source in every], np.uint64)
            holes |= {every[place] for place in np.flatnonzero(self._known(wall, keys)).tolist()}
        else:
            holes |= {source_prefix(key) for key in self._peers_in(prefix).tolist()}
        return None if len(holes) > MOST_HOLES else sorted(holes)

    def _peers_in(self, prefix: Prefix) -> Keys:
        peers = self._peers()
        if (prefix.version, prefix.length) not in ((4, 24), (6, 48)):
            return np.array([k for k in peers.tolist() if prefix.contains(source_prefix(k))], np.uint64)
        above = prefix_keys(peers)
        wanted = prefix_keys(
            np.array([source_key(Prefix(prefix.packed, 32 if prefix.version == 4 else 64))], np.uint64)
        )
        low, high = above.searchsorted(wanted[0]), above.searchsorted(wanted[0], side="right")
        return peers[low:high]

    def _known(self, wall: Dataplane, keys: Keys) -> Mask:
        return np.asarray(wall.proven(keys), np.bool_) | np.isin(keys, self._peers())

    def _review(
        self, wall: Dataplane, known: Callable[[Keys], Mask], detector: Detector, now_ns: int
    ) -> list[Finding]:
        own = self._own()
        known_now = len(self._peers())
        room = self.blast.room(known_now, now_ns)
        review = self._innocence.review(detector.over, known, own, now_ns, room=room)
        self.blast.took(len(review.guilty), now_ns)
        self._tell_radius(review.too_many, known_now)
        if review.unknown:
            detector.release(review.unknown)
        for finding in review.guilty:
            self._throttle.line(
                "guilty",
                f"{finding.prefix} is banned though it has flows: its own connections carry what is over its limit",
                source=finding.prefix,
            )
        if len(self._innocence):
            wall.bar(self._innocence.keys.tolist())
        self._tell(now_ns)
        return review.guilty

    def _tell_radius(self, too_many: list[Finding], known: int) -> None:
        """Once for each time that it is reached: it goes into the history, and into an open incident's actions."""
        text = (
            f"{len(too_many)} sources that this host talks to ({too_many[0].prefix}, ...) would be banned, beyond"
            f" bans.known_percent ({self.blast.percent} % of {known} in an hour): only their excess is dropped;"
            " `xdpwall ban add` bans them"
            if too_many
            else None
        )
        if text and not self._radius_told:
            self._record(Changes(events=(Event(self._clock.wall_ms(), "spared", None, "auto", text),)))
        self._radius_told = bool(text)
        self._health.put("innocents radius", text)

    def _tell(self, now_ns: int) -> None:
        held = self._innocence.findings
        names = ", ".join(str(finding.prefix) for finding in held[:_NAMED]) + (
            ", ..." if len(held) > _NAMED else ""
        )
        text = (
            f"{len(held)} sources over a limit are not banned ({names}): they have flows with this host, "
            "and what is over may be forged; only their excess is dropped"
        )
        self._health.put("innocents", text if held else None)
        count, at_ns = self._told
        if len(held) > count and now_ns - at_ns >= _TELL_NS:
            self._told = (len(held), now_ns)
            self._record(Changes(events=(Event(self._clock.wall_ms(), "spared", None, "auto", text),)))
        elif not held:
            self._told = (0, at_ns)

    def _hold(self, prefix: Prefix, why: str) -> None:
        self._throttle.line("held back", f"{prefix} is not banned: {why}", source=prefix)
        self._record(Changes(events=(Event(self._clock.wall_ms(), "held_back", prefix, "auto", why),)))

    # --- what their own connections carry ---

    def _own(self) -> dict[int, Own]:
        """Since the reading before, of those who were asked for both times."""
        done, self._running = self._running, None
        try:
            now = Reading(frozenset(), {}) if done is None else done.result()
        except KernelError as error:
            self._throttle.line("connections", f"{error.message}: nobody known is banned meanwhile")
            self._before = None
            return {}
        before, self._before = self._before, now
        if before is None:
            return {}
        own = {key: [0, 0] for key in now.asked & before.asked}
        for flow, segments in now.segments.items():
            entry = own.get(source_key(_source(Prefix(flow.peer, len(flow.peer) * 8))))
            if entry is not None:
                entry[0] += max(0, segments - before.segments.get(flow, 0))
                entry[1] += 1
        return {key: Own(packets, count) for key, (packets, count) in own.items()}


def read_connections(sources: list[Prefix]) -> Reading:
    """What the connections with these sources took in, asked of the kernel.

    Raises:
        KernelError: it does not tell.
    """
    found: Iterable[Connection] = connections(counted=True, peers=sources) if sources else ()
    segments = {connection.flow: connection.segments for connection in found}
    return Reading(frozenset(source_key(source) for source in sources), segments)


def _source(prefix: Prefix) -> Prefix:
    """The source that an address belongs to; a wider prefix is itself."""
    width = 32 if prefix.version == 4 else 64
    return Prefix.covering(prefix.packed, width) if prefix.length > width else prefix


def _in_thread(work: Callable[[], Reading]) -> Future[Reading]:
    """Run it in a thread that dies with the process."""
    future: Future[Reading] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (handed to whoever takes the result)
            future.set_exception(error)

    Thread(target=run, name="innocents", daemon=True).start()
    return future
