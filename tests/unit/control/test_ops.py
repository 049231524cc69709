# SPDX-License-Identifier: Apache-2.0
"""The ops of the control socket against their promised shapes, through a real controller on a wall in memory."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest

from tests.unit.control.conftest import config
from xdpwall.clock import ManualClock, SystemClock
from xdpwall.config import Config
from xdpwall.control import client, results
from xdpwall.control.controller import Controller
from xdpwall.dataplane.fake import FakeWall
from xdpwall.errors import ConfigError, ConfigProblem, InputError, NoControllerError
from xdpwall.paths import Paths
from xdpwall.reasons import Reason


class Process:
    """A controller in a thread: all of it but the signals."""

    def __init__(self, paths: Paths, configs: list[Config | ConfigError]) -> None:
        self.paths = paths
        self.clock = SystemClock()
        # The wall's own time stands still: its bans do not lapse and its meters show what a test fed.
        self.wall = FakeWall(ManualClock())
        self.code: int | None = None
        self.error: Exception | None = None
        self._configs = configs
        self.thread = threading.Thread(target=self._run)

    def _read(self) -> Config:
        found = self._configs.pop(0)
        if isinstance(found, ConfigError):
            raise found
        return found

    def _run(self) -> None:
        async def main() -> int:
            self.controller = Controller(
                config(tick={"interval": "20ms"}),
                self.paths,
                opener=lambda: self.wall,
                fingerprint=lambda: 1,
                read_config=self._read,
                clock=self.clock,
                watch_links=False,
            )
            self.loop = asyncio.get_running_loop()
            return await self.controller.main()

        try:
            self.code = asyncio.run(main())
        except ZeroDivisionError as error:
            self.error = error

    def start(self) -> None:
        self.thread.start()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                client.call(self.paths, "ping")
            except NoControllerError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("the controller did not come up")

    def stop(self) -> None:
        if self.error is not None:
            return
        self.loop.call_soon_threadsafe(self.controller.stop, "test")
        self.thread.join(20)
        assert self.code == 0

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        return client.call(self.paths, op, **args)


@pytest.fixture
def start(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Process]]:
    # Signals belong to the main thread; the tests of the process send real ones.
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    started: list[Process] = []

    def make(*configs: Config | ConfigError) -> Process:
        process = Process(paths, list(configs))
        started.append(process)
        process.start()
        return process

    yield make
    for process in started:
        process.stop()
    assert not paths.socket.exists()


@pytest.fixture
def process(start: Callable[..., Process]) -> Process:
    return start()


def fits(value: dict[str, Any], shape: type) -> None:
    """Exactly the fields that the shape promises."""
    hints = get_type_hints(shape, include_extras=True)
    required = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
    assert required <= set(value) <= set(hints)


def test_ping_and_status(process: Process) -> None:
    assert process.ask("ping")["pid"] == os.getpid()
    status = process.ask("status")
    fits(status, results.StatusResult)
    fits(status["controller"], results.ControllerResult)
    fits(status["rates"], results.RatesResult)
    fits(status["totals"], results.TotalsResult)
    fits(status["bans"], results.BanCountsResult)
    fits(status["interfaces"][0], results.InterfaceResult)
    assert status["controller"]["running"]
    assert status["controller"]["rss_kb"] > 1_000
    assert status["instance"] == "test"


def test_verdicts(process: Process) -> None:
    process.wall.count(Reason.BANNED_SOURCE, 5, 300)
    deadline = time.monotonic() + 20
    rows: list[dict[str, Any]] = []
    while not rows and time.monotonic() < deadline:
        rows = process.ask("verdicts")["verdicts"]
    fits(rows[0], results.VerdictResult)
    assert (rows[0]["reason"], rows[0]["action"], rows[0]["packets"]) == ("banned_source", "drop", 5)


def test_bans(process: Process) -> None:
    added = process.ask(
        "ban.add", items=[f"45.0.{n // 200}.{n % 200 + 1}" for n in range(1_500)] + ["nonsense"]
    )
    fits(added, results.BanAddResult)
    assert (added["added"], len(added["refused"])) == (1_500, 1)
    fits(added["refused"][0], results.RefusedResult)
    listed = process.ask("ban.list")
    fits(listed, results.BanListResult)
    fits(listed["bans"][0], results.BanResult)
    assert len(listed["bans"]) == 1_500
    test = process.ask("ban.test", prefix="45.0.0.1")
    fits(test, results.BanTestResult)
    assert test["banned"]
    deleted = process.ask("ban.del", prefixes=["45.0.0.1", "45.0.0.1", "9.9.9.9"])
    fits(deleted, results.BanDelResult)
    assert (deleted["removed"], deleted["missing"]) == (1, ["9.9.9.9"])
    history = process.ask("history", limit=3)
    fits(history, results.HistoryListResult)
    fits(history["history"][0], results.HistoryResult)
    assert history["history"][0]["event"] == "unban"
    flushed = process.ask("ban.flush")
    fits(flushed, results.BanFlushResult)
    assert flushed["removed"] == 1_499
    with pytest.raises(InputError):
        process.ask("ban.test", prefix="nonsense")


def test_allow(process: Process) -> None:
    added = process.ask("allow.add", prefixes=["192.0.2.0/24"], reason="us")
    fits(added, results.AllowAddResult)
    listed = process.ask("allow.list")
    fits(listed["allow"][0], results.AllowEntryResult)
    fits(process.ask("allow.del", prefixes=["192.0.2.0/24"]), results.AllowDelResult)


def test_sources(process: Process) -> None:
    process.wall.feed("203.0.113.9", 500, kind="udp")
    process.wall.feed("203.0.113.10", 50)
    process.ask("allow.add", prefixes=["203.0.113.10"])
    rows = process.ask("sources", sort="packets")
    fits(rows, results.SourcesResult)
    fits(rows["sources"][0], results.SourceResult)
    assert rows["metered"] == 2
    assert [row["source"] for row in rows["sources"]] == ["203.0.113.9", "203.0.113.10"]
    assert [row["allowed"] for row in rows["sources"]] == [False, True]
    assert len(process.ask("sources", limit=1)["sources"]) == 1


def test_an_attack_through_the_whole_controller(process: Process) -> None:
    deadline = time.monotonic() + 20
    while process.ask("status")["state"] != "UNDER_ATTACK" and time.monotonic() < deadline:
        process.wall.clock.advance_ms(20)
        process.wall.feed("203.0.113.9", 20_000, kind="udp")
    assert process.ask("ban.test", prefix="203.0.113.9")["ban"]["origin"] == "auto"


def test_reload(start: Callable[..., Process]) -> None:
    problem = ConfigError("/etc/x.toml", [ConfigProblem("tick.interval", 3, "no duration")])
    process = start(problem, config(bans={"time": "1m"}, mode="generic", tick={"interval": "50ms"}))
    with pytest.raises(ConfigError) as raised:
        process.ask("reload")
    assert raised.value.problems == problem.problems
    reloaded = process.ask("reload")
    fits(reloaded, results.ReloadResult)
    assert reloaded == {"changed": ["bans.time", "mode", "tick.interval"], "needs_load": ["mode"]}


def test_a_bug_in_a_tick_is_told_and_survived(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process.controller.engine.book, "take_lapsed", lambda _: 1 // 0)
    deadline = time.monotonic() + 20
    while not any("bug" in text for text in process.ask("status")["problems"]):
        assert time.monotonic() < deadline
    monkeypatch.undo()
    assert process.ask("ping")


def test_a_bug_in_every_tick_ends_the_process(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process.controller.engine.book, "take_lapsed", lambda _: 1 // 0)
    process.thread.join(20)
    assert not process.thread.is_alive()
    assert isinstance(process.error, ZeroDivisionError)
