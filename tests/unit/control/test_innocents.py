# SPDX-License-Identifier: Apache-2.0
"""Attempts to have somebody else banned, and sources that deserve it, on a wall in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from tests.unit.control.conftest import Rig
from xdpwall.control.innocents import MOST_HOLES, Reading
from xdpwall.control.sockets import peers_of
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.keys import source_key
from xdpwall.detection.keys import prefix_keys
from xdpwall.errors import KernelError
from xdpwall.model import Prefix

USER, BOT = "198.51.100.7", "203.0.113.9"
HERE = bytes([192, 0, 2, 1])


def key(text: str) -> int:
    return source_key(Prefix.parse_source(text))


def flow(text: str, port: int = 50_000) -> Flow:
    return Flow(6, HERE, 443, Prefix.parse(text).packed, port)


class Sockets:
    """The host's sockets: who is connected, and what each connection took in."""

    def __init__(self, rig: Rig) -> None:
        innocents = rig.engine.sentinel.innocents
        assert innocents is not None
        self.innocents = innocents
        self.flows: dict[Flow, int] = {}
        self.asked: list[list[Prefix]] = []
        innocents._peers = lambda: peers_of(list(self.flows))
        innocents._read = self.read
        innocents._submit = at_once

    def read(self, sources: list[Prefix]) -> Reading:
        self.asked.append(sources)
        segments = {
            f: n
            for f, n in self.flows.items()
            if any(s.contains(Prefix(f.peer, len(f.peer) * 8)) for s in sources)
        }
        return Reading(frozenset(map(source_key, sources)), segments)


def at_once(work: Callable[[], Reading]) -> Future[Reading]:
    future: Future[Reading] = Future()
    future.set_result(work())
    return future


@pytest.fixture
def sockets(rig: Rig) -> Sockets:
    return Sockets(rig)


def banned(rig: Rig) -> set[str]:
    return {str(ban.prefix) for ban in rig.engine.book.bans()}


def seconds(rig: Rig, count: int, each: Callable[[], None]) -> None:
    for _ in range(count):
        rig.ticks(10, each=each)
        rig.engine.second()


@pytest.mark.parametrize("kind", ["udp", "syn", "icmp"])
@pytest.mark.parametrize("proof", ["handshake", "socket"])
def test_nobody_is_banned_for_what_may_be_forged(
    rig: Rig, wall: FakeWall, sockets: Sockets, kind: str, proof: str
) -> None:
    if proof == "handshake":
        wall.proven_keys.add(key(USER))
    else:
        sockets.flows[flow(USER)] = 0

    def flood() -> None:
        wall.feed(USER, 3_000, kind=kind)
        wall.feed(BOT, 3_000, kind=kind)

    seconds(rig, 25, flood)
    assert banned(rig) == {BOT}
    assert sockets.innocents.held == 1
    assert [text for text in rig.engine.health.problems if USER in text]
    rig.settle()
    assert rig.history().count(("held_back", USER)) == 1
    assert ("spared", None) in rig.history()
    assert key(USER) in wall.barred  # his handshake does not count beyond the budgets meanwhile


def test_tcp_of_no_flow_is_forged(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    """An ACK flood in his name breaks the limit on packets; his own connections carry next to nothing of it."""
    sockets.flows[flow(USER)] = 0

    def flood() -> None:
        wall.feed(USER, 5_000)
        sockets.flows[flow(USER)] += 20

    seconds(rig, 30, flood)
    assert banned(rig) == set()
    assert sockets.asked[-1] == [Prefix.parse(USER)]


def test_who_floods_on_his_own_connection_is_banned(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    sockets.flows[flow(USER)] = 0

    def flood() -> None:
        wall.feed(USER, 5_000)
        sockets.flows[flow(USER)] += 5_000

    rig.ticks(9, each=flood)
    assert banned(rig) == set()
    seconds(rig, 4, flood)
    assert banned(rig) == {USER}
    assert sockets.innocents.held == 0
    assert not [text for text in rig.engine.health.problems if USER in text]


def test_many_connections_get_time_to_slow_down(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    """Behind one address many people: over the limit, and never banned once they stay near it."""
    for port in range(20):
        sockets.flows[flow(USER, port)] = 0

    def flood(packets: int) -> Callable[[], None]:
        def once() -> None:
            wall.feed(USER, packets)
            for port in range(20):
                sockets.flows[flow(USER, port)] += packets // 20

        return once

    seconds(rig, 8, flood(6_000))
    assert banned(rig) == set()
    seconds(rig, 25, flood(2_400))  # the limit is 2,000 a tick: TCP slowed down
    assert banned(rig) == set()


def test_many_connections_that_do_not_slow_down(
    rig: Rig, wall: FakeWall, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for port in range(20):
        sockets.flows[flow(USER, port)] = 0
    drops = "xdpwall.detection.rates.Rates.drops_of"
    monkeypatch.setattr(drops, lambda self, keys: np.full(len(keys), 1_000.0))

    def flood() -> None:
        wall.feed(USER, 6_000)
        for port in range(20):
            sockets.flows[flow(USER, port)] += 300

    seconds(rig, 8, flood)
    assert banned(rig) == set()
    seconds(rig, 8, flood)
    assert banned(rig) == {USER}


def test_without_a_drop_a_crowd_is_never_banned(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    for port in range(20):
        sockets.flows[flow(USER, port)] = 0

    def flood() -> None:
        wall.feed(USER, 6_000)
        for port in range(20):
            sockets.flows[flow(USER, port)] += 300

    seconds(rig, 25, flood)
    assert banned(rig) == set()


@pytest.mark.parametrize("trickle", [True, False])
def test_once_it_is_over_nothing_is_left(rig: Rig, wall: FakeWall, sockets: Sockets, trickle: bool) -> None:
    wall.proven_keys.add(key(USER))
    seconds(rig, 5, lambda: wall.feed(USER, 3_000, kind="udp"))
    assert sockets.innocents.held == 1
    seconds(rig, 20, lambda: wall.feed(USER, 1) if trickle else None)
    assert sockets.innocents.held == 0
    assert not [text for text in rig.engine.health.problems if USER in text]


def test_known_no_more(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    """Whose last flow is long over is a stranger again."""
    wall.proven_keys.add(key(USER))
    seconds(rig, 5, lambda: wall.feed(USER, 3_000, kind="udp"))
    wall.proven_keys.clear()
    sockets.innocents._innocence.lapse_ns = 20_000_000_000
    seconds(rig, 15, lambda: wall.feed(USER, 3_000, kind="udp"))
    assert banned(rig) == set()
    seconds(rig, 10, lambda: wall.feed(USER, 3_000, kind="udp"))
    assert banned(rig) == {USER}


def crowd(wall: FakeWall, network: str, hosts: Iterable[int], packets: int) -> None:
    for host in hosts:
        wall.feed(f"{network}.{host}", packets, kind="udp")


def test_a_prefix_is_cut_around_a_user(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    sockets.flows[flow(USER)] = 0
    hosts = range(20, 220)
    seconds(rig, 3, lambda: crowd(wall, "198.51.100", hosts, 100))  # 200,000 a second in the /24
    bans = [ban.prefix for ban in rig.engine.book.bans()]
    assert bans
    assert not any(ban.contains(Prefix.parse(USER)) for ban in bans)
    assert all(any(ban.contains(Prefix.parse(f"198.51.100.{host}")) for ban in bans) for host in hosts)


def test_a_prefix_with_many_users_is_left_alone(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    for host in range(1, MOST_HOLES + 2):
        sockets.flows[flow(f"198.51.100.{host}")] = 0
    seconds(rig, 3, lambda: crowd(wall, "198.51.100", range(20, 220), 100))
    assert banned(rig) == set()
    rig.settle()
    assert ("held_back", "198.51.100.0/24") in rig.history()


def test_many_bans_fold_around_who_must_not_be(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    sockets.flows[flow("198.51.100.7")] = 0
    protected = Prefix.parse("198.51.100.9")
    rig.engine.set_addresses([protected], [])
    hosts = range(1, 80)
    seconds(rig, 4, lambda: crowd(wall, "198.51.100", hosts, 3_000))
    bans = [ban.prefix for ban in rig.engine.book.bans()]
    assert any(ban.length < 32 for ban in bans)
    assert len(bans) <= 14
    for host in range(256):
        covered = any(ban.contains(Prefix.parse(f"198.51.100.{host}")) for ban in bans)
        assert covered == (host not in (7, 9)), host


def test_ipv6_prefixes(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    sockets.flows[Flow(6, bytes(16), 443, Prefix.parse("2001:db8:1:7::9").packed, 5)] = 0
    sockets.flows[Flow(6, bytes(16), 443, Prefix.parse("2001:db8:2:7::9").packed, 5)] = 0
    parts = sockets.innocents.parts(wall, Prefix.parse("2001:db8:1::/48"))
    assert parts is not None
    assert len(parts) == 16
    assert not any(part.contains(Prefix.parse("2001:db8:1:7::/64")) for part in parts)
    whole = Prefix.parse("2001:db8:3::/48")
    assert sockets.innocents.parts(wall, whole) == [whole]


def test_peers_are_in_order_of_their_prefixes() -> None:
    flows = [flow(f"10.{n % 7}.{n % 5}.{n}") for n in range(1, 200)]
    flows += [
        Flow(6, bytes(16), 1, Prefix.parse(f"2001:db8:{n % 9:x}:{n:x}::1").packed, 2) for n in range(50)
    ]
    above = prefix_keys(peers_of(flows))
    assert len(above) == 249
    assert (above[1:] >= above[:-1]).all()
    assert len(peers_of([])) == 0


def test_a_kernel_that_does_not_tell(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    def fails(_: Any) -> Reading:
        raise KernelError("list the TCP sockets", 1)

    def submit(work: Callable[[], Reading]) -> Future[Reading]:
        future: Future[Reading] = Future()
        try:
            future.set_result(work())
        except KernelError as error:
            future.set_exception(error)
        return future

    sockets.flows[flow(USER)] = 0
    sockets.innocents._read, sockets.innocents._submit = fails, submit
    seconds(rig, 10, lambda: wall.feed(USER, 5_000))
    assert banned(rig) == set()


def test_of_those_whom_this_host_talks_to_only_a_share_is_banned(
    rig: Rig, wall: FakeWall, sockets: Sockets
) -> None:
    """A limit that is far too low: forty clients look guilty at once. Three are banned, an operator is told."""
    clients = [f"198.51.{third}.7" for third in range(100, 140)]
    for client in clients:
        sockets.flows[flow(client)] = 0

    def busy() -> None:
        for client in clients:
            wall.feed(client, 5_000)
            sockets.flows[flow(client)] += 5_000

    seconds(rig, 8, busy)
    assert len(banned(rig)) == 3
    assert banned(rig) < set(clients)
    (text,) = [text for text in rig.engine.health.problems if "known_percent" in text]
    assert "(5 % of 40 in an hour)" in text
    rig.settle()
    assert rig.history().count(("spared", None)) >= 1
    assert sockets.innocents.held == 37


def test_the_radius_is_over_when_they_calm_down(rig: Rig, wall: FakeWall, sockets: Sockets) -> None:
    clients = [f"198.51.{third}.7" for third in range(100, 110)]
    for client in clients:
        sockets.flows[flow(client)] = 0

    def busy() -> None:
        for client in clients:
            wall.feed(client, 5_000)
            sockets.flows[flow(client)] += 5_000

    def calm() -> None:
        for client in clients:
            wall.feed(client, 1)

    seconds(rig, 8, busy)
    assert len(banned(rig)) == 3
    seconds(rig, 25, calm)
    assert len(banned(rig)) == 3
    assert not [text for text in rig.engine.health.problems if "known_percent" in text]
