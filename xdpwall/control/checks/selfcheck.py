# SPDX-License-Identifier: Apache-2.0
"""Asks the wall again and again whether it does what the controller believes, mends what it may, and says the rest.

Each part has its own second of a short round, so that no second does much: at rest all of it takes about three
thousandths of a core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from xdpwall.control.checks import clocks, path, place, room
from xdpwall.control.checks.line import LineWatch
from xdpwall.control.checks.place import Finding
from xdpwall.control.checks.tell import Teller
from xdpwall.dataplane import rtlink
from xdpwall.dataplane.rtlink import LinkFacts
from xdpwall.errors import DataplaneError, XdpwallError
from xdpwall.fingerprint import Rule

if TYPE_CHECKING:
    from xdpwall.control.engine import Engine
    from xdpwall.control.nics import NicWatch
    from xdpwall.dataplane.interface import Dataplane
    from xdpwall.dataplane.vitals import Counted, Moment, Rings

PLACE_SECONDS, COUNT_SECONDS, FILL_SECONDS = 2, 5, 60
_PLACE = ("attached place", "program", "mode", "mtu", "egress", "stages")
_REPAIR_NS = {"listen": 10_000_000_000, "renew": 60_000_000_000}
"""A repair that does not last is not tried more often than this."""
_MINUTE_NS = 60_000_000_000
_WAITS = 2
"""A finding must be there at so many looks in a row: a load or an unload may be at work."""


class SelfCheck:
    """The watch over one engine.

    Args:
        engine: what it believes, and its wall.
        nics: what the cards and the kernel lost.
        facts: asks the kernel about interfaces.
        queues: asks it about outgoing queues.
    """

    def __init__(
        self,
        engine: Engine,
        nics: NicWatch,
        facts: Callable[[], Mapping[str, LinkFacts]] = rtlink.links,
        queues: Callable[[], Mapping[int, int]] = rtlink.queue_drops,
    ) -> None:
        self._engine = engine
        self._health = engine.health
        self._clock = engine.clock
        self._facts = facts
        self._teller = Teller(engine.health, engine.clock, engine.commit, engine.incidents.notifier)
        self.line = LineWatch(nics, engine.clock, queues)
        self._seconds = 0
        self._wall: Dataplane | None = None
        self._seen: dict[str, dict[tuple[str, str], int]] = {}
        self._tried: dict[tuple[str, str], int] = {}
        self._stages: Mapping[str, int] = {}
        self._counted: Counted | None = None
        self._came: Mapping[str, int] = {}
        self._moments: deque[Moment] = deque(maxlen=7)
        self._rings: Rings | None = None
        self._rules: dict[int, Rule] = {}
        self._errors: deque[tuple[int, int]] = deque()

    def second(self) -> None:
        """Once a second. Never raises for what the kernel does."""
        wall = self._engine.wall
        if wall is not self._wall:
            self._begin(wall)
        self._seconds += 1
        try:
            links = self._facts() if self._seconds % COUNT_SECONDS == 1 else None
            if wall is not None:
                self._look(wall, links)
            if links is not None:
                self._look_at_line(links)
            self._health.clear("reconcile checks")
        except DataplaneError as error:
            self._health.set("reconcile checks", f"the wall cannot be checked: {error.message}")
        self._teller.second()

    def _begin(self, wall: Dataplane | None) -> None:
        """Another wall, or none: what was seen of the last one says nothing of it."""
        self._wall = wall
        self._seen.clear()
        self._stages, self._counted, self._rings = {}, None, None
        self._moments.clear()
        self._rules.clear()
        for name in (*_PLACE, "path", "sums", "clock", "fill tables", "rings"):
            self._health.clear(name)

    def _look(self, wall: Dataplane, links: Mapping[str, LinkFacts] | None) -> None:
        if self._seconds % PLACE_SECONDS == 0:
            self._look_at_place(wall)
        if links is not None:
            self._look_at_counters(wall, links)
        turn = self._seconds % COUNT_SECONDS
        if turn == 2:
            self._look_at_clock(wall)
        elif turn == 3:
            self._look_at_tables(wall)
        elif turn == 4:
            self._look_at_rings(wall)
        if self._seconds % FILL_SECONDS == 10:
            self._report(room.judge_fill(wall.vitals.fill()), ("fill tables",))

    # --- where it stands ---

    def _look_at_place(self, wall: Dataplane) -> None:
        if wall.vitals.loading() and "load" not in self._health.wrong():
            return  # programs come one by one, and which they are is written down at the end
        off = wall.off() is not None
        # While another configuration is loaded, what ours wants says nothing of what should be there.
        lanes = self._engine.config.lanes.enabled and "digest" not in self._health.wrong()
        standings = wall.vitals.standings()
        found = [finding for standing in standings for finding in place.judge(standing, off=off)]
        found += place.judge_unlisted(wall.vitals.unlisted())
        if lanes and any(standing.egress is None for standing in standings if standing.index):
            found.append(Finding("egress", "pin", _NO_EGRESS))
        stages = wall.vitals.stages()
        if not self._stages:
            self._stages = stages
        found += place.judge_stages(self._stages, stages, lanes=lanes)
        confirmed = self._confirmed("place", found)
        for finding in confirmed:
            if finding.repair:
                self._repair(wall, finding)
        self._report(confirmed, _PLACE)

    def _repair(self, wall: Dataplane, finding: Finding) -> None:
        key, now = (finding.repair, finding.key), self._clock.mono_ns()
        last = self._tried.get(key)
        if last is not None and now - last < _REPAIR_NS[finding.repair]:
            return
        self._tried[key] = now
        try:
            if finding.repair == "listen":
                done = wall.listen(finding.interface)
                text = f"{finding.interface}: the filter that listens to what this host sends is back"
            else:
                mode = wall.renew(finding.interface)
                done = mode == "native"
                text = f"{finding.interface}: the wall runs in native mode again"
            self._engine.keeper.pins_changed()
        except XdpwallError as error:
            self._health.set(f"{finding.check} {finding.key}", f"{finding.interface}: {error.message}")
            return
        self._health.clear(f"{finding.check} {finding.key}")
        if done:
            self._health.mended(finding.check, text)

    # --- what it counts ---

    def _look_at_counters(self, wall: Dataplane, links: Mapping[str, LinkFacts]) -> None:
        now = wall.vitals.counted()
        came = {name: links[name].stats.get("rx_packets", 0) for name in now.by_interface if name in links}
        found: list[Finding] = []
        if self._counted is not None:
            standing = {state.name for state in self._engine.keeper.interfaces if state.attached}
            grown = {
                name: count - self._came[name]
                for name, count in came.items()
                if name in self._came and name in standing
            }
            if wall.off() is None:
                found = path.judge_path(self._counted.by_interface, now.by_interface, grown)
        self._report(self._confirmed("path", found), ("path",))
        self._report(path.judge_sums(self._counted, now), ("sums",))
        self._counted, self._came = now, came

    def _look_at_clock(self, wall: Dataplane) -> None:
        info = self._engine.keeper.info
        now = wall.vitals.moment()
        self._moments.append(now)
        if info is None:
            return
        found = clocks.judge_ticks(self._moments[0], now, info.tick_hz)
        found += clocks.judge_date(self._clock.wall_ms(), info.loaded_ms)
        self._report(found, ("clock",))

    # --- what stands in its tables ---

    def _look_at_tables(self, wall: Dataplane) -> None:
        if self._engine.keeper.hold_own():
            self._health.mended("own", "this host's addresses were not those in the kernel, and are again")
        vitals = wall.vitals
        changed = self._confirmed("tables", [Finding("budgets", name, name) for name in vitals.tampered()])
        if changed:
            names = " and ".join(finding.key for finding in changed)
            wall.set_budgets(self._engine.config.lanes, self._engine.config.proof)
            if self._engine.sockets is not None:
                self._engine.sockets.again()
            self._health.mended("budgets", f"the tables of {names} were changed by somebody else")
        lanes = vitals.mend_rules()
        if lanes:
            self._health.mended("rules", f"the rules of {lanes} lanes were not looked at by the kernel")
        self._look_at_rules(wall)
        if vitals.mend_meta():
            self._health.mended("wall", "what the load wrote down of itself was changed, and is as it was")

    def _look_at_rules(self, wall: Dataplane) -> None:
        """A rule's pattern never changes: one that did would drop whatever somebody else wants."""
        now: dict[int, Rule] = {}
        for held in wall.rules.entries():
            known = self._rules.get(held.rule.id)
            if known is not None and known.pattern != held.rule.pattern:
                wall.rules.remove(held.rule.id)
                self._health.mended(
                    "rules", f"rule {held.rule.id} was changed by somebody else, and is taken out"
                )
                continue
            now[held.rule.id] = held.rule
        self._rules = now

    def _look_at_rings(self, wall: Dataplane) -> None:
        now = wall.vitals.rings()
        found = [] if self._rings is None else room.judge_rings(self._rings, now)
        self._rings = now
        self._report(self._confirmed("rings", found), ("rings",))
        errors = self._engine.sentinel.write_errors
        mono = self._clock.mono_ns()
        self._errors.append((mono, errors))
        while mono - self._errors[0][0] > _MINUTE_NS:
            self._errors.popleft()
        self._report(room.judge_writes(errors - self._errors[0][1]), ("writes",))

    def _look_at_line(self, links: Mapping[str, LinkFacts]) -> None:
        names = [state.name for state in self._engine.keeper.interfaces if state.ifindex]
        for check, troubles in self.line.look(names, links, self._engine.config).items():
            self._health.report(check, troubles)
        self._engine.incidents.saturated(self.line.full)

    # --- inside ---

    def _confirmed(self, source: str, findings: Iterable[Finding]) -> list[Finding]:
        before = self._seen.get(source, {})
        given = list(findings)
        self._seen[source] = {(f.check, f.key): before.get((f.check, f.key), 0) + 1 for f in given}
        return [f for f in given if self._seen[source][f.check, f.key] >= _WAITS]

    def _report(self, findings: Iterable[Finding], names: tuple[str, ...]) -> None:
        """Put findings on the board, and take from it what is right again. ``names``: all that one look writes."""
        found: dict[str, dict[str, str]] = {name: {} for name in names}
        for finding in findings:
            name = next(name for name in names if name.split(" ", 1)[0] == finding.check)
            found[name][finding.key] = finding.text
        for name, troubles in found.items():
            self._health.report(name, troubles)


_NO_EGRESS = (
    "the program that listens to what this host sends is not pinned: above a budget only flows with a socket are "
    "known. `xdpwall load` puts it up"
)
