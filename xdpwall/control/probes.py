# SPDX-License-Identifier: Apache-2.0
"""Tries own services now and then, in a thread of its own: a TCP connection, or an HTTP request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from xdpwall.incident.users import ProbeResult

if TYPE_CHECKING:
    from xdpwall.config_incident import ProbesConfig

_MOST_WAITING = 1_000


class Prober:
    """The thread. It is started only when there is something to probe.

    Args:
        config: what to probe.
    """

    def __init__(self, config: ProbesConfig) -> None:
        self._config = config
        self._results: deque[ProbeResult] = deque(maxlen=_MOST_WAITING)
        self._wake = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if there is anything to do."""
        if self._thread is None and (self._config.tcp or self._config.http):
            self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
            self._thread.start()

    def configure(self, config: ProbesConfig) -> None:
        """Put another config in force."""
        self._config = config
        self._wake.set()
        self.start()

    def stop(self) -> None:
        """End soon; a try that is under way is not waited for."""
        self._stop = True
        self._wake.set()

    def take(self) -> list[ProbeResult]:
        """Results since the last time."""
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._results.popleft())
        return found

    def _run(self) -> None:
        while not self._stop:
            config = self._config
            began = time.monotonic()
            for place in config.tcp:
                self._results.append(_timed(f"tcp {place}", place, partial(_connect, place, config)))
            for url in config.http:
                self._results.append(_timed(f"http {url}", url, partial(_get, url, config)))
            self._wake.wait(max(0.1, config.interval_ms / 1000 - (time.monotonic() - began)))
            self._wake.clear()


def _timed(name: str, target: str, step: Callable[[], None]) -> ProbeResult:
    began = time.monotonic()
    error = ""
    try:
        step()
    except TimeoutError:
        error = "no answer in time"
    except (OSError, ValueError) as fault:
        error = str(fault) or type(fault).__name__
    return ProbeResult(name, target, not error, (time.monotonic() - began) * 1000, error)


def _connect(place: str, config: ProbesConfig) -> None:
    host, _, port = place.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=config.timeout_ms / 1000):
        pass


def _get(url: str, config: ProbesConfig) -> None:
    from xdpwall.control import web  # noqa: PLC0415  (its memory is only spent where it is used)

    web.reach(url, config.timeout_ms / 1000)
