# SPDX-License-Identifier: Apache-2.0
"""The control socket, a real one: whoever talks on it, and however badly, the ticks go on."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from xdpwall.control import protocol
from xdpwall.control.client import Connection, call
from xdpwall.control.server import MAX_CLIENTS, Listing, Server
from xdpwall.errors import (
    BusyError,
    ConfigError,
    ConfigProblem,
    InputError,
    NoControllerError,
    NotFoundError,
    RefusedError,
    XdpwallError,
)
from xdpwall.paths import Paths


async def answer(op: str, args: dict[str, Any]) -> Any:
    """A handler with every kind of end."""
    match op:
        case "ping":
            return {"pid": os.getpid()}
        case "ban.list":
            return Listing("bans", iter([{"n": n, "pad": "x" * 100} for n in range(25_000)]), {"extra": 1})
        case "allow.list":
            return Listing("allow", iter([]))
        case "ban.flush":
            raise RefusedError("no", hint="never")
        case "reload":
            raise ConfigError("/etc/x.toml", [ConfigProblem("bans.time", 7, "too short")])
        case "status":
            raise ZeroDivisionError("a bug")
        case "ban.test":
            raise NotFoundError("nothing")
        case "sources":
            await asyncio.sleep(30)
    return args


class Running:
    """A server in a thread, beside a ticker that shows whether the loop is held up."""

    def __init__(self, paths: Paths, handler: Callable[[str, dict[str, Any]], Awaitable[Any]]) -> None:
        self.paths = paths
        self.ticks = 0
        self._handler = handler
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.server = Server(self.paths.socket, self._handler, idle_seconds=0.5, write_seconds=0.5)
        await self.server.start()
        ticker = asyncio.create_task(self._tick())
        self._ready.set()
        await self._stop.wait()
        ticker.cancel()
        await self.server.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.ticks += 1

    def start(self) -> None:
        self.paths.runtime.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def wait_ticks(self, count: int) -> None:
        """Until the loop went round so often."""
        target = self.ticks + count
        waiting = threading.Event()
        for _ in range(1_000):
            if self.ticks >= target:
                return
            waiting.wait(0.01)
        raise AssertionError("the loop stands still")


@pytest.fixture
def running(paths: Paths) -> Iterator[Running]:
    server = Running(paths, answer)
    server.start()
    yield server
    server.stop()


def raw(paths: Paths) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(paths.socket))
    return sock


def read_line(sock: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        piece = sock.recv(65_536)
        assert piece, data
        data += piece
    result: dict[str, Any] = json.loads(data)
    return result


def test_many_calls_on_one_connection(running: Running) -> None:
    with Connection(running.paths) as connection:
        for _ in range(100):
            assert connection.call("ping") == {"pid": os.getpid()}
        assert connection.call("ban.del", prefixes=["a", "b"]) == {"prefixes": ["a", "b"]}


def test_a_long_list_arrives_whole(running: Running) -> None:
    result = call(running.paths, "ban.list")
    assert [row["n"] for row in result["bans"]] == list(range(25_000))
    assert result["extra"] == 1
    assert call(running.paths, "allow.list") == {"allow": []}


def test_errors_cross_the_socket_whole(running: Running) -> None:
    with Connection(running.paths) as connection:
        with pytest.raises(RefusedError) as refused:
            connection.call("ban.flush")
        assert (refused.value.message, refused.value.hint, refused.value.exit_code) == ("no", "never", 5)
        with pytest.raises(ConfigError) as config:
            connection.call("reload")
        assert config.value.problems == [ConfigProblem("bans.time", 7, "too short")]
        with pytest.raises(NotFoundError):
            connection.call("ban.test", prefix="x")
        with pytest.raises(XdpwallError, match="bug") as bug:
            connection.call("status")
        assert "ZeroDivision" not in str(bug.value)  # the traceback is for the log, not for the client
        assert connection.call("ping")


def test_the_socket_is_roots_alone(running: Running) -> None:
    assert stat.S_IMODE(running.paths.socket.stat().st_mode) == 0o600


def test_a_socket_left_behind_is_replaced(paths: Paths) -> None:
    paths.runtime.mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(paths.socket))
    left.close()
    with pytest.raises(NoControllerError):
        call(paths, "ping")
    server = Running(paths, answer)
    server.start()
    assert call(paths, "ping")
    server.stop()
    assert not paths.socket.exists()
    with pytest.raises(NoControllerError):
        call(paths, "ping")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"[]\n",
        b'{"op": 5}\n',
        b'{"op": "explode"}\n',
        b'{"op": "ping", "schema": 2}\n',
        b'{"op": "ping", "extra": 1}\n',
        b'{"op": "ban.add"}\n',
        b'{"op": "ban.add", "items": []}\n',
        b'{"op": "ban.add", "items": [{"prefix": "1.2.3.4", "for_ms": -1}]}\n',
        b'{"op": "ban.add", "items": [{"prefix": "1.2.3.4", "for_ms": 1.5}]}\n',
        b'{"op": "ban.add", "items": [{"prefix": 5}]}\n',
        b'{"op": "sources", "sort": "beauty"}\n',
        b'{"op": "sources", "limit": true}\n',
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"op": ' + b"9" * 5_000 + b"}\n",
    ],
)
def test_rubbish_gets_a_clean_answer_and_the_line_stays_open(running: Running, line: bytes) -> None:
    with raw(running.paths) as sock:
        sock.sendall(line)
        reply = read_line(sock)
        assert reply["ok"] is False
        assert reply["error"]["exit_code"] == 2
        assert "Traceback" not in reply["error"]["message"]
        sock.sendall(b'{"op":"ping"}\n')
        assert read_line(sock)["ok"] is True


def test_a_request_without_end_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(running.paths) as sock:
        piece = b"x" * (1 << 20)
        reply: dict[str, Any] = {}
        try:
            for _ in range(40):
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            reply = read_line(sock)
        except (ConnectionResetError, AssertionError):
            return  # hung up on: just as good
        assert "bytes at most" in reply["error"]["message"]


def test_half_a_line_and_silence_are_hung_up_on(running: Running) -> None:
    with raw(running.paths) as half, raw(running.paths) as silent:
        half.sendall(b'{"op": "pi')
        assert half.recv(100) == b""
        assert silent.recv(100) == b""


def test_one_who_never_reads_holds_nobody_up(running: Running) -> None:
    with raw(running.paths) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for _ in range(5):
            deaf.sendall(b'{"op":"ban.list"}\n')
        running.wait_ticks(20)
        assert call(running.paths, "ping")
        running.wait_ticks(100)  # past its patience
        assert running.server.clients == 0


def test_one_who_waits_long_holds_nobody_up(running: Running) -> None:
    with raw(running.paths) as waiting:
        waiting.sendall(b'{"op":"sources"}\n')
        assert call(running.paths, "ping")


def test_too_many_are_told_so(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdpwall.control.client.BUSY_SECONDS", 0.0)
    with ExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            sock = stack.enter_context(raw(running.paths))
            sock.sendall(b'{"op":"ping"}\n')
            read_line(sock)
        with pytest.raises(BusyError, match="already talks to"):
            call(running.paths, "ping")
    running.wait_ticks(20)
    assert call(running.paths, "ping")


def test_an_operator_asks_again_until_somebody_silent_gave_way(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            sock = stack.enter_context(raw(running.paths))
            sock.sendall(b'{"op":"ping"}\n')
            read_line(sock)
        assert call(running.paths, "ping")


def test_a_slow_controller_is_given_up(running: Running) -> None:
    with pytest.raises(NoControllerError, match="did not answer"):
        call(running.paths, "sources", timeout=0.3)


def test_too_long_a_request_is_refused_before_it_is_sent(running: Running) -> None:
    with Connection(running.paths) as connection:
        with pytest.raises(InputError, match="at most"):
            connection.call("ban.del", prefixes=["x" * 90] * 200_000)
        assert connection.call("ping")


@pytest.mark.parametrize(
    "line", [b"{}", b"5", b"rubbish", b'{"ok": true}', b'{"ok": false, "error": 5}', b"[" * 99_999]
)
def test_an_answer_that_is_none_is_no_controller(line: bytes) -> None:
    with pytest.raises(NoControllerError):
        protocol.decode_answer(line)


def test_defaults_are_filled_in() -> None:
    assert protocol.decode_request(b'{"op":"sources"}') == ("sources", {"limit": 20, "sort": "pps"})
    op, args = protocol.decode_request(
        b'{"op":"ban.add","items":["1.2.3.4",{"prefix":"x","reason":" a\\u0007 b "}]}'
    )
    assert op == "ban.add"
    assert args == {"items": [{"prefix": "1.2.3.4"}, {"prefix": "x", "reason": "a b"}], "reason": ""}
