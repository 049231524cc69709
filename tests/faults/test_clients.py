# SPDX-License-Identifier: Apache-2.0
"""Whoever misuses the control socket: ticks go on, memory stays small, and the operator gets an answer."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checks import BANNED, flooded, said
from tests.faults.ledger import Ledger, Loss, Stopwatch
from tests.lab.traffic import Field, wait_for
from xdpwall.control import protocol
from xdpwall.control.server import MAX_CLIENTS
from xdpwall.lab.topology import Lab

CROWD = 1_000
SLACK_KB = 120_000
"""Four requests of the largest size may come in at once; 1,000 clients that send gigabytes take no more."""


@pytest.fixture
def controlled(lab: Lab) -> Iterator[tuple[Lab, subprocess.Popen[Any]]]:
    """A wall with its controller, and room for many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    lab.load()
    yield lab, lab.start_controller()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def caller(lab: Lab) -> socket.socket:
    """Somebody on the socket."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(10)
    made.connect(str(lab.paths.socket))
    return made


def rss_kb(process: subprocess.Popen[Any]) -> int:
    """Resident memory."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@contextmanager
def ticking(lab: Lab) -> Iterator[None]:
    """Ticks go on while the block runs, none much later than its turn, and no problem of ours is seen."""
    before = lab.ask("status")["controller"]["ticks"]
    yield
    wait_for(lambda: lab.ask("status")["controller"]["ticks"] > before + 3, "ticks go on")
    assert "met a bug" not in "\n".join(lab.ask("status")["problems"])
    assert "Traceback" not in said(lab)


RUBBISH = (
    b"\n",
    b"\0" * 5_000 + b"\n",
    b"{}\n",
    b"[" * 60_000 + b"\n",
    b'{"op": "ban.add", "items": 7}\n',
    b'{"op": "ban.add", "items": [{"prefix": "' + b"9" * 70_000 + b'"}]}\n',
    b'{"op": "status", "op": {"\xff": 1e999}}\n',
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
)


def test_rubbish_is_answered(controlled: tuple[Lab, subprocess.Popen[Any]]) -> None:
    lab, _ = controlled
    for rubbish in RUBBISH:
        with ticking(lab), caller(lab) as client:
            client.sendall(rubbish)
            assert b'"ok":false' in client.recv(65_536), rubbish[:40]


@pytest.mark.timeout(300)
def test_a_crowd(controlled: tuple[Lab, subprocess.Popen[Any]], field: Field, ledger: Ledger) -> None:
    """1,000 that say nothing, send half a line, send without end, or never read; an operator bans meanwhile."""
    lab, process = controlled
    lab.wall("ban", "add", BANNED, "--for", "perm")
    small = rss_kb(process)
    endless = b"x" * 65_536
    with ExitStack() as stack, ticking(lab), flooded(field, [BANNED]) as flood:
        crowd = [stack.enter_context(caller(lab)) for _ in range(CROWD)]
        for number, client in enumerate(crowd):
            client.setblocking(False)
            with suppress(OSError):  # hung up on: there are places for 32
                client.sendall([b"", b'{"op": "sta', b'{"op": "ban.list"}\n' * 500, b"{"][number % 4])
        for _ in range(200):
            for client in crowd[3::4]:
                with suppress(OSError):
                    client.send(endless)
        most = 0
        watch = Stopwatch()
        for number in range(5):
            lab.wall("ban", "add", f"203.0.113.{20 + number}")
            most = max(most, rss_kb(process))
        took = watch.ms
        assert most < small + SLACK_KB
        sent = flood.latest().sent
    assert field.passed().of(0) == 0
    assert lab.ask("status")["bans"]["exact"] == 6
    ledger.put(
        Loss(f"{CROWD} clients on the socket", sent, note=f"5 bans in {took} ms, {most - small} kB more")
    )


def test_a_request_without_end(controlled: tuple[Lab, subprocess.Popen[Any]], ledger: Ledger) -> None:
    """A gigabyte on one line: hung up on at 16 MiB, and never more than that in memory."""
    lab, process = controlled
    small, sent, piece = rss_kb(process), 0, b" " * (1 << 20)
    with ticking(lab), caller(lab) as client:
        with suppress(ConnectionError):
            while sent < 1 << 30:
                client.sendall(piece)
                sent += len(piece)
        assert sent < 2 * protocol.MAX_REQUEST_BYTES
        assert rss_kb(process) < small + SLACK_KB
    ledger.put(Loss("a request without end", note=f"hung up after {sent >> 20} MiB"))


def test_the_silent_give_way(controlled: tuple[Lab, subprocess.Popen[Any]]) -> None:
    """All places are taken by root's own forgotten connections: the operator gets in all the same."""
    lab, _ = controlled
    with ExitStack() as stack:
        idle = [stack.enter_context(caller(lab)) for _ in range(MAX_CLIENTS)]
        for client in idle:
            client.sendall(b'{"op": "ping"}\n')
            assert b'"ok":true' in client.recv(65_536)
        wait_for(lambda: lab.wall("ban", "list", check=False).returncode == 0, "the operator gets in")
