# SPDX-License-Identifier: Apache-2.0
"""Attempts to have somebody banned by flooding in his name, against real sockets; and one who deserves it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.lab.traffic import PATIENCE, Field, more, wait_for
from xdpwall.lab import marks, namespaces
from xdpwall.lab.flood import flood_cpu
from xdpwall.lab.network import CLIENT_LINK
from xdpwall.lab.scenario import Traffic

USER, BOT = CLIENT_LINK.host.v4, "5.3.7.9"
PORT = 8_080
CONFIG = """
[limits.source]
pps = 2000
syn = 100
udp = 1000
icmp = 200
[limits.prefix]
pps = 0
bps = 0
syn = 0
udp = 0
icmp = 0
[proof]
refresh = "1s"
"""


class Echo:
    """A server behind the wall, and one client with an open connection."""

    def __init__(self, field: Field) -> None:
        self._lab = field.lab
        self._listener = namespaces.inside(self._lab.namespace("wall"), self._listen)
        threading.Thread(target=self._serve, name="echo", daemon=True).start()
        self.sock = namespaces.inside(self._lab.namespace("client"), self._connect)

    def _listen(self) -> socket.socket:
        return socket.create_server((self._lab.server4, PORT))

    def _connect(self) -> socket.socket:
        return socket.create_connection((self._lab.server4, PORT), timeout=PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    @staticmethod
    def _answer(peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(1_000):
                peer.sendall(data)

    def trip(self) -> float:
        """There and back. Gives the seconds that took."""
        began = time.monotonic()
        self.sock.settimeout(120)
        self.sock.sendall(b"x" * 100)
        got = 0
        while got < 100:
            data = self.sock.recv(100 - got)
            assert data, "the connection broke off"
            got += len(data)
        return time.monotonic() - began

    def close(self) -> None:
        """Hang up, stop serving."""
        self.sock.close()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo(field: Field) -> Iterator[Echo]:
    """A loaded wall with a controller, and a connection through it that the wall knows of."""
    field.lab.write_config(CONFIG)
    field.lab.load("-i", "wan0")
    field.lab.start_controller("-i", "wan0")
    with closing(Echo(field)) as made:
        made.trip()
        ticks = field.lab.ask("status")["controller"]["ticks"] + 30
        wait_for(lambda: field.lab.ask("status")["controller"]["ticks"] > ticks, "the sockets were looked at")
        yield made


def banned(field: Field) -> set[str]:
    return {ban["prefix"] for ban in field.lab.wall_json("ban", "list")["bans"]}


def problems(field: Field) -> list[str]:
    found: list[str] = field.lab.ask("status")["problems"]
    return found


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(udp=1.0, syn=0.0, ack=0.0),
        Traffic(udp=0.0, syn=1.0, ack=0.0),
        Traffic(udp=0.0, syn=0.0, ack=1.0),
    ],
    ids=["udp", "syn", "ack"],
)
def test_flooding_in_a_users_name_bans_nobody(field: Field, echo: Echo, traffic: Traffic) -> None:
    """Twenty times his limit. A stranger who sends the same is banned; the user is not, and his connection goes on."""
    lab = field.lab
    if (cpu := flood_cpu()) is not None:
        lab.receive_on(cpu)
    quiet = max(echo.trip() for _ in range(20))
    attack = field.flood([USER, BOT], pps=80_000, seconds=120.0, traffic=traffic)
    attack.go()
    wait_for(lambda: BOT in banned(field), "the stranger is banned")
    wait_for(lambda: any(USER in text for text in problems(field)), "it is said who is held back")
    trips = [echo.trip() for _ in range(50)]
    more(attack, 100_000)
    bans = banned(field)
    status = lab.ask("status")
    report = attack.finish()
    assert bans == {BOT}
    assert status["state"] == "UNDER_ATTACK"
    events = {(row["event"], row["prefix"]) for row in lab.ask("history", limit=500)["history"]}
    assert ("held_back", USER) in events
    echo.trip()
    print(
        f"{report.sent} packets, half of them in his name; {status['totals']['dropped_packets']} dropped by then; "
        f"50 of 50 round trips, worst {max(trips) * 1000:.0f} ms (quiet {quiet * 1000:.0f} ms)"
    )
    wait_for(lambda: not any(USER in text for text in problems(field)), "it is over", seconds=60)


def test_who_floods_on_his_own_connection_is_banned(field: Field, echo: Echo) -> None:
    """His own segments, by the thousand: the kernel's socket took what passed of them, so nobody else sent them."""
    frame = own_segment(field, echo)
    stop = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((field.lab.wall_links[0].net.ifname, 0))
            while not stop.is_set():
                for _ in range(60):
                    raw.send(frame)
                time.sleep(0.005)

    thread = threading.Thread(
        target=namespaces.inside, args=(field.lab.namespace("net"), flood), name="flood", daemon=True
    )
    thread.start()
    try:
        wait_for(lambda: USER in banned(field), "he is banned", seconds=60)
    finally:
        stop.set()
        thread.join()


def own_segment(field: Field, echo: Echo) -> bytes:
    """A bare acknowledgement on the user's connection."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    ends = field.lab.wall_links[0]
    port: Any = echo.sock.getsockname()[1]
    ip = IP(src=USER, dst=ends.host.v4) / TCP(sport=port, dport=PORT, flags="A", seq=1, ack=1)
    return bytes(Ether(src=marks.source_mac(0).hex(":"), dst=ends.host.mac) / ip)
