# SPDX-License-Identifier: Apache-2.0
"""Quiet events: told one by one, not hidden by a flood, and none too many."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.bpf.packets import ACK, IPV4, SYN, TCP, UDP, ethernet, ipv4, tcp, udp
from tests.bpf.talk import OURS4, OURS6, PEER4, PEER6, STRANGER4, Talk, talking
from xdpwall.dataplane.interface import WatchEvent

CLOSED, ADMIN, CLOSED_UDP, LOGIN, OPENED, OPENED_UDP = range(1, 7)
PSH = 0x08


@pytest.fixture(scope="module")
def wall() -> Iterator[Talk]:
    with talking() as made:
        yield made


@pytest.fixture
def talk(wall: Talk) -> Talk:
    wall.reset()
    for name in ("watch_ports", "watch_states"):
        array = wall.wall._array(name)
        array.memory[: array.size] = bytes(array.size)
    wall.wall._watch = None
    wall.wall.set_ports({443, 22}, {53}, admin={22, 3389})
    assert wall.wall.watch_events() == []
    return wall


def told(talk: Talk) -> list[tuple[int, int, int]]:
    """Kind and ports of each event."""
    return [(event.kind, event.local_port, event.peer_port) for event in talk.wall.watch_events()]


def test_requests_to_closed_and_admin_ports(talk: Talk) -> None:
    for port in (443, 80, 22, 3389):
        talk.hear(tcp(SYN, dport=port, sport=1234))
    assert told(talk) == [(CLOSED, 80, 1234), (ADMIN, 22, 1234), (ADMIN, 3389, 1234)]
    assert told(talk) == []


@pytest.mark.parametrize("v6", [False, True])
def test_both_sides_are_named(talk: Talk, v6: bool) -> None:
    family = socket.AF_INET6 if v6 else socket.AF_INET
    ours, peer = (OURS6, PEER6) if v6 else (OURS4, PEER4)
    talk.hear(tcp(SYN, dport=80), v6=v6)
    talk.say(tcp(SYN, sport=45_000, dport=4444), v6=v6)
    events: list[WatchEvent] = talk.wall.watch_events()
    assert [event.kind for event in events] == [CLOSED, OPENED]
    for event in events:
        assert socket.inet_ntop(family, event.local) == ours
        assert socket.inet_ntop(family, event.peer) == peer


def test_a_flood_on_one_port_does_not_hide_a_scan_over_others(talk: Talk) -> None:
    for port in range(8_000, 8_010):
        for _ in range(200):
            talk.hear(tcp(SYN, dport=80), stranger=True)
        talk.hear(tcp(SYN, dport=port))
    assert {port for kind, port, _ in told(talk) if kind == CLOSED} >= set(range(8_000, 8_010))


def test_no_more_than_so_many_are_told(talk: Talk) -> None:
    """A flood over all ports: its cost is bounded, and what was left out is counted."""
    for port in range(1, 4_001):
        source = f"203.0.{port >> 8}.{port & 255}"
        talk.probe.run(ethernet(ipv4(tcp(SYN, dport=port), TCP, source=source, target=OURS4), IPV4))
    assert len(told(talk)) <= 512
    assert talk.wall._watch is not None
    assert talk.wall._watch.missed() > 0


def test_a_login_is_told_once_its_handshake_is_complete(talk: Talk) -> None:
    talk.hear(tcp(SYN, sport=5_000, dport=22))
    talk.say(tcp(SYN | ACK, sport=22, dport=5_000))
    assert [kind for kind, _, _ in told(talk)] == [ADMIN]  # a SYN-ACK of ours proves nothing
    talk.say(tcp(PSH | ACK, b"SSH-2.0", sport=22, dport=5_000))
    talk.say(tcp(PSH | ACK, b"more", sport=22, dport=5_000))
    assert told(talk) == [(LOGIN, 22, 5_000)]


def test_other_services_are_no_logins(talk: Talk) -> None:
    talk.say(tcp(PSH | ACK, b"HTTP/1.1", sport=443, dport=5_000))
    assert told(talk) == []


def test_flows_that_this_host_opens(talk: Talk) -> None:
    talk.say(tcp(SYN, sport=45_000, dport=4444))
    talk.say(tcp(SYN, sport=45_000, dport=4444))  # sent again: the same flow
    talk.say(udp(b"?", sport=45_001, dport=53), UDP)
    talk.say(udp(b"!", sport=53, dport=40_000), UDP)  # an answer of our resolver
    assert told(talk) == [(OPENED, 45_000, 4444), (OPENED_UDP, 45_001, 53)]


def test_an_answer_that_was_asked_for_is_no_scan(talk: Talk) -> None:
    talk.say(udp(b"?", sport=45_001, dport=53), UDP)
    told(talk)
    assert STRANGER4 != PEER4
    for _ in range(5):
        talk.hear(udp(b"!", sport=53, dport=45_001), UDP)
    talk.exhaust(udp(b"!", sport=53, dport=45_001), UDP)
    talk.hear(udp(b"!", sport=53, dport=45_001), UDP)
    assert [kind for kind, _, _ in told(talk)] == [CLOSED_UDP]  # the stranger's alone
