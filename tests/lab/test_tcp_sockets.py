# SPDX-License-Identifier: Apache-2.0
"""Connections one by one, and routes, asked of a real kernel in a namespace of the test's own."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.lab.test_sockets import HERE, HERE6, THERE, THERE6, Host, host, link, packed
from xdpwall.dataplane.routes import next_hops, routers
from xdpwall.dataplane.tcp_sockets import MOST_PEERS, Connection, connections
from xdpwall.model import Prefix

__all__ = ["host"]


def here(sock: socket.socket) -> Connection:
    """What is told of the connection that this end belongs to."""
    local, port = sock.getsockname()[:2]
    own = packed(local.removeprefix("::ffff:"))
    (found,) = (c for c in connections(counted=True) if (c.flow.local, c.flow.local_port) == (own, port))
    return found


def test_whose_socket_it_is_and_what_came_in(host: Host) -> None:
    made, taken = host.connect(THERE, host.listener(HERE), HERE)
    for end in (made, taken):
        target = Path(f"/proc/self/fd/{end.fileno()}").readlink()
        assert str(target) == f"socket:[{here(end).inode}]"
    assert here(taken).octets == 0
    before = here(taken).segments
    for _ in range(20):
        made.sendall(bytes(1_000))
        assert len(taken.recv(1_000, socket.MSG_WAITALL)) == 1_000
    assert here(taken).octets == 20_000
    assert 20 <= here(taken).segments - before <= 60
    assert here(made).octets == 0


def test_one_that_nobody_holds_any_more(host: Host) -> None:
    made, taken = host.connect(THERE, host.listener(HERE), HERE)
    number = made.getsockname()[1]
    made.close()
    waiting = [c for c in connections() if c.flow.local_port == number]
    assert [c.inode for c in waiting] in ([], [0])
    assert here(taken).inode


@pytest.mark.parametrize(
    ("peers", "expected"),
    [
        ([THERE], {THERE}),
        ([HERE], {HERE}),
        ([THERE, HERE], {THERE, HERE}),
        (["192.0.2.0/24"], {THERE, HERE}),
        ([THERE6], {THERE6}),
        (["2001:db8::/64"], {THERE6, HERE6}),
        ([THERE, THERE6, "198.51.100.1"], {THERE, THERE6}),
        (["198.51.100.1", "2001:db8:1::/64"], set()),
        ([f"198.18.{n >> 8}.{n & 255}" for n in range(MOST_PEERS - 1)] + [THERE], {THERE}),
        ([], {THERE, HERE, THERE6, HERE6}),
    ],
)
def test_the_kernel_chooses(host: Host, peers: list[str], expected: set[str]) -> None:
    host.connect(THERE, host.listener(HERE), HERE)
    host.connect(THERE6, host.listener(HERE6), HERE6)
    found = connections(peers=[Prefix.parse(peer) for peer in peers])
    texts = {
        socket.inet_ntop(socket.AF_INET if len(c.flow.peer) == 4 else socket.AF_INET6, c.flow.peer)
        for c in found
    }
    assert texts == expected


def test_ipv4_on_a_socket_of_both_families(host: Host) -> None:
    host.connect(THERE, host.listener("::", dual=True), HERE)
    found = list(connections(peers=[Prefix.parse(THERE)]))
    assert [c.flow.peer for c in found] == [packed(THERE)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def test_next_hops_of_all_routes(host: Host) -> None:
    assert next_hops() == ({}, True)
    link("up0")
    ip("addr", "add", "10.1.0.1/24", "dev", "up0")
    ip("-6", "addr", "add", "fd01::1/64", "dev", "up0", "nodad")
    for words in (
        "default via 10.1.0.254",
        "10.9.0.0/16 via 10.1.0.2",
        "10.8.0.0/24 via 10.1.0.2",
        "10.7.0.0/24 nexthop via 10.1.0.3 nexthop via 10.1.0.4",
        "10.6.0.0/24 via inet6 fd01::5",
        "blackhole 10.5.0.0/24",
    ):
        ip("route", "add", *words.split())
    ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "up0")
    hops, whole = next_hops()
    assert whole
    assert hops == {
        "10.1.0.254": "default",
        "10.1.0.2": "10.9.0.0/16",
        "10.1.0.3": "10.7.0.0/24",
        "10.1.0.4": "10.7.0.0/24",
        "fd01::5": "10.6.0.0/24",
        "fe80::1": "default",
    }


def test_routers_among_the_neighbours(host: Host) -> None:
    link("up0")
    add = ["-6", "neigh", "replace", "lladdr", "02:00:00:00:00:01", "dev", "up0"]
    ip(*add, "to", "fe80::1", "nud", "permanent", "router")
    ip(*add, "to", "fe80::2", "nud", "permanent")
    ip(*add, "to", "fe80::3", "nud", "stale", "router")
    assert routers() == ["fe80::1"]
