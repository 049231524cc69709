# SPDX-License-Identifier: Apache-2.0
"""The controller's word for a source, and against one, beyond a lane's budget."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.bpf.packets import ACK, PSH, SYN, TCP, UDP, packed, tcp, udp
from tests.bpf.scene import DROP, PASS
from tests.bpf.talk import PEER4, PEER6, Talk, talking
from xdpwall.dataplane.keys import source_keys
from xdpwall.dataplane.sockets import DHCP_CLIENTS
from xdpwall.reasons import Reason

FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def wall() -> Iterator[Talk]:
    """One wall for all: each test begins with nothing known."""
    with talking() as made:
        yield made


@pytest.fixture
def talk(wall: Talk) -> Talk:
    """Nothing known, budgets full, TCP 443 and UDP 53 open."""
    wall.reset()
    wall.wall.set_ports({443}, {53})
    return wall


def key(v6: bool) -> int:
    return int(source_keys([packed(PEER6 if v6 else PEER4)])[0])


def handshake(talk: Talk, v6: bool) -> None:
    """Our server sends data on a connection: that speaks for the connection and for its source."""
    talk.say(tcp(ACK | PSH, b"data", sport=443, dport=40000), v6=v6)


def age(talk: Talk, kind: int, seconds: float) -> None:
    """Make all proof of one kind so much older."""
    words = np.frombuffer(talk.wall._array("proofs").memory, dtype=np.uint64)
    back = round(seconds * talk.wall.info.tick_hz / 64)
    for at in np.flatnonzero(words):
        word = int(words[at])
        if word >> 29 & 7 == kind:
            words[at] = word & ~0x3FFFFFF | ((word & 0x3FFFFFF) - back) & 0x3FFFFFF


@FAMILIES
def test_whom_the_controller_vouches_for_passes(talk: Talk, v6: bool) -> None:
    talk.exhaust(udp(dport=53), UDP, v6=v6)
    assert talk.hear(udp(dport=53), UDP, v6=v6).verdict == DROP
    talk.wall.vouch([key(v6)])
    assert talk.hear(udp(dport=53), UDP, v6=v6) == (PASS, Reason.PASS_PROVEN)
    assert talk.hear(tcp(SYN, dport=443), TCP, v6=v6).verdict == PASS
    assert talk.hear(udp(dport=53), UDP, v6=v6, stranger=True).verdict == DROP
    # A port where nobody listens is not opened by it.
    talk.exhaust(udp(dport=9), UDP, v6=v6)
    assert talk.hear(udp(dport=9), UDP, v6=v6) == (DROP, Reason.CLOSED_UDP)


def test_it_is_no_handshake(talk: Talk) -> None:
    talk.wall.vouch([key(False)])
    assert not talk.wall.proven(np.array([key(False)], np.uint64))[0]
    handshake(talk, False)
    assert talk.wall.proven(np.array([key(False)], np.uint64))[0]
    talk.wall.vouch([key(False)])
    assert talk.wall.proven(np.array([key(False)], np.uint64))[0], "a handshake stays one"
    age(talk, 5, 299)
    talk.wall.vouch([key(False)])
    age(talk, 5, 10)
    talk.exhaust(udp(dport=53), UDP)
    assert talk.hear(udp(dport=53), UDP) == (PASS, Reason.PASS_PROVEN), "its proof ended, the word holds"


def test_the_word_does_not_outlive_a_dead_controller_for_long(talk: Talk) -> None:
    talk.wall.vouch([key(False)])
    talk.exhaust(udp(dport=53), UDP)
    age(talk, 7, 110)
    assert talk.hear(udp(dport=53), UDP) == (PASS, Reason.PASS_PROVEN)
    talk.wall.vouch([key(False)])
    age(talk, 7, 125)
    assert talk.hear(udp(dport=53), UDP).verdict == DROP


@FAMILIES
def test_a_handshake_that_counts_no_more(talk: Talk, v6: bool) -> None:
    """Its flow goes on; whatever else comes in its name competes like a stranger's. New data does not change that."""
    handshake(talk, v6)
    talk.exhaust(udp(dport=53), UDP, v6=v6)
    assert talk.hear(udp(dport=53), UDP, v6=v6) == (PASS, Reason.PASS_PROVEN)
    talk.wall.bar([key(v6)])
    assert talk.hear(udp(dport=53), UDP, v6=v6).verdict == DROP
    handshake(talk, v6)
    assert talk.hear(udp(dport=53), UDP, v6=v6).verdict == DROP
    talk.exhaust(tcp(ACK, dport=443), v6=v6)
    assert talk.hear(tcp(ACK, sport=40000, dport=443), v6=v6) == (PASS, Reason.PASS_FLOW)
    assert not talk.wall.proven(np.array([key(v6)], np.uint64))[0]
    age(talk, 0, 6)
    age(talk, 1, 1)  # at most once in 64 ticks a flow tells of its source
    handshake(talk, v6)
    assert talk.hear(udp(dport=53), UDP, v6=v6) == (PASS, Reason.PASS_PROVEN)


@FAMILIES
def test_an_address_is_renewed_in_a_flood(talk: Talk, v6: bool) -> None:
    """The client listens on a raw socket. Its server's answer to the renewal is asked for; an offer comes unasked."""
    client, server = (546, 547) if v6 else (68, 67)
    talk.wall.set_ports(set(), set(DHCP_CLIENTS))
    talk.exhaust(udp(sport=server, dport=client), UDP, v6=v6)
    offer = udp(sport=server, dport=client)
    assert talk.hear(offer, UDP, v6=v6).verdict == DROP
    talk.wall.vouch([key(v6)])
    assert talk.hear(offer, UDP, v6=v6) == (PASS, Reason.PASS_PROVEN)
    talk.reset()
    talk.wall.set_ports(set(), set(DHCP_CLIENTS))
    talk.exhaust(offer, UDP, v6=v6)
    talk.say(udp(sport=client, dport=server), UDP, v6=v6)
    assert talk.hear(offer, UDP, v6=v6) == (PASS, Reason.PASS_FLOW)


def test_nobody_at_all(talk: Talk) -> None:
    talk.wall.vouch([])
    talk.wall.bar([])
    assert not np.frombuffer(talk.wall._array("proofs").memory, dtype=np.uint64).any()
