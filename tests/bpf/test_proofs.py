# SPDX-License-Identifier: Apache-2.0
"""Who may pass above a budget: what the host itself has said is the proof, and nothing that a stranger can send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from tests.bpf.packets import (
    ACK,
    FIN,
    FRAGMENT,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    VLAN,
    ethernet,
    icmp,
    ipv4,
    ipv6,
    packed,
    tcp,
    udp,
)
from tests.bpf.packets import fragment as fragment_header
from tests.bpf.scene import DROP, PASS
from tests.bpf.talk import OURS4, OURS6, PEER4, PEER6, STRANGER4, STRANGER6, Talk, talking
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.keys import source_keys
from xdpwall.reasons import Reason

GRE = 47
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def wall() -> Iterator[Talk]:
    """One wall for all: each test begins with nothing known."""
    with talking() as made:
        yield made


@pytest.fixture
def talk(wall: Talk) -> Talk:
    """Nothing known, budgets full, TCP 443 and 22 and UDP 53 open."""
    wall.reset()
    wall.wall.set_ports({443, 22}, {53}, admin={22})
    return wall


def ours(flags: int, data: bytes = b"", *, sport: int = 443, dport: int = 40000, sequence: int = 0) -> bytes:
    """A segment of our server's."""
    return tcp(flags, data, sport=sport, dport=dport, sequence=sequence)


@FAMILIES
def test_a_stranger_has_no_proof(talk: Talk, v6: bool) -> None:
    assert talk.exhaust(tcp(ACK), v6=v6) == (DROP, Reason.LANE_TCP)
    assert talk.exhaust(udp(dport=53), UDP, v6=v6) == (DROP, Reason.LANE_UDP)
    assert talk.exhaust(icmp(128 if v6 else 8), ICMPV6 if v6 else ICMP, v6=v6) == (DROP, Reason.LANE_ICMP)
    assert talk.exhaust(bytes(8), GRE, v6=v6) == (DROP, Reason.LANE_OTHER)
    assert talk.exhaust(udp(dport=9), UDP, v6=v6) == (DROP, Reason.CLOSED_UDP)
    assert talk.hear(tcp(ACK, dport=9), v6=v6, stranger=True) == (DROP, Reason.CLOSED_TCP)
    assert talk.hear(tcp(SYN, dport=9), v6=v6, stranger=True) == (DROP, Reason.CLOSED_TCP)


@FAMILIES
def test_a_connection_that_we_opened(talk: Talk, v6: bool) -> None:
    talk.say(tcp(SYN, sport=50000, dport=80), v6=v6)
    talk.exhaust(tcp(ACK, sport=80, dport=50000), v6=v6)
    assert talk.hear(tcp(SYN | ACK, sport=80, dport=50000), v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(tcp(SYN | ACK, sport=80, dport=50001), v6=v6).verdict == DROP
    assert talk.hear(tcp(SYN | ACK, sport=81, dport=50000), v6=v6).verdict == DROP
    assert talk.hear(tcp(SYN | ACK, sport=80, dport=50000), v6=v6, stranger=True).verdict == DROP


@FAMILIES
@pytest.mark.parametrize("said", [ours(ACK | PSH, b"data"), ours(ACK | FIN)], ids=["data", "fin"])
def test_what_only_an_open_connection_says(talk: Talk, v6: bool, said: bytes) -> None:
    talk.say(said, v6=v6)
    talk.exhaust(tcp(ACK), v6=v6)
    assert talk.hear(tcp(ACK), v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(tcp(RST | ACK), v6=v6) == (PASS, Reason.PASS_FLOW)


@FAMILIES
@pytest.mark.parametrize(
    "said",
    [ours(SYN | ACK), ours(RST), ours(RST | ACK), ours(ACK)],
    ids=["syn-ack", "rst", "rst-ack", "bare-ack"],
)
def test_what_a_stranger_can_provoke_proves_nothing(talk: Talk, v6: bool, said: bytes) -> None:
    """Linux answers a spoofed SYN, ACK or RST with each of these."""
    for _ in range(20):
        talk.say(said, v6=v6)
    talk.exhaust(tcp(ACK), v6=v6)
    assert talk.hear(tcp(ACK), v6=v6) == (DROP, Reason.LANE_TCP)


@FAMILIES
def test_the_last_step_of_a_handshake(talk: Talk, v6: bool) -> None:
    """Only who saw our SYN-ACK can acknowledge its number; then the flow is known, and so is the source."""
    talk.say(ours(SYN | ACK, sequence=0xFFFFFFFF), v6=v6)
    talk.exhaust(tcp(ACK), v6=v6)
    assert talk.hear(tcp(ACK, acknowledgement=1), v6=v6).verdict == DROP
    assert talk.hear(tcp(ACK, acknowledgement=0), v6=v6, stranger=True).verdict == DROP
    assert talk.hear(tcp(RST | ACK, acknowledgement=0), v6=v6).verdict == DROP
    assert talk.hear(tcp(ACK, acknowledgement=0), v6=v6) == (PASS, Reason.PASS_HANDSHAKE)
    assert talk.hear(tcp(ACK), v6=v6) == (PASS, Reason.PASS_FLOW)
    talk.exhaust(tcp(SYN), v6=v6)
    assert talk.hear(tcp(SYN, sport=40001), v6=v6) == (PASS, Reason.PASS_PROVEN)
    assert talk.hear(tcp(SYN, sport=40001), v6=v6, stranger=True).verdict == DROP


@FAMILIES
def test_a_source_that_our_server_sent_data_to_is_proven(talk: Talk, v6: bool) -> None:
    peer = packed(PEER6 if v6 else PEER4)
    stranger = packed(STRANGER6 if v6 else STRANGER4)
    talk.say(ours(ACK | PSH, b"hello"), v6=v6)
    assert talk.wall.proven(source_keys([peer, stranger])).tolist() == [True, False]
    talk.exhaust(udp(dport=53), UDP, v6=v6)
    assert talk.hear(udp(sport=1234, dport=53), UDP, v6=v6) == (PASS, Reason.PASS_PROVEN)


@FAMILIES
def test_a_proven_source_cannot_knock_on_closed_ports(talk: Talk, v6: bool) -> None:
    talk.say(ours(ACK | PSH, b"hello"), v6=v6)
    talk.exhaust(udp(dport=9), UDP, v6=v6)
    assert talk.hear(udp(dport=9), UDP, v6=v6) == (DROP, Reason.CLOSED_UDP)


@FAMILIES
def test_answers_to_our_udp(talk: Talk, v6: bool) -> None:
    talk.say(udp(sport=50000, dport=53), UDP, v6=v6)
    talk.exhaust(udp(sport=53, dport=50000), UDP, v6=v6)
    assert talk.hear(udp(sport=53, dport=50000), UDP, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(udp(sport=53, dport=50002), UDP, v6=v6).verdict == DROP


@FAMILIES
def test_a_client_on_a_bound_socket(talk: Talk, v6: bool) -> None:
    """A resolver's socket has no peer, so it looks like a service's: its ports tell."""
    talk.wall.set_ports((), {53, 50000})
    talk.say(udp(sport=50000, dport=53), UDP, v6=v6)
    talk.exhaust(udp(sport=53, dport=50000), UDP, v6=v6)
    assert talk.hear(udp(sport=53, dport=50000), UDP, v6=v6) == (PASS, Reason.PASS_FLOW)


@FAMILIES
def test_an_answer_of_our_service_proves_nothing_at_first(talk: Talk, v6: bool) -> None:
    for _ in range(50):
        talk.say(udp(sport=53, dport=40000), UDP, v6=v6)
    talk.exhaust(udp(dport=53), UDP, v6=v6)
    assert talk.hear(udp(dport=53), UDP, v6=v6) == (DROP, Reason.LANE_UDP)


def test_answers_over_a_while_are_a_flow(talk: Talk) -> None:
    """The count in the entry goes up once in 64 ticks; here its stamp is set back instead of waiting."""
    words = talk.wall._array("proofs").words
    for _ in range(4):
        talk.say(udp(sport=53, dport=40000), UDP)
        (at,) = [at for at, word in enumerate(words) if word]
        stamp = words[at] & 0x3FFFFFF
        words[at] = words[at] & ~0x3FFFFFF | (stamp - 1) & 0x3FFFFFF
    talk.exhaust(udp(dport=53), UDP)
    assert talk.hear(udp(dport=53), UDP) == (PASS, Reason.PASS_FLOW)


@FAMILIES
def test_answers_to_our_ping(talk: Talk, v6: bool) -> None:
    protocol, echo, reply = (ICMPV6, 128, 129) if v6 else (ICMP, 8, 0)
    talk.say(icmp(echo, ident=77), protocol, v6=v6)
    talk.exhaust(icmp(echo), protocol, v6=v6)
    assert talk.hear(icmp(reply, ident=77), protocol, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(icmp(reply, ident=78), protocol, v6=v6).verdict == DROP
    assert talk.hear(icmp(echo, ident=77), protocol, v6=v6).verdict == DROP
    assert talk.hear(icmp(reply, ident=77), protocol, v6=v6, stranger=True).verdict == DROP


@FAMILIES
def test_an_answer_to_a_ping_proves_nothing(talk: Talk, v6: bool) -> None:
    protocol, echo, reply = (ICMPV6, 128, 129) if v6 else (ICMP, 8, 0)
    talk.say(icmp(reply, ident=77), protocol, v6=v6)
    talk.exhaust(icmp(echo), protocol, v6=v6)
    assert talk.hear(icmp(echo, ident=77), protocol, v6=v6).verdict == DROP


def quoted(inner: bytes, protocol: int, *, v6: bool, target: str) -> bytes:
    """An ICMP error about a packet that we sent: "too big"."""
    if v6:
        return icmp(2, ipv6(inner, protocol, source=OURS6, target=target))
    return icmp(3, ipv4(inner, protocol, source=OURS4, target=target), code=4)


@FAMILIES
def test_errors_that_our_packets_provoked(talk: Talk, v6: bool) -> None:
    """They come from any router on the way, so the quoted packet is the proof, not the source."""
    protocol = ICMPV6 if v6 else ICMP
    peer, stranger = (PEER6, STRANGER6) if v6 else (PEER4, STRANGER4)
    talk.say(tcp(SYN, sport=50000, dport=80), v6=v6)
    talk.say(udp(sport=50000, dport=53), UDP, v6=v6)
    talk.say(icmp(128 if v6 else 8, ident=77), protocol, v6=v6)
    talk.exhaust(icmp(128 if v6 else 8), protocol, v6=v6)
    for inner, kind in (
        (tcp(SYN, sport=50000, dport=80), TCP),
        (udp(sport=50000, dport=53), UDP),
        (icmp(128 if v6 else 8, ident=77), protocol),
    ):
        good = quoted(inner, kind, v6=v6, target=peer)
        assert talk.hear(good, protocol, v6=v6, stranger=True) == (PASS, Reason.PASS_SOLICITED)
        bad = quoted(inner, kind, v6=v6, target=stranger)
        assert talk.hear(bad, protocol, v6=v6, stranger=True) == (DROP, Reason.LANE_ICMP)


@FAMILIES
def test_a_quotation_behind_the_packet_is_none(talk: Talk, v6: bool) -> None:
    """IP ends before the quoted packet does; the frame has the rest, as padding."""
    protocol, peer = (ICMPV6, PEER6) if v6 else (ICMP, PEER4)
    talk.say(tcp(SYN, sport=50000, dport=80), v6=v6)
    talk.exhaust(icmp(128 if v6 else 8), protocol, v6=v6)
    whole = quoted(tcp(SYN, sport=50000, dport=80), TCP, v6=v6, target=peer)
    least = 8 + (40 if v6 else 20) + 8
    for length in range(8, len(whole)):
        frame = bytearray(talk.frame_in(whole, protocol, v6=v6, stranger=True))
        at = 18 if v6 else 16
        frame[at : at + 2] = (length if v6 else 20 + length).to_bytes(2, "big")
        reason = Reason.PASS_SOLICITED if length >= least else Reason.LANE_ICMP
        assert talk.probe.run(bytes(frame)).reason is reason


@FAMILIES
def test_errors_cut_short_at_every_byte(talk: Talk, v6: bool) -> None:
    protocol = ICMPV6 if v6 else ICMP
    talk.exhaust(icmp(128 if v6 else 8), protocol, v6=v6)
    whole = quoted(tcp(SYN, sport=50000, dport=80), TCP, v6=v6, target=PEER6 if v6 else PEER4)
    for length in range(8, len(whole)):
        assert talk.hear(whole[:length], protocol, v6=v6) == (DROP, Reason.LANE_ICMP)


@FAMILIES
def test_other_protocols_that_we_speak(talk: Talk, v6: bool) -> None:
    talk.say(bytes(8), GRE, v6=v6)
    talk.exhaust(bytes(8), GRE, v6=v6)
    assert talk.hear(bytes(8), GRE, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(bytes(8), 50, v6=v6) == (DROP, Reason.LANE_OTHER)


def pieces4(source: str) -> tuple[bytes, bytes]:
    """A DNS answer in two fragments."""
    first = ipv4(udp(bytes(64), sport=53, dport=50000, length=80), UDP, source=source, target=OURS4, flags=1)
    second = ipv4(bytes(8), UDP, source=source, target=OURS4, offset=72)
    return ethernet(first, IPV4), ethernet(second, IPV4)


def pieces6(source: str) -> tuple[bytes, bytes]:
    """The same of IPv6."""
    body = udp(bytes(64), sport=53, dport=50000, length=80)
    first = ipv6(body, UDP, source=source, target=OURS6, extensions=[fragment_header(0, more=True)])
    second = ipv6(bytes(8), UDP, source=source, target=OURS6, extensions=[fragment_header(72)])
    return ethernet(first, IPV6), ethernet(second, IPV6)


@FAMILIES
def test_fragments_after_a_first_one_that_we_asked_for(talk: Talk, v6: bool) -> None:
    """Also while its lane has room: fragments may be over their budget when UDP is not."""
    pieces = pieces6 if v6 else pieces4
    first, second = pieces(PEER6 if v6 else PEER4)
    strange_first, strange_second = pieces(STRANGER6 if v6 else STRANGER4)
    talk.say(udp(sport=50000, dport=53), UDP, v6=v6)
    outcomes = [talk.probe.run(strange_second) for _ in range(300)]
    assert outcomes[-1] == (DROP, Reason.LANE_FRAGMENT)
    assert talk.probe.run(second) == (DROP, Reason.LANE_FRAGMENT)
    assert talk.probe.run(first) == (PASS, Reason.PASS_FLOW)
    assert talk.probe.run(second) == (PASS, Reason.PASS_SOLICITED)
    talk.probe.run(strange_first)
    assert talk.probe.run(strange_second) == (DROP, Reason.LANE_FRAGMENT)


def test_ipv6_fragments_that_we_send(talk: Talk) -> None:
    """A first fragment of ours tells the ports; a later one says nothing."""
    body = udp(bytes(16), sport=50000, dport=53)
    first = ipv6(body, UDP, source=OURS6, target=PEER6, extensions=[fragment_header(0, more=True)])
    later = ipv6(bytes(16), UDP, source=OURS6, target=PEER6, extensions=[fragment_header(24)])
    talk.send(ethernet(later, IPV6))
    assert len(talk.wall._proofs()) == 0
    talk.send(ethernet(first, IPV6))
    talk.exhaust(udp(sport=53, dport=50000), UDP, v6=True)
    assert talk.hear(udp(sport=53, dport=50000), UDP, v6=True) == (PASS, Reason.PASS_FLOW)
    assert FRAGMENT == 44


@FAMILIES
@pytest.mark.parametrize("depth", [1, 2])
def test_what_we_say_behind_vlan_tags(talk: Talk, v6: bool, depth: int) -> None:
    talk.say(tcp(SYN, sport=50000, dport=80), v6=v6, vlans=(VLAN,) * depth)
    talk.exhaust(tcp(ACK, sport=80, dport=50000), v6=v6)
    assert talk.hear(tcp(SYN | ACK, sport=80, dport=50000), v6=v6) == (PASS, Reason.PASS_FLOW)


@FAMILIES
def test_no_frame_of_ours_is_too_short(talk: Talk, v6: bool) -> None:
    whole = ethernet(
        ipv6(tcp(SYN), TCP, source=OURS6, target=PEER6)
        if v6
        else ipv4(tcp(SYN), TCP, source=OURS4, target=PEER4),
        IPV6 if v6 else IPV4,
    )
    shortest = 14 + (40 if v6 else 20)  # the kernel itself builds no shorter socket buffer of IP
    for length in range(shortest, len(whole)):
        talk.send(whole[:length])
    assert len(talk.wall._proofs()) == 0
    talk.send(whole)
    assert len(talk.wall._proofs()) == 1


@FAMILIES
def test_flows_that_the_kernel_has_sockets_for(talk: Talk, v6: bool) -> None:
    peer, local = packed(PEER6 if v6 else PEER4), packed(OURS6 if v6 else OURS4)
    flows = [
        Flow(socket.IPPROTO_TCP, local, 443, peer, 40000),
        Flow(socket.IPPROTO_UDP, local, 50000, peer, 500),
    ]
    assert talk.wall.note_flows(flows) == 2
    assert talk.wall.note_flows(flows) == 2
    assert len(talk.wall._proofs()) == 2
    talk.exhaust(tcp(ACK), v6=v6)
    talk.exhaust(udp(dport=50000), UDP, v6=v6)
    assert talk.hear(tcp(ACK), v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(udp(sport=500, dport=50000), UDP, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(tcp(ACK, sport=40001), v6=v6).verdict == DROP


def test_no_flood_pushes_out_what_we_asked_for(talk: Talk) -> None:
    """Our DNS service answers 300,000 strangers; the table holds 262,144."""
    for port in range(2000):
        talk.say(tcp(SYN, sport=20000 + port, dport=80))
    words = np.frombuffer(talk.wall._array("proofs").memory, dtype=np.uint64)
    before = np.count_nonzero(words)
    answer = bytearray(ethernet(ipv4(udp(sport=53, dport=40000), UDP, source=OURS4, target=PEER4), IPV4))
    for number in range(30_000):
        answer[30:34] = (0x0A000000 + number).to_bytes(4, "big")
        talk.send(bytes(answer))
    kinds = (words >> np.uint64(29)) & np.uint64(7)
    assert np.count_nonzero(kinds == 1) == before


def test_a_full_set_keeps_connections_before_answers(talk: Talk) -> None:
    """Each set of eight is full of connections: an answer finds no place, a connection takes the oldest."""
    words = np.frombuffer(talk.wall._array("proofs").memory, dtype=np.uint64)
    talk.say(tcp(SYN, sport=50000, dport=80))
    (at,) = np.nonzero(words)[0]
    stamp = int(words[at]) & 0x3FFFFFF
    full = np.array(
        [(way + 1) << 32 | 1 << 29 | 1 << 26 | (stamp - way - 1) for way in range(8)], dtype=np.uint64
    )
    words.reshape(-1, 8)[:] = full
    talk.say(udp(sport=53, dport=40000), UDP)
    assert (words.reshape(-1, 8) == full).all()
    talk.say(tcp(SYN, sport=50000, dport=80))
    changed = np.nonzero(words.reshape(-1, 8) != full)
    assert changed[1].tolist() == [7]


def test_proof_does_not_hold_for_ever(talk: Talk) -> None:
    talk.say(tcp(SYN, sport=50000, dport=80))
    talk.exhaust(tcp(ACK, sport=80, dport=50000))
    words = talk.wall._array("proofs").words
    (at,) = [at for at, word in enumerate(words) if word]
    stamp = words[at] & 0x3FFFFFF
    hour = -(-3_600 * talk.wall.info.tick_hz // 64)
    words[at] = words[at] & ~0x3FFFFFF | (stamp - hour + 4) & 0x3FFFFFF
    assert talk.hear(tcp(ACK, sport=80, dport=50000)) == (PASS, Reason.PASS_FLOW)
    words[at] = words[at] & ~0x3FFFFFF | (stamp - hour - 4) & 0x3FFFFFF
    assert talk.hear(tcp(ACK, sport=80, dport=50000)).verdict == DROP


def test_the_gate_knows_every_place_that_holds(talk: Talk) -> None:
    """A byte a line, a bit for the top of each tag: what no bit is set for is never looked up."""
    for port in range(2000):
        talk.say(tcp(SYN, sport=20000 + port, dport=80))
    words = np.frombuffer(talk.wall._array("proofs").memory, dtype=np.uint64).reshape(-1, 8)
    gates = np.frombuffer(talk.wall._array("proof_gate").memory, dtype=np.uint8)[: len(words)]
    bits = np.where(words != 0, np.uint64(1) << (words >> np.uint64(61)), np.uint64(0))
    assert (np.bitwise_or.reduce(bits, axis=1) == gates).all()
    assert np.count_nonzero(words) == 2000


def test_a_bit_that_was_lost_comes_back_with_the_next_packet_of_ours(talk: Talk) -> None:
    talk.say(tcp(SYN, sport=50000, dport=80))
    talk.exhaust(tcp(ACK, sport=80, dport=50000))
    gates, words = talk.wall._array("proof_gate").words, talk.wall._array("proofs").words
    for at, word in enumerate(gates):
        if word:
            gates[at] = 0
    assert talk.hear(tcp(ACK, sport=80, dport=50000)).verdict == DROP
    (at,) = [at for at, word in enumerate(words) if word]
    words[at] = words[at] & ~0x3FFFFFF | ((words[at] & 0x3FFFFFF) - 1)
    talk.say(tcp(ACK, sport=50000, dport=80))
    assert talk.hear(tcp(ACK, sport=80, dport=50000)) == (PASS, Reason.PASS_FLOW)
