# SPDX-License-Identifier: Apache-2.0
"""Asks the controller again and again, in a thread of its own: the screen never waits for a socket.

When the controller goes away it says so, shows what the kernel alone can tell, and tries again until it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xdpwall.clock import Clock, SystemClock
from xdpwall.control.client import Connection
from xdpwall.errors import NoControllerError, XdpwallError
from xdpwall.interface.tui.places import Places
from xdpwall.paths import Paths

Answer = Mapping[str, Any]

ANSWER_SECONDS = 5.0
"""A controller that takes longer is as good as gone, for somebody who watches."""


@dataclass(frozen=True, slots=True)
class News:
    """What one question brought.

    Args:
        answer: as of the op ``overview``; without a controller only ``status``; None when nothing can be told.
        error: why there is no controller's answer; None when there is one.
        silent_ms: for how long there has been none.
        restarted_ms: Unix time at which another controller process was first met; None when it is still the first.
    """

    answer: Answer | None
    error: XdpwallError | None = None
    silent_ms: int = 0
    restarted_ms: int | None = None


class Feed:
    """The thread that asks.

    Args:
        paths: the instance.
        wanted: gives the arguments of the next question; called in the thread.
        deliver: takes the news; called in the thread.
        interval: seconds from one answer to the next question.
        clock: both clocks.
    """

    def __init__(
        self,
        paths: Paths,
        wanted: Callable[[], dict[str, Any]],
        deliver: Callable[[News], object],
        *,
        interval: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._paths = paths
        self._wanted = wanted
        self._deliver = deliver
        self._interval = interval
        self._clock = clock or SystemClock()
        self._connection: Connection | None = None
        self._places = Places(paths)
        self._pid: int | None = None
        self._restarted_ms: int | None = None
        self._heard_ns = self._clock.mono_ns()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def poke(self) -> None:
        """Ask at once: somebody wants to see something else."""
        self._wake.set()

    def stop(self) -> None:
        """Ask no more. A question that is on its way may still be answered; nobody is told."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(0.5)

    def ask(self) -> News:
        """One question. Never raises for what the controller does."""
        try:
            answer = self._call()
        except NoControllerError as error:
            self._hang_up()
            silent = (self._clock.mono_ns() - self._heard_ns) // 1_000_000
            return News(self._offline(), error, silent, self._restarted_ms)
        except XdpwallError as error:
            self._hang_up()
            return News(None, error, 0, self._restarted_ms)
        self._heard_ns = self._clock.mono_ns()
        self._places.fill(answer)
        pid = answer["status"]["controller"].get("pid")
        if self._pid is not None and pid != self._pid:
            self._restarted_ms = answer["at_ms"]
        self._pid = pid
        return News(answer, None, 0, self._restarted_ms)

    def _call(self) -> dict[str, Any]:
        if self._connection is None:
            self._connection = Connection(self._paths, timeout=ANSWER_SECONDS)
        return self._connection.call("overview", **self._wanted())

    def _offline(self) -> Answer | None:
        from xdpwall.control import offline  # noqa: PLC0415  (not needed while all is well)

        try:
            return {"status": offline.call(self._paths, "status"), "may_write": False}
        except XdpwallError:
            return None

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            news = self.ask()
            if self._stop.is_set():
                break
            self._deliver(news)
            self._wake.wait(self._interval)
        self._hang_up()
