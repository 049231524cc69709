# SPDX-License-Identifier: Apache-2.0
"""The incidents of one wall: opens, follows and closes them, and keeps their records on disk.

Each tick looks whether a threshold is passed; each second the account of the open incident is taken further and its
record written. Nothing in here waits: the disk, origins and messages have threads of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control import incident_tables as tables
from xdpwall.control.database import Changes
from xdpwall.control.incident_archive import Archive
from xdpwall.control.incident_bans import BanTally
from xdpwall.control.incident_evidence import Evidence
from xdpwall.control.incident_herald import Herald
from xdpwall.control.incident_rules import diversion_rules, life_rules, threshold_rules
from xdpwall.control.incident_watch import Watchman
from xdpwall.control.notices import Notifier
from xdpwall.control.observed import Observed, enforced
from xdpwall.dataplane.interface import Dataplane
from xdpwall.incident.account import Account, Second, fresh
from xdpwall.incident.lifecycle import Lifecycle, Turn
from xdpwall.incident.model import Incident, Saturation
from xdpwall.incident.normal import Normal
from xdpwall.incident.onset import Onset, onset, rewind
from xdpwall.incident.plain import from_plain
from xdpwall.incident.reading import Rates, Reading
from xdpwall.incident.saturation import merged
from xdpwall.incident.thresholds import Measure, measures, names, worst
from xdpwall.incident.words import crossed
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.config import Config

_PREROLL_SECONDS = 30
_LOOK_SECONDS, _EARLY_SECONDS, _LATE_SECONDS = 3, 30, 12
"""Sources are summed up and looked up so often, and after so long less often: it takes a tenth of a second or more."""
_LEARNED_EVERY = 300


class Incidents:
    """The life of incidents.

    Args:
        config: the configuration in force.
        clock: both clocks.
        archive: where records go.
        evidence: sources, samples, users: what is gathered beside the counters.
        watchman: what hides under the flood.
        herald: tells of it.
        observed: what only observes, and would have dropped.
        record: takes changes of settings.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        archive: Archive,
        evidence: Evidence,
        watchman: Watchman,
        herald: Herald,
        observed: Observed,
        record: Callable[[Changes], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._archive = archive
        self._evidence = evidence
        self._watchman = watchman
        self._herald = herald
        self._record = record
        self._rules = threshold_rules(config)
        self._life = Lifecycle(life_rules(config))
        self._normal = Normal(config.incident.learn_ms)
        self._ticks: deque[Reading] = deque(maxlen=100)
        self._seconds: deque[Reading] = deque(maxlen=_PREROLL_SECONDS + 1)
        self._over_since: Reading | None = None
        self._found: list[Measure] = []
        self._account: Account | None = None
        self._observed = observed
        self.begun = 0  # incidents since start
        self._bans = BanTally(clock)
        self._elapsed = 0
        self._quiet = True

    # --- start and stop ---

    def start(self, wall: Dataplane | None) -> None:
        """Read what is on record; take over an incident that was open."""
        found = self._archive.start()
        if found.learned is not None:
            self._normal.recall(found.learned["normal"])
            self._watchman.trust(found.learned["trusted"])
        self._evidence.start()
        if found.last is not None and self._config.incident.enabled:
            self._take_over(found.last, wall)

    def close(self) -> None:
        """The controller stops: write down how it stands, and let go."""
        if self._account is not None:
            self._write(self._account)
        self._learned()
        self._evidence.stop()
        self._herald.notifier.close()

    def configure(self, config: Config) -> None:
        """Put another config in force."""
        self._config = config
        self._rules = threshold_rules(config)
        self._life.rules = life_rules(config)
        self._normal.learn_ms = config.incident.learn_ms
        self._watchman.configure(diversion_rules(config))
        self._evidence.configure(config)
        self._herald.notifier.configure(config.notify)

    def restart(self) -> None:
        """Another wall is there: its counters begin anew. What was counted stays counted."""
        self._ticks.clear()
        self._seconds.clear()
        self._over_since = None

    # --- how it stands ---

    @property
    def open(self) -> bool:
        """Whether an incident is open."""
        return self._life.open

    def is_on(self, seconds: int) -> bool:
        """Whether an attack is on: an incident is open, and a threshold was passed within so many seconds."""
        return self._life.open and self._clock.mono_ns() - self._life.last_over_ns < seconds * 1_000_000_000

    @property
    def notifier(self) -> Notifier:
        """Sends messages."""
        return self._herald.notifier

    def saturated(self, found: Sequence[Saturation]) -> None:
        """What is full before the wall right now."""
        if found and self._account is not None and self._life.open:
            self._account.saturated(merged(self._account.brief.saturation, found))

    @property
    def current(self) -> Incident | None:
        """The open incident, as of the last second."""
        return None if self._account is None or not self._life.open else self._account.brief

    @property
    def key(self) -> str | None:
        """The open incident's name for people."""
        return None if self.current is None else self.current.key

    # --- what happens ---

    def took(self, changes: Changes) -> None:
        """The record of bans changed."""
        self._bans.took(changes, self._account if self._life.open else None)

    def tick(self, wall: Dataplane, samples: list[Sample]) -> None:
        """Each tick: look whether a threshold is passed.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        if not self._config.incident.enabled:
            return
        self._evidence.offer(samples)
        now = self._read(wall)
        if self._ticks and now.shrank(self._ticks[-1]):
            self._ticks.clear()
            self._seconds.clear()
        self._ticks.append(now)
        if not self._seconds:
            self._seconds.append(now)
        if len(self._ticks) < 2:
            return
        before = self._ticks[-2]
        rates = Rates.between(before, now)
        if rates is None:
            return
        self._found = measures(
            rates,
            self._normal,
            self._rules,
            banned_lately=self._bans.lately(),
            crowd=self._evidence.crowd(rates),
        )
        opening, keeping = worst(self._found, opening=True), worst(self._found, opening=False)
        high = opening.ratio if opening else 0.0
        keep = keeping.ratio if keeping else 0.0
        self._quiet = keep < self._config.incident.close_below
        if high >= 1.0 and self._over_since is None:
            self._over_since = before
        began = self._over_since
        turn = self._life.step(high, keep, before.mono_ns, now.mono_ns)
        if turn is Turn.OPENED:
            self._open(wall, began or before, now)
        elif turn is Turn.CLOSED:
            self._finish(wall, now)
        if not self._life.open and self._life.suspect_since_ns is None:
            self._over_since = None
        if self._life.open and keep >= 1.0 and self._account is not None:
            self._over_since = self._over_since or before
            self._account.burst(self._over_since.at_ms, now.at_ms)
        elif self._life.open and not self._life.in_burst:
            self._over_since = None

    def second(self, wall: Dataplane | None) -> None:
        """Each second: the account, the record, what is normal, who hides.

        Raises:
            DataplaneError: the wall cannot be read.
        """
        if wall is None or not self._config.incident.enabled or not self._ticks:
            return
        now = self._ticks[-1]
        self._elapsed += 1
        rates = Rates.between(self._seconds[-1], now) if self._seconds else None
        self._evidence.second(in_burst=self._life.in_burst)
        loud = frozenset(m.lane for m in self._found if m.lane is not None and m.ratio >= 1.0)
        for finding in self._watchman.second(wall, alarmed=self._life.open, quiet=self._quiet, loud=loud):
            self._herald.diversion(finding, self.current)
        if rates is None:
            return
        self._seconds.append(now)
        if self._account is not None and self._life.open:
            self._follow(wall, self._account, rates, now)
        elif self._quiet and rates.seconds < 5 and self._life.suspect_since_ns is None:
            self._normal.take(names(rates), rates.seconds)
        if self._elapsed % _LEARNED_EVERY == 0:
            self._learned()

    def prune(self) -> None:
        """Now and then: forget what is too old or too much."""
        config, now_ms = self._config.incident, self._clock.wall_ms()
        self._archive.prune(
            now_ms - config.retention_ms,
            config.retention_bytes,
            self._evidence.sizes(),
            self._evidence.forget,
        )

    # --- inside ---

    def _read(self, wall: Dataplane) -> Reading:
        reasons = {reason: (count.packets, count.bytes) for reason, count in enforced(wall).items()}
        lanes = {lane: (count.seen.packets, count.seen.bytes) for lane, count in wall.lanes().items()}
        return Reading(self._clock.wall_ms(), self._clock.mono_ns(), reasons, lanes, self._bans.total)

    def _open(self, wall: Dataplane, base: Reading, now: Reading) -> None:
        earlier = rewind(list(self._ticks), self._normal.mean("all"))
        if earlier[0].mono_ns < base.mono_ns:
            base = earlier[0]
        start = onset([reading for reading in self._ticks if reading.mono_ns >= base.mono_ns])
        over = {m.what for m in self._found if m.ratio >= 1.0}
        time = self._evidence.begin(wall, base)
        account = self._came_back(over, now)
        if account is not None:
            account.reopen(now.at_ms, base)
        else:
            self.begun += 1
            account = self._fresh(wall, base, now, over)
            self._begin_ledger(account, start, self._evidence.first_drop(base, time), now)
            for old, new in pairwise(self._seconds):
                between = Rates.between(old, new)
                if between is not None and new.mono_ns <= base.mono_ns:
                    account.before(between, new)
        self._observed.incident_opened(wall)
        account.expect(self._normal.mean("all"))
        account.banned(*self._bans.since(base.mono_ns))
        account.act(now.at_ms, "opened", crossed(self._found))
        self._account = account
        self._seconds.append(base)  # the first second of its account reaches back to the first packet
        self._evidence.opened(account.brief)
        self._herald.opened(self._write(account), crossed(self._found), max(m.ratio for m in self._found))

    def _begin_ledger(self, account: Account, start: Onset, sampled_drop: float | None, now: Reading) -> None:
        first_drop = sampled_drop or start.first_drop_ms
        steps = {
            "first_packet_ms": min(start.first_packet_ms, first_drop or start.first_packet_ms),
            "threshold_ms": start.threshold_ms,
            "first_drop_ms": first_drop,
            "ban_ms": self._bans.first_ms,
            "incident_ms": float(now.at_ms),
            "resolution_ms": start.resolution_ms,
        }
        account.ledger(**{name: at for name, at in steps.items() if at is not None})

    def _fresh(self, wall: Dataplane, base: Reading, now: Reading, over: set[str]) -> Account:
        number, key = self._archive.name(now.at_ms)
        info = wall.info
        record = fresh(key, number, base, now.at_ms, instance=info.instance, policy=info.policy)
        linked = self._archive.linked(over, now.at_ms - self._config.incident.link_ms)
        return Account.begin(replace(record, linked=linked), base)

    def _came_back(self, over: set[str], now: Reading) -> Account | None:
        """The account of the last incident, when this is its attack coming back."""
        if self._account is None:
            return None
        closed_ms = self._account.brief.closed_ms
        if closed_ms is None or now.at_ms - closed_ms > self._config.incident.reopen_ms:
            return None
        return self._account if over & self._account.crossed() else None

    def _follow(self, wall: Dataplane, account: Account, rates: Rates, now: Reading) -> None:
        found = measures(
            rates,
            self._normal,
            self._rules,
            banned_lately=self._bans.lately(),
            crowd=self._evidence.crowd(rates),
        )
        step = Second(
            rates,
            found,
            self._evidence.samples(),
            self._evidence.mix(),
            {name: self._normal.mean(name) for name in names(rates)},
            self._life.in_burst or any(m.keeps and m.ratio >= 1.0 for m in found),
        )
        came = account.second(step, now)
        self._evidence.follow(wall, came)
        early = now.at_ms - account.brief.opened_ms < _EARLY_SECONDS * 1000
        unknown = not account.brief.sources.seen  # a report may be asked for early, and must say who sends
        if unknown or self._elapsed % (_LOOK_SECONDS if early else _LATE_SECONDS) == 0:
            self._evidence.look(wall, account.brief.totals)
        self._know(wall, account)
        self._herald.goes_on(self._write(account))

    def _know(self, wall: Dataplane, account: Account) -> None:
        """Put into the account what others found out."""
        found = self._evidence.found()
        if found is not None:
            patterns = tuple(text for text in (account.carpet(), *found.patterns) if text)
            account.know(sources=found.sources, origin=found.origin, patterns=patterns)
        account.know(
            users=self._evidence.users(),
            diversion=self._watchman.findings(account.brief.first_packet_ms - self._watchman.window_ms),
            fingerprints=self._evidence.fingerprints(wall),
            observed=self._observed.during_incident(wall),
            samples=self._evidence.kept(),
        )

    def _finish(self, wall: Dataplane, now: Reading) -> None:
        account = self._account
        if account is None:
            return
        self._know(wall, account)  # sources were looked up while all was quiet already
        ended_ms = now.at_ms - (now.mono_ns - self._life.last_over_ns) // 1_000_000
        account.close(ended_ms, now.at_ms)
        record = self._write(account)
        self._evidence.closed()
        self._over_since = None
        self._herald.closed(record)

    def _write(self, account: Account) -> Incident:
        now_ms = self._clock.wall_ms()
        over_ms = now_ms - (self._clock.mono_ns() - self._life.last_over_ns) // 1_000_000
        return self._archive.write(account, now_ms, over_ms)

    def _take_over(self, stored: tables.Stored, wall: Dataplane | None) -> None:
        record = from_plain(Incident, stored.record)
        wall_ms, mono_ns = self._clock.wall_ms(), self._clock.mono_ns()

        def mono_at(at_ms: int) -> int:
            return mono_ns - max(0, wall_ms - at_ms) * 1_000_000

        going_on = stored.going_on
        times = {name: mono_at(int(going_on[name]["at_ms"])) for name in ("base", "last")}
        account = Account.from_state(record, going_on, times)
        if record.state == "closed":
            if wall_ms - (record.closed_ms or 0) <= self._config.incident.reopen_ms:
                self._account = account
            return
        self._account = account
        self._life.resume(mono_at(int(going_on["last_over_ms"])))
        # The first look goes back to the last one of before: whatever came meanwhile is in between.
        self._ticks.append(account.last)
        self._seconds.append(account.last)
        account.expect(self._normal.mean("all"))
        account.act(wall_ms, "restarted", "the controller was away")
        self._herald.know(record.severity)
        self._watchman.recall(record.diversion)
        self._evidence.resume(wall, record)
        self._herald.goes_on_from_before(record)

    def _learned(self) -> None:
        data = {"normal": self._normal.to_json(), "trusted": self._watchman.trusted()}
        self._record(self._archive.learned(data))
