# SPDX-License-Identifier: Apache-2.0
"""The long-lived process: ticks, the control socket, signals, interfaces. Owns nothing that must outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xdpwall.clock import Clock, SystemClock
from xdpwall.control import config_child, identity, lock, logs, record, settings
from xdpwall.control.advice import CONFIG_PATH
from xdpwall.control.checks.selfcheck import SelfCheck
from xdpwall.control.database import Changes, Database
from xdpwall.control.engine import Engine
from xdpwall.control.nics import NicWatch
from xdpwall.control.notify import notify, reloading, watchdog_seconds
from xdpwall.control.ops import Ops
from xdpwall.control.protect import collect
from xdpwall.control.readers import Readers
from xdpwall.control.results import ReloadResult
from xdpwall.control.schedule import Schedule
from xdpwall.control.server import Server
from xdpwall.control.sink import Inside, Sink
from xdpwall.control.store import Store
from xdpwall.control.trial_watch import TrialWatch
from xdpwall.control.unfinished import Unfinished
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.sockets import Survey, survey
from xdpwall.errors import ConfigError, StoreError, XdpwallError
from xdpwall.paths import DEFAULT_CONFIG, Paths
from xdpwall.ssh_connection import ssh_connection

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)

_LOCK_SECONDS = 3.0
_TRIM_SECONDS = 10
_MOST_FAULTS = 50
"""So many ticks in a row that ended in a bug end the process: a restart may help, and the wall stays up."""


def run(config: Config, config_path: Path | None, paths: Paths, sinks: Sequence[Sink] = ()) -> int:
    """Be the controller of an instance until SIGTERM or SIGINT. Gives the exit code.

    Args:
        config: the configuration, read already.
        config_path: where it came from, for reloads; None: the default place.
        paths: the instance.
        sinks: who tells the outside how things are.

    Raises:
        LockedError: another controller of this instance runs.
        NotLoadedError: there is no wall.
        XdpwallError: it cannot start for another reason.
    """
    from xdpwall.dataplane.wall import Wall  # noqa: PLC0415  (tests run the controller on a wall in memory)

    logs.set_up(instance=paths.instance)
    with identity.as_owner(paths), lock.hold(paths, "a controller", wait_seconds=_LOCK_SECONDS):
        controller = Controller(
            config,
            paths,
            opener=lambda: Wall.open(paths),
            fingerprint=lambda: pins_fingerprint(paths.pins),
            read_config=lambda: config_child.read(config_path),
            clock=SystemClock(),
            look=survey,
        )
        controller.engine.protector.collect = collect
        controller.engine.protector.started_from = ssh_connection()
        controller.sinks = tuple(sinks)
        target = (config_path or DEFAULT_CONFIG).absolute()
        controller.trial = TrialWatch(
            paths, target, SystemClock(), controller.engine.health, controller.reload
        )
        controller.remember(CONFIG_PATH, str(target))
        return asyncio.run(controller.main())


class Controller:
    """The process. Whoever makes one holds the instance's lock.

    Args:
        config: the configuration in force.
        paths: the instance.
        opener: opens the wall.
        fingerprint: differs once the wall was loaded anew.
        read_config: reads the configuration again.
        clock: both clocks.
        watch_links: whether to watch interfaces and addresses of this host.
        look: reads this host's sockets; None: the wall is not told of them.
    """

    def __init__(
        self,
        config: Config,
        paths: Paths,
        *,
        opener: Callable[[], Dataplane],
        fingerprint: Callable[[], Hashable],
        read_config: Callable[[], Config],
        clock: Clock,
        watch_links: bool = True,
        look: Callable[[Config], Survey] | None = None,
    ) -> None:
        self._paths = paths
        self._clock = clock
        self._read_config = read_config
        self._watch_links = watch_links
        self._store = Store(paths.database, clock)
        known = self._read_record(config)
        self._store.start()
        self.engine = Engine(
            config,
            known,
            self._store,
            opener=opener,
            fingerprint=fingerprint,
            clock=clock,
            look=look,
            paths=paths,
        )
        self._schedule = Schedule(config.tick.interval_ms * 1_000_000, clock.mono_ns())
        self._ops = Ops(self.engine, self._schedule, paths.instance, self.reload)
        self._stop = asyncio.Event()
        self._why = "stopped"
        self._faults: dict[str, int] = {}
        self._seconds = 0
        self.nics = NicWatch()
        self.checks = SelfCheck(self.engine, self.nics)
        self._server: Server | None = None
        self._readers = Readers(paths, self.engine.health)
        self._unfinished = Unfinished(paths, self.engine.health)
        self.sinks: tuple[Sink, ...] = ()
        """Who tells the outside how things are; set before :meth:`main`."""
        self.trial: TrialWatch | None = None
        """Who minds a configuration on trial; set before :meth:`main`."""
        self._inside = Inside(self.engine, self._schedule, self.nics, self.checks.line)

    def remember(self, name: str, text: str) -> None:
        """Write a setting into the state file, for verbs that look there."""
        self._store.submit(Changes(settings=((name, text),)))

    async def main(self) -> int:
        """Start, tick until told to stop, stop. Gives the exit code."""
        code = 1
        try:
            mended = self.engine.start()
            words = mended.words()
            log.info(
                "the wall of instance %s is taken over%s", self._paths.instance, f": {words}" if words else ""
            )
            code = await self._live()
        finally:
            self.engine.close(self._why)
            if not self._store.close():
                log.error("the state database did not take everything in time")
        return code

    async def _live(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        lock.runtime_folder(self._paths)
        server = self._server = Server(self._paths.socket, self._ops.handle)
        await server.start()
        tasks = [asyncio.create_task(self._tick_forever(), name="ticks")]
        if self._watch_links:
            tasks.append(asyncio.create_task(self._watch(), name="links"))
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        # What is alive now stays alive: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        give_memory_back()
        self.engine.second()
        notify("READY=1", f"STATUS={self.engine.state}")
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            notify("STOPPING=1")
            for task in (*tasks, stopped):
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await server.stop()
            await asyncio.gather(*(sink.close() for sink in self.sinks), return_exceptions=True)
        for fault in ended:
            if isinstance(fault, Exception):
                raise fault
        log.info("goodbye (%s); the wall stays up and bans lapse when due", self._why)
        return 0

    def stop(self, why: str) -> None:
        """End :meth:`main` soon."""
        self._why = why
        self._stop.set()

    async def _tick_forever(self) -> None:
        watchdog = watchdog_seconds()
        next_second = next_bark = self._clock.mono_ns()
        while True:
            await asyncio.sleep(self._schedule.wait_ns(self._clock.mono_ns()) / 1e9)
            now = self._clock.mono_ns()
            self._schedule.begin(now)
            self._guarded("tick", self.engine.tick)
            if now >= next_second:
                next_second = now + 1_000_000_000
                self._guarded("second", self._second)
            if watchdog is not None and now >= next_bark:
                next_bark = now + round(watchdog * 1e9)
                notify("WATCHDOG=1", f"STATUS={self._status_line()}")

    def _guarded(self, what: str, step: Callable[[], None]) -> None:
        """A bug in one tick must not take down the controller in mid attack; one in every tick must."""
        try:
            step()
            self._faults[what] = 0
        except Exception as error:
            self._faults[what] = self._faults.get(what, 0) + 1
            if self._faults[what] == 1:
                log.exception("a %s met a bug; please report it", what)
            self.engine.health.set("bug", f"a {what} met a bug: {error!r}; the log has the traceback")
            if self._faults[what] >= _MOST_FAULTS:
                raise

    def _second(self) -> None:
        self.engine.second()
        self._seconds += 1
        if self._seconds % _TRIM_SECONDS == 0:
            give_memory_back()
        if self.trial is not None:
            self.trial.second()
        self._unfinished.second()
        self._ops.watcher.idle()
        self._ops.overview.second()
        self.checks.second()
        if self._server is not None:
            self._server.readers = self._readers.apply(self.engine.config.control.readers)
        for sink in self.sinks:
            sink.second(self._inside)
        text = (
            f"ticks are {self._schedule.lag_ms} ms late on average: the machine is too busy for tick.interval"
        )
        self.engine.health.put("lag", text if self._schedule.behind else None)
        if self.engine.wall is not None:
            self.engine.wall.rest()

    def _status_line(self) -> str:
        rates = self.engine.traffic.rates("enforce")
        return f"{self.engine.state}: {rates['pps']} packets/s, {len(self.engine.book)} bans"

    async def _watch(self) -> None:
        from xdpwall.control.links import Links  # noqa: PLC0415  (brings netlink)
        from xdpwall.dataplane.addresses import own_addresses  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        waiting: dict[str, asyncio.TimerHandle] = {}

        def addresses() -> None:
            waiting.pop("addresses", None)
            self.engine.set_addresses(own_addresses(), links.gateways)

        def interfaces() -> None:
            waiting.pop("interfaces", None)
            self._guarded("look at the interfaces", self.engine.second)

        def changed(what: str) -> None:
            # Events come in crowds: look once they have come to rest for a moment.
            name, step = ("interfaces", interfaces) if what == "link" else ("addresses", addresses)
            if name not in waiting:
                waiting[name] = loop.call_later(0.2, step)

        links = Links(changed)
        try:
            await links.run()
        finally:
            for handle in waiting.values():
                handle.cancel()

    def _on_hangup(self) -> None:
        reloading(self._clock.mono_ns())
        with contextlib.suppress(XdpwallError):  # logged by reload()
            self.reload()
        notify("READY=1")

    def reload(self) -> ReloadResult:
        """Read the configuration again. A faulty one changes nothing.

        Raises:
            XdpwallError: it cannot be used; the old one stays in force, and every fault is in the log.
        """
        try:
            config = self._read_config()
        except XdpwallError as error:
            log.error("the configuration stays as it was: %s", error.message)
            for problem in error.problems if isinstance(error, ConfigError) else ():
                log.error("line %d: %s: %s", problem.line, problem.key, problem.message)
            raise
        changed, needs_load = self.engine.configure(config)
        self._schedule.change(config.tick.interval_ms * 1_000_000, self._clock.mono_ns())
        log.info("configuration read again; changed: %s", ", ".join(changed) or "nothing")
        info = self.engine.keeper.info
        if needs_load and (info is None or info.config_digest != config.dataplane_digest()):
            log.warning("needs `xdpwall load` to take effect: %s", ", ".join(needs_load))
        return ReloadResult(changed=changed, needs_load=needs_load)

    def _read_record(self, config: Config) -> record.Record:
        rules, now = settings.rules(config), self._clock.wall_ms()
        try:
            database = self._store.open()
            if database is None:  # not to be written: a full disk, say. Maybe it can be read
                with contextlib.closing(Database(self._paths.database, read_only=True)) as readable:
                    return record.read(readable, rules, now)
            return record.read(database, rules, now)
        except StoreError as error:
            log.error("%s; starting with what the kernel holds", error.message)
            self._store.lost = True
            return record.read(None, rules, now)


def give_memory_back() -> None:
    """Let go of free memory that malloc keeps (malloc_trim(3)): long lists leave many megabytes behind.

    Does nothing with a C library that has no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def pins_fingerprint(folder: Path) -> Hashable:
    """Which objects are pinned: a load or unload changes the inodes, and the end of a load takes its mark away.

    Without the mark, a wall that is opened in the middle of a load would go by what the load before wrote down.
    """
    found = [("unfinished", "", int((folder / "unfinished").exists()))]
    for part in ("maps", "programs"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += [(part, entry.name, entry.stat().st_ino) for entry in (folder / part).iterdir()]
    return tuple(sorted(found))
