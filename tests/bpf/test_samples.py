# SPDX-License-Identifier: Apache-2.0
"""What the kernel shows of packets: which ones, how many, and that they are shown as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.bpf.packets import ACK, DEST_OPTIONS, SYN, TCP, UDP, VLAN, frame4, frame6, options_header, tcp, udp
from tests.bpf.scene import DROP, PASS
from tests.bpf.talk import Talk, talking, tight
from xdpwall.config import Config
from xdpwall.dataplane.samples import SAMPLE
from xdpwall.dataplane.ticks import sample_shift
from xdpwall.dataplane.wall import Wall
from xdpwall.detection.fingerprint_evidence import Evidence
from xdpwall.fingerprint import SIZE, features
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

RATION = 6
"""Drops a lane and period, see RATIONS in bpf/samples.h."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Talk]:
    with talking(tight()) as made:
        yield made


@pytest.fixture
def talk(shared: Talk) -> Talk:
    """Budgets spent: each packet of a stranger is over. No sample is left."""
    shared.reset()
    shared.wall.set_budgets(tight().lanes, Config().proof)
    shared.wall.set_ports({443, 80}, {53, 123})
    shared.exhaust(tcp(ACK))
    fresh(shared.wall)
    return shared


def fresh(wall: Wall) -> None:
    """Forget the samples so far, and let the rations of this moment be unspent."""
    rations = wall._array("sample_rations")
    rations.memory[: rations.size] = bytes(rations.size)
    wall.samples()


def one(talk: Talk, frame: bytes) -> Sample:
    fresh(talk.wall)
    talk.probe.run(frame)
    (sample,) = talk.wall.samples()
    return sample


FRAMES = {
    "udp": frame4(udp(b"hello", dport=53)),
    "vlan": frame4(udp(b"hello", dport=53), vlans=[VLAN]),
    "ipv6": frame6(udp(b"hello", dport=53)),
    "syn": frame4(tcp(SYN), TCP),
    "long": frame4(udp(bytes(range(256)) * 5, dport=53)),
    "ip options": frame4(udp(b"hello", dport=53), options=bytes([1, 1, 1, 0])),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_packet_is_shown_as_it_is(talk: Talk, name: str) -> None:
    frame = FRAMES[name]
    sample = one(talk, frame)
    assert not sample.passed
    assert sample.length == len(frame)
    assert sample.captured == min(len(frame), HEAD_BYTES)
    assert sample.head == frame[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0")
    at = sample.l3
    assert frame[at] >> 4 == sample.version
    assert sample.target_port == (443 if name == "syn" else 53)
    assert sample.ip_length == len(frame) - at
    assert sample.tick > 0


def test_each_verdict_is_shown_with_its_reason(talk: Talk) -> None:
    assert one(talk, frame4(tcp(ACK), TCP)).reason is Reason.LANE_TCP
    assert one(talk, frame4(udp(dport=53))).reason is Reason.LANE_UDP
    closed = one(talk, frame4(udp(dport=9)))
    assert (closed.reason, closed.lane) == (Reason.CLOSED_UDP, Lane.UDP)
    assert one(talk, frame4(tcp(SYN), TCP)).reason is Reason.COOKIE_SENT
    talk.reset()
    talk.wall.set_ports({443}, ())
    sample = one(talk, frame4(tcp(SYN), TCP))
    assert (sample.reason, sample.lane, sample.passed) == (Reason.PASS, Lane.SYN, True)


def test_bans_are_shown_now_and_then(talk: Talk) -> None:
    """Only in one of sixteen ticks: so it is tried until one comes."""
    talk.wall.bans.put(Prefix.parse("192.0.2.99"), 60_000)
    samples: list[Sample] = []
    frame = frame4(source="192.0.2.99")
    for _ in range(2_000):
        talk.probe.push(frame, repeat=1_000)
        samples = talk.wall.samples()
        if samples:
            break
    talk.wall.bans.clear()
    assert {sample.reason for sample in samples} == {Reason.BANNED_SOURCE}


def test_a_flood_is_rationed(talk: Talk) -> None:
    talk.probe.push(frame4(udp(dport=53)), repeat=200_000)
    shift = sample_shift(talk.wall.info.tick_hz)
    periods = Counter(sample.tick >> shift for sample in talk.wall.samples())
    assert periods
    assert max(periods.values()) <= RATION


def test_a_flood_does_not_crowd_out_what_passes(talk: Talk) -> None:
    """Each kind has a ration of its own: in the very moment of a flood a packet that passes is shown."""
    talk.say(udp(sport=40000, dport=53), UDP)
    talk.probe.push(frame4(udp(dport=53)), repeat=50_000)
    known = talk.hear(udp(sport=53, dport=40000), UDP).reason
    assert known is Reason.PASS_FLOW
    shown = {sample.reason for sample in talk.wall.samples()}
    assert Reason.LANE_UDP in shown
    assert known in shown


def test_quiet_traffic_is_shown_and_passes(talk: Talk) -> None:
    """Below the gate, too, a packet is shown in some ticks; it is never dropped for that."""
    talk.wall.set_budgets(Config().lanes, Config().proof)
    talk.reset()
    talk.wall.set_ports({443}, {53})
    frame = frame4(udp(dport=53))
    samples: list[Sample] = []
    for _ in range(3_000):
        assert talk.probe.run(frame).verdict == PASS
        samples += talk.wall.samples()
        if samples:
            break
    assert [sample.reason for sample in samples] == [Reason.PASS]


def test_nobody_reads_and_nothing_breaks(talk: Talk) -> None:
    """The ring fills up and takes no more; then it is emptied, and takes again."""
    rations = talk.wall._array("sample_rations")
    frame = frame4(udp(dport=53))
    room = 128 * 4096 // (SAMPLE.size + 8)
    for _ in range(room // RATION + 100):
        rations.memory[: rations.size] = bytes(rations.size)
        talk.probe.push(frame, repeat=RATION)
    samples = talk.wall.samples()
    assert room - 2 <= len(samples) <= room
    assert talk.probe.run(frame).verdict == DROP
    assert len(talk.wall.samples()) <= 1
    assert one(talk, frame).head == frame.ljust(HEAD_BYTES, b"\0")


def test_a_reader_begins_with_what_comes(talk: Talk) -> None:
    talk.probe.run(frame4(udp(dport=53)))
    with Wall.open(talk.wall._paths) as other:
        assert other.samples() == []
        fresh(other)
        talk.probe.run(frame4(udp(dport=53)))
        assert len(other.samples()) == 1


@pytest.mark.parametrize("units", [0, 2, 9, 12, 13, 17, 18, 100])
@pytest.mark.parametrize(("payload", "protocol"), [(tcp(ACK, bytes(80)), TCP), (udp(bytes(80)), UDP)])
def test_a_transport_behind_the_sample_breaks_nobody(
    talk: Talk, units: int, payload: bytes, protocol: int
) -> None:
    """Extension headers can be longer than what is shown of a packet."""
    talk.exhaust(tcp(ACK))
    fresh(talk.wall)
    packet = frame6(payload, protocol, extensions=[options_header(DEST_OPTIONS, units=units)])
    assert talk.probe.run(packet).verdict == DROP
    (sample,) = talk.wall.samples()
    assert sample.l4 == 14 + 40 + 8 + units * 8
    assert len(features(sample)) == SIZE
    assert sample.is_cut == (units >= 6)
    whole = sample.l4 + 14 <= HEAD_BYTES
    assert sample.tcp_flags == (ACK if protocol == TCP and whole else None)
    assert (sample.target_port is None) == (sample.l4 + 4 > HEAD_BYTES)
    evidence = Evidence()
    evidence.take([sample], 1)
    assert len(evidence._lanes[sample.lane].attack) == (not sample.is_cut)
    assert evidence.is_stressed(sample.lane, 1)
