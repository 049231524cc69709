# SPDX-License-Identifier: Apache-2.0
"""SYN cookies with real clients, a real server, and a controller that comes and goes."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.traffic import PATIENCE, wait_for
from xdpwall.dataplane import cookies
from xdpwall.dataplane.wall import Wall
from xdpwall.lab import attach, crowd, legit, namespaces, run, storm
from xdpwall.lab.flood import Flood, Pace
from xdpwall.lab.scenario import Storm
from xdpwall.lab.scenarios import REGISTRY
from xdpwall.lab.topology import Lab
from xdpwall.reasons import Reason

PORT = legit.PORT
BULK = 200_000
_STAMPS, _SACK, _SCALE = 1, 2, 4
"""TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK and TCPI_OPT_WSCALE of the kernel's uapi/linux/tcp.h."""
TIGHT = """
[limits.source]
pps = 0
bps = 0
syn = 0
[limits.prefix]
pps = 0
bps = 0
syn = 0
[lanes]
syn = { pps = 1 }
tcp = { pps = 20 }
burst = "10ms"
"""
"""Every request is over budget, and what follows it needs proof."""


class Connection(NamedTuple):
    """Of ``struct tcp_info``: options, window scales, MSS, and segments that had to be sent again."""

    options: int
    their_scale: int
    our_scale: int
    mss: int
    again: int


def tcp_info(sock: socket.socket) -> Connection:
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    (mss,) = struct.unpack_from("I", raw, 16)
    (again,) = struct.unpack_from("I", raw, 100)
    return Connection(raw[5], raw[6] & 15, raw[6] >> 4, mss, again)


class Server:
    """Takes ``BULK`` bytes of each connection and gives as many back. Knows the last connection as it sees it."""

    def __init__(self, lab: Lab) -> None:
        self.seen: list[Connection] = []
        self._sock = namespaces.inside(lab.namespace("wall"), self._listen)
        threading.Thread(target=self._serve, name="server", daemon=True).start()

    def _listen(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6)
        sock.bind(("::", PORT))
        sock.listen(1_024)
        return sock

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            peer.settimeout(PATIENCE)
            info = tcp_info(peer)
            if receive(peer) == BULK:
                peer.sendall(bytes(BULK))
                self.seen.append(info)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def receive(sock: socket.socket) -> int:
    count = 0
    while count < BULK and (data := sock.recv(65_536)):
        count += len(data)
    return count


def connect(lab: Lab, number: int, *, v6: bool = False, mss: int | None = None) -> Connection:
    """A newcomer with an address of its own connects, and data goes both ways."""

    def visit() -> Connection:
        family = socket.AF_INET6 if v6 else socket.AF_INET
        with socket.socket(family) as sock:
            if mss is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
            sock.settimeout(PATIENCE)
            own = crowd.CROWD6[number << 64 | 1] if v6 else crowd.CROWD4[number + 1]
            sock.bind((str(own), 0))
            sock.connect((lab.server6 if v6 else lab.server4, PORT))
            info = tcp_info(sock)
            sock.sendall(bytes(BULK))
            assert receive(sock) == BULK
            return info

    return namespaces.inside(lab.namespace("client"), visit)


def settings(lab: Lab) -> tuple[int, int]:
    """net.ipv4.tcp_syncookies and tcp_timestamps of the protected host."""

    def read() -> tuple[int, int]:
        folder = Path("/proc/sys/net/ipv4")
        return int((folder / "tcp_syncookies").read_text()), int((folder / "tcp_timestamps").read_text())

    return namespaces.inside(lab.namespace("wall"), read)


def sent(lab: Lab) -> int:
    """Cookies so far."""
    with Wall.open(lab.paths) as wall:
        totals = wall.verdicts().values()
    return sum(reasons[Reason.COOKIE_SENT].packets for reasons in totals if Reason.COOKIE_SENT in reasons)


def begin(lab: Lab) -> None:
    """Requests over budget, until the controller has cookies on and the listener is ready for both families."""
    ready = {False: 0, True: 0}
    for number in range(100_000, 100_400):
        v6 = bool(number & 1)
        before = sent(lab)
        connect(lab, number, v6=v6)
        ready[v6] += sent(lab) > before
        if settings(lab) == (2, 2) and min(ready.values()) >= 2:
            return
    pytest.fail("no cookies were sent")


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """No test where the kernel has no SYN cookies for XDP."""
    if not cookies.are_possible():
        pytest.skip("this kernel makes no SYN cookies for XDP (6.0 or later, CONFIG_SYN_COOKIES)")


@pytest.fixture
def visited(lab: Lab) -> Iterator[Lab]:
    """A lab with a crowd of clients and a listening server; the wall is loaded, no controller runs."""
    crowd.settle(lab.namespace("client"), lab.namespace("net"))
    link = lab.wall_links[0]
    lab.at_end(functools.partial(os.close, attach.wire(lab.namespace("net"), link, lab.client_link)))
    server = Server(lab)
    lab.write_config(TIGHT)
    lab.load()
    yield lab
    server.close()
    shutil.rmtree(lab.paths.state, ignore_errors=True)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_a_connection_is_what_it_would_have_been(visited: Lab, v6: bool) -> None:
    plain = connect(visited, 1, v6=v6)
    visited.start_controller()
    begin(visited)
    before = sent(visited)
    found = [connect(visited, number, v6=v6) for number in range(10, 40)]
    assert sent(visited) - before >= 15
    assert {(c.options & 7, c.their_scale, c.our_scale, c.mss) for c in found} == {
        (_STAMPS | _SACK | _SCALE, plain.their_scale, plain.our_scale, plain.mss)
    }
    assert sum(c.again > 0 for c in found) <= 2
    assert connect(visited, 50, v6=v6, mss=900).mss <= 900


def test_newcomers_get_through_a_flood(visited: Lab) -> None:
    visited.start_controller()
    begin(visited)
    attack = REGISTRY["syn-spoofed"].attack
    assert isinstance(attack, Storm)
    flood = Flood(
        visited,
        storm.program(attack, run.target(visited.wall_links[0]), 5),
        Pace(30_000, 60.0, at_most_seconds=60.0),
    )
    flood.prepare()
    flood.go()
    wait_for(lambda: flood.latest().sent > 1_000, "the flood begins")
    found = [connect(visited, number, v6=number % 4 == 3) for number in range(1_000, 1_200)]
    flood.finish()
    assert sum(c.again > 1 for c in found) <= 1, "99.5 % at the first or second try"
    assert sent(visited) > 1_000


def test_settings_come_back(visited: Lab) -> None:
    before = settings(visited)
    assert before == (1, 1)
    controller = visited.start_controller()
    begin(visited)
    assert settings(visited) == (2, 2)
    events = [row["detail"] for row in visited.ask("history")["history"] if row["event"] == "cookies"]
    assert events == ["on: net.ipv4.tcp_syncookies 1 -> 2, net.ipv4.tcp_timestamps 1 -> 2"]
    controller.send_signal(signal.SIGTERM)
    assert controller.wait(20) == 0
    assert settings(visited) == before
    assert list(visited.paths.state.glob("sysctls-*")) == []


def test_settings_come_back_after_a_kill(visited: Lab) -> None:
    controller = visited.start_controller()
    begin(visited)
    controller.kill()
    controller.wait(20)
    assert settings(visited) == (2, 2)
    count = sent(visited)
    for number in range(10, 30):  # the wall goes on, and so does the stack
        connect(visited, number, v6=bool(number & 1))
    assert sent(visited) > count
    again = visited.start_controller()
    assert settings(visited) == (2, 2)
    again.send_signal(signal.SIGTERM)
    assert again.wait(20) == 0
    assert settings(visited) == (1, 1)


def test_settings_come_back_with_an_unload(visited: Lab) -> None:
    controller = visited.start_controller()
    begin(visited)
    controller.kill()
    controller.wait(20)
    done = visited.wall("unload")
    assert "net.ipv4.tcp_syncookies is 1 again" in done.stderr
    assert settings(visited) == (1, 1)
    assert list(visited.paths.state.glob("sysctls-*")) == []


def test_an_unload_under_a_controller(visited: Lab) -> None:
    visited.start_controller()
    begin(visited)
    visited.wall("unload")
    wait_for(lambda: settings(visited) == (1, 1), "settings come back")
    wait_for(lambda: "no wall" in "".join(visited.ask("status")["problems"]), "the controller sees it")
    assert settings(visited) == (1, 1)
