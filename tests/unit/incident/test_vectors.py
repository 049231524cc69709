# SPDX-License-Identifier: Apache-2.0
"""Names of vectors, from real packets, and how counters are split over them."""

from __future__ import annotations

import pytest
from scapy.layers.dns import DNS, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from xdpwall.incident.facts import Facts, read_frame
from xdpwall.incident.vectorbook import VectorBook
from xdpwall.incident.vectors import REFLECTORS, of_lane, of_packet
from xdpwall.lanes import Lane

V4 = IP(src="198.51.100.1", dst="192.0.2.1")
V6 = IPv6(src="2001:db8:5::1", dst="2001:db8:1::1")


def facts(packet: Packet) -> Facts:
    found = read_frame(bytes(Ether() / packet))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("packet", "name", "lane"),
    [
        (V4 / TCP(sport=4444, dport=443, flags="S"), "SYN flood", Lane.SYN),
        (V6 / TCP(sport=4444, dport=443, flags="S"), "SYN flood", Lane.SYN),
        (V4 / TCP(sport=443, dport=40000, flags="SA"), "SYN-ACK reflection", Lane.TCP),
        (V4 / TCP(flags="R"), "RST flood", Lane.TCP),
        (V4 / TCP(flags="FA"), "FIN flood", Lane.TCP),
        (V4 / TCP(flags="A"), "ACK flood", Lane.TCP),
        (V4 / TCP(flags="PA"), "PSH-ACK flood", Lane.TCP),
        (V4 / UDP(sport=53, dport=4444) / DNS(qr=1, an=DNSRR(rrname="a.example")), "DNS reflection", Lane.UDP),
        (V4 / UDP(sport=123, dport=80) / Raw(b"\xd7\x00\x03\x2a" + bytes(100)), "NTP reflection", Lane.UDP),
        (
            V4 / UDP(sport=11211, dport=80) / Raw(bytes(8) + b"VALUE a 0 1000\r\n"),
            "memcached reflection",
            Lane.UDP,
        ),
        (V4 / UDP(sport=389, dport=80) / Raw(b"\x30\x84\x00\x00\x0b\xa6"), "CLDAP reflection", Lane.UDP),
        (V4 / UDP(sport=1900, dport=80) / Raw(b"HTTP/1.1 200 OK\r\n"), "SSDP reflection", Lane.UDP),
        (V4 / UDP(sport=19, dport=80) / Raw(b" !\"#$%&'()*+,-./"), "chargen reflection", Lane.UDP),
        (V4 / UDP(sport=500, dport=80) / Raw(bytes(28)), "IKE reflection", Lane.UDP),
        (V4 / UDP(sport=40000, dport=53) / DNS(qr=0), "DNS query flood", Lane.UDP),
        (V4 / UDP(sport=40000, dport=9) / Raw(b"x" * 64), "UDP flood", Lane.UDP),
        (V4 / ICMP(type=8), "Ping flood", Lane.ICMP),
        (V4 / ICMP(type=0), "ICMP echo reply reflection", Lane.ICMP),
        (IP(src="198.51.100.1", dst="192.0.2.1", frag=100, proto=17) / Raw(bytes(64)), "Fragment flood", Lane.FRAGMENT),
        (V6 / IPv6ExtHdrFragment(offset=100, nh=17) / Raw(bytes(64)), "Fragment flood", Lane.FRAGMENT),
        (IP(src="198.51.100.1", dst="192.0.2.1", proto=47) / Raw(bytes(20)), "GRE flood", Lane.OTHER),
        (IP(src="198.51.100.1", dst="192.0.2.1", proto=201) / Raw(bytes(20)), "Flood of IP protocol 201", Lane.OTHER),
    ],
)  # fmt: skip
def test_packets_are_named(packet: Packet, name: str, lane: Lane) -> None:
    seen = facts(packet)
    found = of_packet(seen)
    assert (found.name, found.lane, seen.lane) == (name, lane, lane)
    assert found.why


def test_a_port_alone_is_not_believed() -> None:
    """Random bytes from port 53 are no answer of a resolver."""
    found = of_packet(facts(V4 / UDP(sport=53, dport=9) / Raw(b"\x00\x00\x00\x00" + b"x" * 60)))
    assert found.name == "UDP flood"
    assert "none of its answers" in found.why


def test_a_payload_makes_it_surer() -> None:
    sure = of_packet(facts(V4 / UDP(sport=123, dport=80) / Raw(b"\xd7\x00\x03\x2a")))
    unsure = of_packet(facts(V4 / UDP(sport=500, dport=80) / Raw(b"\x00")))
    assert sure.confidence > 0.9 > unsure.confidence


def test_tagged_and_cut_off_frames_are_read_as_far_as_they_go() -> None:
    frame = bytes(Ether() / Dot1Q(vlan=7) / V4 / TCP(sport=1, dport=2, flags="S"))
    assert read_frame(frame) is not None
    for length in range(len(frame)):
        read_frame(frame[:length])  # must not raise
    cut = read_frame(frame[: 14 + 4 + 20])
    assert cut is not None
    assert cut.source_port is None


def test_every_reflector_survives_any_payload() -> None:
    for service in REFLECTORS.values():
        if service.answer is not None:
            for payload in (b"", b"\x00", b"\xff" * 4, bytes(range(64))):
                service.answer(payload)


def test_counters_are_split_as_the_samples_say() -> None:
    book = VectorBook()
    ntp = facts(V4 / UDP(sport=123, dport=80) / Raw(b"\xd7\x00\x03\x2a"))
    plain = facts(V4 / UDP(sport=40000, dport=9) / Raw(b"x" * 64))
    book.take(1_000, 1.0, {Lane.UDP: (100_000, 50_000_000)}, {Lane.UDP: [ntp] * 75 + [plain] * 25})
    first, second = book.vectors()
    assert (first.name, first.packets, first.remote_port) == ("NTP reflection", 75_000, 123)
    assert (second.name, second.packets) == ("UDP flood", 25_000)
    assert first.estimated
    assert first.peak_pps == 75_000


def test_without_a_sample_only_the_lane_is_known() -> None:
    book = VectorBook()
    book.take(1_000, 1.0, {Lane.ICMP: (1_000, 60_000)}, {})
    (vector,) = book.vectors()
    assert vector.name == of_lane(Lane.ICMP).name
    assert vector.confidence == 0.5
    assert not vector.estimated


def test_what_was_known_before_a_restart_goes_on() -> None:
    ntp = facts(V4 / UDP(sport=123, dport=80) / Raw(b"\xd7\x00\x03\x2a"))
    book = VectorBook()
    book.take(1_000, 1.0, {Lane.UDP: (1_000, 60_000)}, {Lane.UDP: [ntp] * 10})
    again = VectorBook(book.vectors())
    again.take(2_000, 1.0, {Lane.UDP: (1_000, 60_000)}, {})
    (vector,) = again.vectors()
    assert (vector.name, vector.packets, vector.first_ms, vector.last_ms) == (
        "NTP reflection",
        2_000,
        1_000,
        2_000,
    )
