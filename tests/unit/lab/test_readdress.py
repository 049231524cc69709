# SPDX-License-Identifier: Apache-2.0
"""A packet gets another destination, right check sums, and nothing else."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from xdpwall.lab import network, readdress, run
from xdpwall.lab.readdress import OTHER, SYN, Unusable
from xdpwall.lab.readdress import TCP as OTHER_TCP
from xdpwall.lab.readdress import UDP as ANY_UDP

TARGET = run.target(network.wall_link())
LINK = network.wall_link()
FOUR = IP(src="5.3.7.1", dst="10.10.10.10", ttl=33, id=77)
SIX = IPv6(src="2a00:1::7", dst="2a00:2::8", hlim=33)


def moved(packet: Packet, *, cut: int | None = None) -> tuple[Packet, readdress.Addressed]:
    """The packet as scapy reads it again, after the change."""
    raw = bytes(Ether() / packet)
    result = readdress.readdress(raw[12:cut], TARGET)
    return Ether(bytes(12) + result.data), result


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (FOUR / UDP(sport=53, dport=99) / b"answer", ANY_UDP),
        (FOUR / UDP(sport=53, dport=99) / b"odd", ANY_UDP),
        (FOUR / TCP(flags="S", options=[("MSS", 1460)]), SYN),
        (FOUR / TCP(flags="SA"), OTHER_TCP),
        (FOUR / TCP(flags="PA") / b"GET / HTTP/1.1", OTHER_TCP),
        (FOUR / ICMP() / b"ping", OTHER),
        (IP(src="5.3.7.1", dst="10.10.10.10", options=[b"\x07\x07\x04abcd\x00"]) / UDP() / b"x", ANY_UDP),
        (Dot1Q(vlan=5) / FOUR / UDP() / b"tagged", ANY_UDP),
        (SIX / UDP(sport=53, dport=99) / b"answer", ANY_UDP),
        (SIX / TCP(flags="S"), SYN),
        (SIX / IPv6ExtHdrDestOpt() / TCP(flags="A"), OTHER_TCP),
        (SIX / ICMPv6EchoRequest(), OTHER),
    ],
    ids=lambda value: value.summary() if isinstance(value, Packet) else str(value),
)
def test_only_the_destination_changes(packet: Packet, kind: int) -> None:
    seen, result = moved(packet)
    assert result.kind == kind
    assert not result.filled
    wanted = packet.copy()
    if IP in wanted:
        wanted[IP].dst = LINK.host.v4
    else:
        wanted[IPv6].dst = LINK.host.v6
    assert bytes(seen)[12:] == bytes(Ether() / wanted)[12:], "scapy computes the same check sums"


def test_a_datagram_without_check_sum_keeps_none() -> None:
    seen, _ = moved(FOUR / UDP(chksum=0) / b"plain")
    assert seen[UDP].chksum == 0


def test_fragments_stay_fragments() -> None:
    """Put together again they make a datagram whose check sum is right."""
    from scapy.layers.inet import defragment, fragment

    whole = FOUR / UDP(sport=53, dport=99) / bytes(range(256)) * 8
    pieces = [moved(IP(bytes(piece)))[0][IP] for piece in fragment(whole, fragsize=512)]
    assert len(pieces) > 2
    joined = IP(bytes(defragment(pieces)[0]))
    right = joined.copy()
    del right[UDP].chksum
    assert IP(bytes(right))[UDP].chksum == joined[UDP].chksum
    assert joined.dst == LINK.host.v4


def test_later_ipv6_fragments_are_left_alone() -> None:
    whole = SIX / IPv6ExtHdrFragment() / UDP(sport=53, dport=99) / bytes(3000)
    for number, piece in enumerate(fragment6(whole, 1280)):
        _, result = moved(IPv6(bytes(piece)))
        before = bytes(piece)
        after = result.data[2:]
        assert after[40:48] == before[40:48], "the fragment header"
        assert (after[48:] == before[48:]) is (number > 0), "only the first has a check sum to mend"


def test_what_the_capture_cut_off_is_filled_up() -> None:
    seen, result = moved(FOUR / UDP(sport=1, dport=2) / bytes(400), cut=96)
    assert result.filled
    assert seen[IP].len == 428 == len(bytes(seen)) - 14
    again = seen.copy()
    del again[UDP].chksum
    assert Ether(bytes(again))[UDP].chksum == seen[UDP].chksum


def test_padding_of_the_link_is_cut_off() -> None:
    raw = bytes(Ether() / FOUR / UDP() / b"x") + bytes(20)
    assert len(readdress.readdress(raw[12:], TARGET).data) == 2 + 29


@pytest.mark.parametrize(
    "raw", [b"\x08\x00", b"\x08\x00\x45", b"\x08\x00" + b"\x60" + bytes(39), b"\x86\xdd" + b"\x60" * 39]
)
def test_broken_headers_are_told(raw: bytes) -> None:
    with pytest.raises(Unusable, match="broken IP header"):
        readdress.readdress(raw, TARGET)


def test_impossible_lengths_are_kept() -> None:
    """What attackers send broken is replayed broken."""
    packet = FOUR.copy()
    packet.len = 10
    seen, _ = moved(packet / UDP() / b"x")
    assert seen[IP].len == 10
