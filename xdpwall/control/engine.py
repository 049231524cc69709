# SPDX-License-Identifier: Apache-2.0
"""The controller without its wires: one wall, the record of it, and what happens in a tick and in a second.

Synchronous and with its clock passed in, so that tests can live through an attack in no time. ``control.controller``
calls it from asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control import incident_setup, record, room, settings, syncookies
from xdpwall.control.comparison import Comparison
from xdpwall.control.database import Changes, Event
from xdpwall.control.desk import Desk
from xdpwall.control.fingerprints import Fingerprints
from xdpwall.control.health import Health
from xdpwall.control.keeper import Keeper
from xdpwall.control.lane_record import LaneRecord
from xdpwall.control.logs import Throttle
from xdpwall.control.observed import Observed
from xdpwall.control.past_record import PastRecord
from xdpwall.control.protector import Protector
from xdpwall.control.reconcile import Mended, Reconciler
from xdpwall.control.results import State
from xdpwall.control.sentinel import Sentinel
from xdpwall.control.sockets import SocketWatch
from xdpwall.control.store import Store
from xdpwall.control.switch import Switch
from xdpwall.control.traffic import Traffic
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.sockets import Survey
from xdpwall.errors import DataplaneError
from xdpwall.model import Prefix
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)

_ATTACK_SECONDS = 30
_ATTACK_PPS = 100
_CLOCK_STEP_MS = 1_000
_REPLACE_NS = 10_000_000_000
_PRUNE_NS = 3_600_000_000_000


class Engine:
    """Everything that decides.

    Args:
        config: the configuration in force.
        known: the record as read at start.
        store: where changes go.
        opener: opens the wall. Raises NotLoadedError while there is none.
        fingerprint: something that differs once the wall was loaded anew.
        clock: both clocks.
        look: reads this host's sockets, for the wall to know its open ports and flows; None: nobody tells it.
        paths: the instance, for what is kept of incidents beside the database; None keeps nothing there.
    """

    def __init__(
        self,
        config: Config,
        known: record.Record,
        store: Store,
        *,
        opener: Callable[[], Dataplane],
        fingerprint: Callable[[], Hashable],
        clock: Clock,
        look: Callable[[Config], Survey] | None = None,
        paths: Paths | None = None,
    ) -> None:
        self.config = config
        self.book = known.book
        self.guard = known.guard
        self.store = store
        self.clock = clock
        self.health = Health(clock)
        self.traffic = Traffic()
        self.throttle = Throttle(logging.getLogger("xdpwall"), incident=lambda: self.incidents.key)
        self.desk = Desk(None, self.book, self.guard, clock, config.bans.time_ms)
        self.sentinel = Sentinel(config, self.book, self.guard, self._record, self.throttle)
        self.fingerprints = Fingerprints(config, self._record, self.throttle)
        self.observed = Observed(clock, self.throttle)
        self._reconciler = Reconciler(self.book, self.guard, clock, self._record, blank=known.blank)
        self._comparison = Comparison(self._reconciler, clock, self.health, self.throttle)
        self.keeper = Keeper(
            self.desk,
            self.health,
            clock,
            record=self._record,
            opener=opener,
            fingerprint=fingerprint,
            fill=self._fill,
            lost=self._lost,
        )
        self.protector = Protector(
            config,
            known,
            clock,
            self.health,
            record=self._record,
            changed=self.sentinel.respare,
        )
        self.sockets = None if look is None else SocketWatch(look, clock, self.health)
        self.sentinel.spare_known(clock, self.health, self.sockets)
        past = PastRecord(store, clock, lambda: self.config, self.book, self.traffic, self.sentinel.knows)
        self.sentinel.watch = past.look
        self._lane_record = LaneRecord(store, clock, past)
        self.cookies = (
            None if paths is None else syncookies.build(config, clock, self.health, self._record, paths)
        )
        self.incidents = incident_setup.build(
            config,
            store,
            clock,
            self.book,
            self.guard,
            record=self._record,
            paths=paths,
            observed=self.observed,
        )
        self.switch = Switch(clock, self.health, record=self._record, resumed=self.incidents.restart)
        self._digest = config.dataplane_digest()
        self._offset_ms = self._clock_offset()
        self._next_replace_ns = self._next_prune_ns = self._tick_faults = 0
        self._aside_faults: dict[str, str] = {}
        self._strikes = known.strikes
        self._lapsed = known.lapsed

    @property
    def wall(self) -> Dataplane | None:
        """The wall, while there is one."""
        return self.desk.wall

    def start(self) -> Mended:
        """Open the wall, hold it to the record, take over what it knows.

        Raises:
            NotLoadedError: there is no wall.
            DataplaneError: it cannot be opened.
        """
        wall = self.keeper.open()
        wall.set_budgets(self.config.lanes, self.config.proof)
        self.sentinel.recall(self._strikes)
        if self._lapsed:
            self.commit(record.ended(self._lapsed))
        self._strikes = self._lapsed = ()
        mended = self._reconciler.start(wall)
        self._reconciler.tell(mended)
        self.protector.start(wall)
        if self.cookies is not None:
            self.cookies.start(wall)
        self.incidents.start(wall)
        self._comparison.put_off(self.config.tick.reconcile_ms * 1_000_000)
        event = Event(self.clock.wall_ms(), "start", None, "", mended.words())
        self.commit(Changes(events=(event,), settings=self._rules()))
        return mended

    def close(self, reason: str) -> None:
        """Write down that we stop, and let go of the wall. It stays up."""
        self._lane_record.close(self.wall)
        if self.cookies is not None:
            self.cookies.close(self.wall)
        self.incidents.close()
        self.commit(Changes(events=(Event(self.clock.wall_ms(), "stop", None, "", reason),)))
        self.keeper.close()

    def commit(self, changes: Changes) -> Future[object]:
        """The record changed: tell detection, and write it down. The future is for who must wait for the disk."""
        self.sentinel.took(changes)
        self.incidents.took(changes)
        if changes.allowed or changes.disallowed:
            self.sentinel.respare()
        return self.store.submit(changes)

    def _record(self, changes: Changes) -> None:
        self.commit(changes)

    # --- in each tick ---

    def tick(self) -> None:
        """Look, decide, ban. Never raises for what the kernel or the disk does."""
        now_ms, mono_ns = self.clock.wall_ms(), self.clock.mono_ns()
        self._follow_clock()
        lapsed = self.book.take_lapsed(now_ms)
        if lapsed:
            self.commit(record.ended(lapsed))
            self.throttle.line(
                "expire", f"{len(lapsed)} bans lapsed, for example {lapsed[0].prefix}", logging.DEBUG
            )
        wall = self.wall
        if wall is None:
            return
        try:
            self.traffic.update(wall.verdicts(), mono_ns, wall.observed())
            if self.cookies is not None:
                self.cookies.step(wall, self.traffic.counts)
            self.sentinel.step(wall, self.traffic, now_ms, mono_ns)
            samples = wall.samples()
            self.fingerprints.step(wall, samples, now_ms, mono_ns)
            self.observed.step(wall, samples)
            if self.switch.state is None:
                self._aside("tick", lambda: self.incidents.tick(wall, samples))
            if self.sockets is not None:
                self.sockets.step(wall, self.config)
            self.health.clear("tick")
            self._tick_faults = 0
        except DataplaneError as error:
            self._tick_faults += 1
            self.health.set("tick", f"the wall cannot be read or written: {error.message}")
            self.throttle.line("tick", error.message, logging.ERROR)
            if self._tick_faults >= 3:
                self.keeper.distrust()
        self._comparison.step(wall, self.config.tick.reconcile_ms * 1_000_000)

    def _follow_clock(self) -> None:
        """The machine's clock was set: bans last as long as was said, so their ends move with it."""
        offset = self._clock_offset()
        step = offset - self._offset_ms
        if abs(step) < _CLOCK_STEP_MS:
            return
        self._offset_ms = offset
        log.warning(
            "the clock was set, or the machine slept: the ends of bans move by %+d s", round(step / 1000)
        )
        self.book.shift(step)
        self.protector.shift(step)
        self._replace_all()

    def _clock_offset(self) -> int:
        return self.clock.wall_ms() - self.clock.mono_ns() // 1_000_000

    # --- once a second ---

    def second(self) -> None:
        """What need not be done in every tick: the wall's health, the disk's, ours."""
        self.switch.look(self.wall)
        self.keeper.look(self.config.interfaces)
        self.protector.second(self.wall)
        self._check_store()
        self._check_room()
        if self.cookies is not None:
            self.cookies.second(self.wall)
        if self.switch.state is None:  # else nothing is counted: no quiet to learn from, no end of an attack
            self._record_lanes()
            self._follow_incident()
        self.throttle.second()

    def _follow_incident(self) -> None:
        try:
            self._aside("second", lambda: self.incidents.second(self.wall))
        except DataplaneError as error:
            self.throttle.line("incident", f"the wall cannot be read: {error.message}", logging.ERROR)
        fault = self.incidents.notifier.last_error
        self.health.put("notices", None if fault is None else f"messages are not delivered: {fault}")

    def _aside(self, what: str, step: Callable[[], None]) -> None:
        """Whoever keeps the record of an attack must never stop those who fend it off."""
        try:
            step()
        except DataplaneError:
            raise
        except Exception as error:
            if self._aside_faults.get(what) != repr(error):
                self._aside_faults[what] = repr(error)
                log.exception("the record of incidents met a bug; please report it")
            self.health.set("incidents", f"the record of incidents met a bug: {error!r}")

    def _record_lanes(self) -> None:
        if self.wall is None:
            return
        try:
            self._lane_record.second(self.wall, attack=self._under_attack())
        except DataplaneError as error:
            self.throttle.line("lanes", f"the lanes cannot be read: {error.message}", logging.ERROR)

    def _fill(self, wall: Dataplane) -> None:
        """A fresh wall holds nothing: what is allowed and banned must not wait for its turn."""
        try:
            self._reconciler.allowlist(wall, Mended())
            if len(wall.bans) < len(self.book):
                self._reconciler.refill(wall, Mended())
        except DataplaneError as error:
            log.error("the wall cannot be filled: %s", error.message)

    def _lost(self) -> None:
        self._comparison.drop()
        self._lane_record.restart()
        self.incidents.restart()
        self.traffic.reset()
        self.sentinel.restart()
        self.fingerprints.restart()

    def _check_store(self) -> None:
        now = self.clock.mono_ns()
        if self.store.lost and now >= self._next_replace_ns:
            self._next_replace_ns = now + _REPLACE_NS
            self._replace_all()
        error = self.store.last_error
        if error is None:
            self.health.clear("store")
        else:
            self.health.set(
                "store", f"{error} ({self.store.errors} failed writes); bans are enforced all the same"
            )
        if now >= self._next_prune_ns:
            self._next_prune_ns = now + _PRUNE_NS
            today = self.clock.wall_ms()
            self.incidents.prune()
            self.store.read(
                lambda database: database.prune(
                    history_before_ms=today - self.config.control.history_ms,
                    strikes_before_ms=today - self.config.bans.forget_ms,
                )
            )

    def _replace_all(self) -> None:
        entries = tuple(entry for _, entry in self.guard.allow.items() if entry.origin != "config")
        self.store.replace_all(Changes(clear=True, clear_allow=True, bans=self.book.bans(), allowed=entries))

    def _check_room(self) -> None:
        waiting, per_minute = self.sentinel.waiting, self.config.bans.per_minute
        info, digest = self.keeper.info, self._digest
        room.look(self.health, info, self.book, waiting=waiting, per_minute=per_minute, digest=digest)

    # --- what happens outside ---

    def set_addresses(self, own: Iterable[Prefix], gateways: Iterable[str]) -> None:
        """This host's addresses or routes changed."""
        addresses = frozenset(own)
        self.protector.set_addresses(addresses, gateways, self.wall)
        self.keeper.set_own_addresses(addresses)

    def configure(self, config: Config) -> tuple[list[str], list[str]]:
        """Put another config in force. Gives the keys that changed, and those of them that need a new load."""
        changed, needs_load = settings.differences(self.config, config)
        self.config, self._digest = config, config.dataplane_digest()
        self.desk.ban_time_ms = config.bans.time_ms
        if self.cookies is not None:
            self.cookies.configure(config)
        self.guard.min_prefix_v4 = config.bans.min_prefix_v4
        self.guard.min_prefix_v6 = config.bans.min_prefix_v6
        now = self.clock.wall_ms()
        record.set_config_allow(self.guard, config.allow.prefixes, now)
        self.protector.configure(config, self.wall)
        self.sentinel.configure(config)
        self.fingerprints.configure(config)
        self.incidents.configure(config)
        self.sentinel.respare()
        if self.wall is not None:
            try:
                self._reconciler.allowlist(self.wall, Mended())
                self.wall.set_budgets(config.lanes, config.proof)
            except DataplaneError as error:
                log.error("the allowlist and budgets: %s", error.message)
        if self.sockets is not None:
            self.sockets.hurry()
        event = Event(now, "reload", None, "operator", ", ".join(changed))
        self.commit(Changes(events=(event,), settings=self._rules()))
        return changed, needs_load

    def _rules(self) -> tuple[tuple[str, str], ...]:
        return ((record.RULES, settings.rules(self.config).text()),)

    # --- how things are ---

    @property
    def state(self) -> State:
        """In one word; an attack is told before anything else."""
        if self.switch.state is not None:
            return "OFF"
        if self._under_attack():
            return "UNDER_ATTACK"
        if self.health.problems:
            return "DEGRADED"
        if self.keeper.info is not None and self.keeper.info.policy == "observe":
            return "OBSERVE"
        return "QUIET"

    def _under_attack(self) -> bool:
        if self.config.incident.enabled:
            return self.incidents.is_on(_ATTACK_SECONDS)
        last = self.sentinel.last_detection_ns
        if last is not None and self.clock.mono_ns() - last < _ATTACK_SECONDS * 1_000_000_000:
            return True
        return self.traffic.banned_pps() >= max(_ATTACK_PPS, self.sentinel.smallest_limit())
