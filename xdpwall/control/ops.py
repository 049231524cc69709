# SPDX-License-Identifier: Apache-2.0
"""Carries out what comes in over the control socket. Long lists are worked off in slices, with ticks in between."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from xdpwall import __version__
from xdpwall.control import observed, views
from xdpwall.control.checks import board
from xdpwall.control.database import Changes
from xdpwall.control.engine import Engine
from xdpwall.control.incident_ops import IncidentOps
from xdpwall.control.offline import history
from xdpwall.control.overview import Overview
from xdpwall.control.results import ControllerResult, PingResult, ReloadResult
from xdpwall.control.rule_ops import RuleOps
from xdpwall.control.schedule import Schedule
from xdpwall.control.server import Listing
from xdpwall.control.usage import rss_kb
from xdpwall.control.watcher import Watcher
from xdpwall.errors import NotLoadedError, StoreError, XdpwallError

_SLICE = 500
Result = Mapping[str, Any] | Listing


class Ops:
    """One method an op.

    Args:
        engine: what does the work.
        schedule: for the tick's figures.
        instance: its name.
        reload: reads the configuration again and puts it in force.
    """

    def __init__(
        self, engine: Engine, schedule: Schedule, instance: str, reload: Callable[[], ReloadResult]
    ) -> None:
        self._engine = engine
        self._desk = engine.desk
        self._schedule = schedule
        self._instance = instance
        self._reload = reload
        self._started_ns = engine.clock.mono_ns()
        self.watcher = Watcher(engine.clock)
        self._ops: dict[str, Callable[[dict[str, Any]], Awaitable[Result]]] = {
            "ping": self._ping,
            "status": self._status,
            "sources": self._sources,
            "verdicts": self._verdicts,
            "overview": self._overview,
            "ban.add": self._ban_add,
            "ban.del": self._ban_del,
            "ban.list": self._ban_list,
            "ban.test": self._ban_test,
            "ban.flush": self._ban_flush,
            "allow.add": self._allow_add,
            "allow.del": self._allow_del,
            "allow.list": self._allow_list,
            "session": self._session,
            "history": self._history,
            "reload": self._do_reload,
            "switch": self._switch,
            "observed": self._observed,
        }
        self._ops.update(RuleOps(engine).all())
        self._ops.update(IncidentOps(engine.store).all())
        self.overview = Overview(engine, self.watcher, self._ops)
        self._ops["lanes"] = self.overview.lanes

    async def handle(self, op: str, args: dict[str, Any]) -> Result:
        """Carry out one checked request.

        Raises:
            XdpwallError: what the asker should be told.
        """
        return await self._ops[op](args)

    async def _ping(self, _: dict[str, Any]) -> Result:
        return PingResult(pid=os.getpid(), instance=self._instance, version=__version__)

    async def _status(self, _: dict[str, Any]) -> Result:
        engine = self._engine
        result = views.status(
            self._instance,
            views.Moment(
                engine.keeper.info,
                engine.keeper.interfaces,
                engine.traffic.counts,
                engine.switch.result,
                engine.traffic.observed,
            ),
            engine.book,
            engine.guard,
            controller=self._controller(),
            state=engine.state,
            problems=engine.health.problems,
        )
        result["rates"] = engine.traffic.rates(result["policy"])
        result["observed"]["good_sources"] = engine.observed.count
        result["checks"] = board.result(engine.health)
        if engine.cookies is not None:
            result["cookies"] = engine.cookies.result()
        return result

    def _controller(self) -> ControllerResult:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return ControllerResult(
            running=True,
            pid=os.getpid(),
            uptime_ms=(self._engine.clock.mono_ns() - self._started_ns) // 1_000_000,
            cpu_ms=round((usage.ru_utime + usage.ru_stime) * 1000),
            rss_kb=rss_kb(),
            ticks=self._schedule.ticks,
            tick_lag_ms=self._schedule.lag_ms,
        )

    async def _sources(self, args: dict[str, Any]) -> Result:
        wall = self._engine.wall
        if wall is None:
            raise NotLoadedError("no wall is loaded: there is nothing to count", hint="xdpwall load")
        if not self._engine.config.meters.enabled:
            raise XdpwallError("sources are not counted: meters.enabled is false in the configuration")
        return await self.watcher.look(
            wall, self._engine.book, self._engine.guard, limit=args["limit"], sort=args["sort"]
        )

    async def _overview(self, args: dict[str, Any]) -> Result:
        return await self.overview.answer(args)

    async def _verdicts(self, _: dict[str, Any]) -> Result:
        traffic, info = self._engine.traffic, self._engine.keeper.info
        return views.verdicts(
            traffic.counts, "none" if info is None else info.policy, traffic.by_verdict(), traffic.observed
        )

    async def _ban_add(self, args: dict[str, Any]) -> Result:
        total: dict[str, Any] = {}
        futures = []
        for items in _slices(args["items"]):
            result, changes = self._desk.ban_add(items, defaults=args)
            futures.append(self._commit(changes))
            _add_up(total, result)
            await asyncio.sleep(0)
        return await self._committed(total, futures)

    async def _ban_del(self, args: dict[str, Any]) -> Result:
        total: dict[str, Any] = {}
        futures = []
        for prefixes in _slices(args["prefixes"]):
            result, changes = self._desk.ban_del(prefixes)
            futures.append(self._commit(changes))
            _add_up(total, result)
            await asyncio.sleep(0)
        return await self._committed(total, futures)

    async def _ban_flush(self, _: dict[str, Any]) -> Result:
        result, changes = self._desk.ban_flush()
        return await self._committed(dict(result), [self._commit(changes)])

    async def _ban_test(self, args: dict[str, Any]) -> Result:
        return self._desk.ban_test(args["prefix"])

    async def _ban_list(self, _: dict[str, Any]) -> Result:
        engine = self._engine
        return Listing("bans", iter(views.ban_results(engine.wall, engine.book, engine.clock.wall_ms())))

    async def _allow_add(self, args: dict[str, Any]) -> Result:
        result, changes = self._desk.allow_add(args["prefixes"], args["reason"])
        return await self._committed(dict(result), [self._commit(changes)])

    async def _allow_del(self, args: dict[str, Any]) -> Result:
        result, changes = self._desk.allow_del(args["prefixes"])
        return await self._committed(dict(result), [self._commit(changes)])

    async def _allow_list(self, _: dict[str, Any]) -> Result:
        evidence = self._engine.protector.evidence
        return views.allow_list(self._engine.guard, evidence.used, evidence.lost)

    async def _session(self, args: dict[str, Any]) -> Result:
        return {"protected": self._engine.protector.announce(args["connection"], self._engine.wall)}

    async def _history(self, args: dict[str, Any]) -> Result:
        limit, since_ms = args["limit"], args["since_ms"]
        question = self._engine.store.read(lambda database: history(database, limit, since_ms))
        return await asyncio.wrap_future(question)

    async def _do_reload(self, _: dict[str, Any]) -> Result:
        return self._reload()

    async def _observed(self, _: dict[str, Any]) -> Result:
        engine = self._engine
        if engine.wall is None:
            raise NotLoadedError("no wall is loaded: it observes nothing", hint="xdpwall load")
        return observed.result(
            engine.wall.info, engine.wall.observed(), engine.wall.rules.entries(), engine.observed
        )

    async def _switch(self, _: dict[str, Any]) -> Result:
        self._engine.switch.look(self._engine.wall)
        return {"off": self._engine.switch.result}

    def _commit(self, changes: Changes) -> Future[object]:
        for event in changes.events:
            what = "all" if event.prefix is None else event.prefix
            detail = f": {event.detail}" if event.detail else ""
            text = f"operator: {event.event} {what}{detail}"
            self._engine.throttle.line(f"operator {event.event}", text, source=event.prefix)
        return self._engine.commit(changes)

    async def _committed(self, result: dict[str, Any], futures: list[Future[object]]) -> Result:
        """Answer only once it is on disk; when that fails, say so: what was asked for is in force all the same."""
        done = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        for fault in done:
            if isinstance(fault, StoreError):
                warning = f"in force, but not on record yet: {fault.message}"
                if warning not in result["warnings"]:
                    result["warnings"].append(warning)
            elif isinstance(fault, BaseException):
                raise fault
        return result


def _slices(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _SLICE):
        yield items[start : start + _SLICE]


def _add_up(total: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if key not in total:
            total[key] = value
        elif isinstance(value, int):
            total[key] += value
        elif isinstance(value, dict):
            total[key].update(value)
        else:
            total[key] += [entry for entry in value if key != "warnings" or entry not in total[key]]
