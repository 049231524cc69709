# SPDX-License-Identifier: Apache-2.0
"""Somebody sends in the name of a peer of ours: the limit drops what is forged, and the peer's own flows go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.bpf.packets import ACK, SYN, TCP, UDP, tcp, udp
from tests.bpf.scene import NO_BUDGETS, PASS, loaded
from tests.bpf.talk import Talk, talking
from tests.bpf.test_limits import outcomes
from tests.bpf.test_meters import source
from xdpwall.config import Config
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.peers import STALE_S
from xdpwall.reasons import Reason

PPS = 400
OFF = {"pps": 0, "bps": 0, "syn": 0, "udp": 0, "icmp": 0}
METERS = {"enabled": True, "sources": 131_072, "prefixes": 131_072}
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])


def config(scope: str, limit: dict[str, int]) -> Config:
    limits = {"source": OFF, "prefix": OFF} | {scope: {**OFF, **limit}}
    return Config.from_mapping({"limits": limits, "meters": METERS, "lanes": NO_BUDGETS})


@pytest.fixture(scope="module", params=["source", "prefix"])
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    """A second's worth of 400 packets at once, for each source or each prefix."""
    with talking(config(request.param, {"pps": PPS})) as found:
        found.scope = request.param  # type: ignore[attr-defined]
        yield found


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    """Nothing known, nothing spent."""
    if "talk" in request.fixturenames:
        talk: Talk = request.getfixturevalue("talk")
        talk.reset()
        for name in ("source_tags", "source_meters", "prefix_tags", "prefix_meters"):
            array = talk.wall._array(name)
            array.memory[: array.size] = bytes(array.size)


def forged(talk: Talk, packets: int, *, v6: bool) -> Counter[Reason]:
    """A flood in the peer's name, from a port that no flow of ours has."""
    return outcomes(talk.probe, [(talk.frame_in(udp(sport=6666, dport=7777), UDP, v6=v6), packets)])[0]


def reasons(talk: Talk, payload: bytes, *, v6: bool) -> set[Reason]:
    """Of twenty packets; one or two may find a token that came in meanwhile."""
    return {talk.hear(payload, v6=v6).reason for _ in range(20)}


def refused(talk: Talk) -> Reason:
    return Reason.SOURCE_PPS if talk.scope == "source" else Reason.PREFIX_PPS  # type: ignore[attr-defined]


@FAMILIES
def test_a_flow_goes_on_while_its_address_is_misused(talk: Talk, v6: bool) -> None:
    talk.say(tcp(SYN, sport=50000, dport=443), v6=v6)
    flood = forged(talk, 2 * PPS, v6=v6)
    assert flood[refused(talk)] > PPS // 2
    answers = [talk.hear(tcp(ACK, sport=443, dport=50000), v6=v6) for _ in range(PPS // 8)]
    assert {answer.verdict for answer in answers} == {PASS}
    assert Reason.PASS_FLOW in {answer.reason for answer in answers}
    assert forged(talk, PPS, v6=v6)[refused(talk)] > PPS // 2, "what is kept is not for what is forged"


@FAMILIES
def test_who_has_no_flow_has_no_reserve(talk: Talk, v6: bool) -> None:
    forged(talk, 2 * PPS, v6=v6)
    assert reasons(talk, tcp(ACK, sport=443, dport=50000), v6=v6) <= {refused(talk), Reason.PASS}


@FAMILIES
def test_another_connection_of_the_peer_is_not_known(talk: Talk, v6: bool) -> None:
    talk.say(tcp(SYN, sport=50000, dport=443), v6=v6)
    forged(talk, 2 * PPS, v6=v6)
    assert reasons(talk, tcp(ACK, sport=443, dport=50001), v6=v6) <= {refused(talk), Reason.PASS}
    assert reasons(talk, tcp(SYN, sport=443, dport=50000), v6=v6) <= {refused(talk), Reason.PASS}


@FAMILIES
def test_a_flow_has_its_limit_too(talk: Talk, v6: bool) -> None:
    """An attack over connections of the attacker's own: a quarter more than the limit, and no more."""
    talk.say(tcp(SYN, sport=50000, dport=443), v6=v6)
    before = talk.wall._clock.now()
    seen, _ = outcomes(talk.probe, [(talk.frame_in(tcp(ACK, sport=443, dport=50000), v6=v6), 4 * PPS)])
    gained = PPS * (talk.wall._clock.now() - before + 1) / talk.wall.info.tick_hz
    passed = seen[Reason.PASS] + seen[Reason.PASS_FLOW]
    assert PPS * 5 // 4 <= passed <= PPS * 5 // 4 + gained + 2
    assert seen[refused(talk)] == 4 * PPS - passed


def test_the_meter_tells_what_was_dropped(talk: Talk) -> None:
    talk.say(tcp(SYN, sport=50000, dport=443))
    forged(talk, 2 * PPS, v6=False)
    if talk.scope == "prefix":  # type: ignore[attr-defined]
        return  # a source's drops leave out what its prefix's limit dropped
    before = source(talk.probe, "192.0.2.7").drops
    assert talk.hear(tcp(ACK, sport=443, dport=50000)).verdict == PASS
    assert source(talk.probe, "192.0.2.7").drops == before


@FAMILIES
def test_what_the_sockets_tell_counts_too(talk: Talk, v6: bool) -> None:
    import socket

    family, ours, peer = (
        (socket.AF_INET6, "2001:db8:1::1", "2001:db8:7::7")
        if v6
        else (socket.AF_INET, "198.51.100.1", "192.0.2.7")
    )
    told = Flow(TCP, socket.inet_pton(family, ours), 443, socket.inet_pton(family, peer), 40000)
    talk.wall.note_flows([told])
    forged(talk, 2 * PPS, v6=v6)
    assert talk.hear(tcp(ACK, sport=40000, dport=443), v6=v6).verdict == PASS


def test_peers_are_forgotten_in_time(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.say(tcp(SYN, sport=50000, dport=443))
    peers = talk.wall._array("peers").words
    assert sum(word.bit_count() for word in peers) == 1
    talk.wall.note_flows([])
    now = talk.wall._clock.now() + STALE_S * talk.wall.info.tick_hz
    monkeypatch.setattr(talk.wall._clock, "now", lambda: now)
    talk.wall.note_flows([])
    assert not any(peers)


@FAMILIES
def test_bytes_have_a_reserve_too(v6: bool) -> None:
    with talking(config("source", {"bps": 8 * 131_072})) as talk:
        talk.say(tcp(SYN, sport=50000, dport=443), v6=v6)
        long = udp(bytes(1_000), sport=6666, dport=7777)
        seen, _ = outcomes(talk.probe, [(talk.frame_in(long, UDP, v6=v6), 300)])
        assert seen[Reason.SOURCE_BPS] > 100
        assert talk.hear(tcp(ACK, sport=443, dport=50000), v6=v6).verdict == PASS


def test_without_lanes_there_are_no_flows_and_no_reserve() -> None:
    limits = {"source": {**OFF, "pps": PPS}, "prefix": OFF}
    lanes = {"enabled": False}
    with loaded(Config.from_mapping({"limits": limits, "meters": METERS, "lanes": lanes})) as probe:
        frame = Talk.frame_in(udp(sport=6666, dport=7777), UDP)
        before = probe.wall._clock.now()
        seen, _ = outcomes(probe, [(frame, 3 * PPS)])
        gained = PPS * (probe.wall._clock.now() - before + 1) / probe.wall.info.tick_hz
        assert PPS <= seen[Reason.PASS] <= PPS + gained + 2
