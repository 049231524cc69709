# SPDX-License-Identifier: Apache-2.0
"""Tells people: a command, a web hook, apprise. In a thread of its own, so that nothing the tick does waits for it.

A message that was sent lately is not sent again, there are no more than so many in an hour, and one that fails is tried
again with growing pauses.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from xdpwall.control import unprivileged

if TYPE_CHECKING:
    from xdpwall.config_incident import NotifyConfig


log = logging.getLogger(__name__)

_MOST_WAITING = 200
_HOUR_NS = 3_600_000_000_000
_FIRST_PAUSE = 2.0
_MOST_ERROR = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """One message.

    Args:
        moment: ``open``, ``escalate``, ``close``, ``diversion`` or ``problem``.
        about: what makes two messages the same, for example the incident's key.
        title: one line for people.
        text: some lines more.
        data: plain values for machines: the summary of the incident, or the finding.
    """

    moment: str
    about: str
    title: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """What a command reads and a web hook gets."""
        return {
            "schema": 1,
            "moment": self.moment,
            "about": self.about,
            "title": self.title,
            "text": self.text,
            "data": self.data,
        }


class NoticeGate:
    """Which messages are sent. Pure but for its memory."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self._sent: deque[int] = deque()
        self.held = 0
        """Messages that were not sent because there had been too many."""

    def admits(self, notice: Notice, config: NotifyConfig, mono_ns: int) -> bool:
        """Whether this one is to be sent; it counts as sent then."""
        if notice.moment not in config.on:
            return False
        key = (notice.moment, notice.about)
        last = self._last.get(key)
        if last is not None and mono_ns - last < config.repeat_ms * 1_000_000:
            return False
        while self._sent and mono_ns - self._sent[0] >= _HOUR_NS:
            self._sent.popleft()
        if len(self._sent) >= config.per_hour:
            self.held += 1
            return False
        self._sent.append(mono_ns)
        self._last[key] = mono_ns
        if len(self._last) > 10_000:
            self._last = {
                k: at for k, at in self._last.items() if mono_ns - at < config.repeat_ms * 1_000_000
            }
        return True


Sender: TypeAlias = "Callable[[dict[str, Any], NotifyConfig], None]"
"""Sends one payload, or raises OSError or a subprocess error that says why not."""


class Notifier:
    """The thread. It is started with the first message.

    Args:
        config: whom to tell.
        sleep: waits so many seconds, or less when it is time to stop; for tests.
    """

    def __init__(self, config: NotifyConfig, sleep: Callable[[float], object] | None = None) -> None:
        self._config = config
        self._gate = NoticeGate()
        self._queue: queue.Queue[tuple[Notice, NotifyConfig] | None] = queue.Queue(_MOST_WAITING)
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._thread: threading.Thread | None = None
        self.failed = 0
        """Messages that could not be delivered some way, after all tries."""
        self.last_error: str | None = None
        """Why, of the last one; None once one went through everywhere."""

    def configure(self, config: NotifyConfig) -> None:
        """Put another config in force."""
        self._config = config

    def tell(self, notice: Notice, mono_ns: int) -> bool:
        """Send this soon. Never waits. Gives whether it is to be sent."""
        if not self._gate.admits(notice, self._config, mono_ns):
            return False
        if notice.moment == "problem":  # an incident's lines are the herald's, whoever wants messages
            log.warning("%s", notice.title)
        if not senders(self._config):
            return False
        try:
            self._queue.put_nowait((notice, self._config))
        except queue.Full:
            self._fail("too many messages wait")
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
            self._thread.start()
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Send what waits, as far as that goes in time."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=0.1)
        except queue.Full:
            self._stopping.set()
        self._thread.join(seconds)
        self._stopping.set()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopping.is_set():
            notice, config = item
            payload = notice.payload()
            faults = [self._try(name, send, payload, config) for name, send in senders(config)]
            if not any(faults):
                self.last_error = None

    def _try(self, name: str, send: Sender, payload: dict[str, Any], config: NotifyConfig) -> bool:
        """Gives whether it failed for good."""
        pause = _FIRST_PAUSE
        error = ""
        for number in range(config.tries):
            if number:
                self._sleep(pause)
                pause = min(60.0, pause * 2)
            try:
                send(payload, config)
                return False
            except (OSError, subprocess.SubprocessError, ValueError) as fault:
                error = str(fault)[:_MOST_ERROR] or type(fault).__name__
            except Exception as fault:
                log.exception("sending a message by %s met a bug", name)
                error = repr(fault)[:_MOST_ERROR]
                break
        self._fail(f"{name}: {error}")
        return True

    def _fail(self, error: str) -> None:
        self.failed += 1
        self.last_error = error
        log.error("a message could not be delivered: %s", error)


def senders(config: NotifyConfig) -> list[tuple[str, Sender]]:
    """The ways that are configured."""
    found: list[tuple[str, Sender]] = []
    if config.command:
        found.append(("notify.command", run_command))
    if config.webhook:
        found.append(("notify.webhook", post))
    if config.apprise:
        found.append(("notify.apprise", by_apprise))
    return found


def run_command(payload: dict[str, Any], config: NotifyConfig) -> None:
    """Run the program, without our rights, with the message on its standard input.

    What it starts is ended with it when time is up.

    Raises:
        OSError: it cannot be run, or ended with another code than 0.
        TimeoutError: it took too long.
    """
    process = subprocess.Popen(
        unprivileged.wrapped(config.command, config.user),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env={
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "XDPWALL_MOMENT": str(payload["moment"]),
        },
    )
    try:
        _, said = process.communicate(json.dumps(payload).encode(), timeout=config.timeout_ms / 1000)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise TimeoutError(f"{config.command[0]} took longer than {config.timeout_ms} ms") from None
    finally:
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()
    if process.returncode:
        words = said.decode("utf-8", "replace").strip().splitlines()
        raise OSError(
            f"{config.command[0]} ended with {process.returncode}{f': {words[-1]}' if words else ''}"
        )


def post(payload: dict[str, Any], config: NotifyConfig) -> None:
    """Post it as JSON.

    Raises:
        OSError: it could not be delivered, or the answer was none of success.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "xdpwall"}
    if config.webhook_token:
        headers["Authorization"] = f"Bearer {config.webhook_token}"
    from xdpwall.control import web  # noqa: PLC0415  (its memory is only spent where it is used)

    web.post(config.webhook, json.dumps(payload).encode(), headers, config.timeout_ms / 1000)


def by_apprise(payload: dict[str, Any], config: NotifyConfig) -> None:
    """By the apprise library, to whatever it knows.

    Raises:
        OSError: the library is not installed, or something could not be delivered.
    """
    try:
        import apprise  # noqa: PLC0415  (an extra)
    except ImportError:
        raise OSError('the apprise library is not installed: pip install "xdpwall[notify]"') from None
    box = apprise.Apprise()
    for address in config.apprise:
        if not box.add(address):
            raise OSError(
                f"apprise does not understand an address of the kind {address.partition(':')[0][:20]!r}"
            )
    kind = {"open": "failure", "escalate": "failure", "close": "success"}.get(
        str(payload["moment"]), "warning"
    )
    if not box.notify(title=str(payload["title"]), body=str(payload["text"]), notify_type=kind):
        raise OSError("apprise could not deliver the message")
