# SPDX-License-Identifier: Apache-2.0
"""The control socket of a real controller: whatever is said, it answers or hangs up, and goes on."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.readers import mutate, readers
from tests.unit.control.conftest import TestPaths, config
from tests.unit.control.test_ops import Process
from xdpwall.control import protocol

pytestmark = pytest.mark.timeout(600)
REQUESTS = 600
_PATIENCE_S = 60
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 5, 1 << 31, 1 << 50, 1 << 70, -(1 << 63), 1.5, float("inf"), float("nan"), "", " ",
    "last", "pps", "192.0.2.1", "192.0.2.0/24", "0.0.0.0/0", "::/0", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%eth0",
    "1.2.3.4/33", "\x00", "\ud800", "\u202e\x1b[2J", "' OR 1=1 --", "x" * 300, [], [None], [[]], ["192.0.2.9", 5],
    {}, {"prefix": 5}, {"prefix": "192.0.2.3", "for_ms": -1},
    [{"prefix": "192.0.2.4", "for_ms": 1, "reason": "\ud800"}],
    [{"prefix": "2001:db8::/32"}], "192.0.2.1 5 198.51.100.1 22",
)  # fmt: skip


class _Heap:
    """One of :data:`_VALUES` for each argument that an op has, and some that it has not."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def request(self) -> bytes:
        op = self.chance.choice(sorted(protocol.OPS))
        args = {name: self.value() for name in protocol.OPS[op] if self.chance.random() < 0.8}
        if self.chance.random() < 0.1:
            args["other"] = self.value()
        return json.dumps({"op": op, **args}).encode() + b"\n"

    def value(self) -> Any:
        value = self.chance.choice(_VALUES)
        return [value] if self.chance.random() < 0.3 else value


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A controller on a wall in memory."""
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="xw") as folder:
        made = Process(TestPaths("test", Path(folder)), [config() for _ in range(REQUESTS)])
        made.start()
        yield made
        made.stop()


def say(process: Process, raw: bytes) -> list[Any]:
    """Send bytes on a connection of their own, and read until the controller hangs up. Gives its answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_PATIENCE_S)
        link.connect(str(process.paths.socket))
        try:
            link.sendall(raw)
            link.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        heard = b""
        while True:
            try:
                more = link.recv(1 << 16)
            except ConnectionResetError:
                break
            if not more:
                break
            heard += more
    return [json.loads(line) for line in heard.splitlines()]


def test_no_request_is_a_bug(process: Process) -> None:
    heap = _Heap(11)
    good = 0
    for _ in range(REQUESTS):
        raw = heap.request()
        answers = say(process, raw)
        assert len(answers) == 1, raw
        (answer,) = answers
        assert answer["ok"] or answer["error"]["message"], raw
        assert answer["ok"] or "met a bug" not in answer["error"]["message"], raw
        good += answer["ok"]
    assert good > REQUESTS // 20
    assert process.ask("ping")["pid"]
    assert process.ask("status")["controller"]["running"]


def test_bytes_that_are_no_request(process: Process) -> None:
    reader = readers()["request"]
    chance = random.Random(12)
    for _ in range(REQUESTS):
        raw = mutate(chance.choice(reader.seeds), chance, reader.seeds)
        for answer in say(process, raw):
            assert answer["ok"] or "met a bug" not in answer["error"]["message"], raw
    assert process.ask("ping")["pid"]
