# SPDX-License-Identifier: Apache-2.0
"""Frames made to ask about, and read to say what they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from xdpwall.dataplane import frames

HERE4, THERE4 = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 7])
HERE6, THERE6 = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "7")


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_made_is_what_it_says(version: int) -> None:
    source, target = (THERE4, HERE4) if version == 4 else (THERE6, HERE6)
    layer = IP if version == 4 else IPv6
    syn = Ether(frames.frame(source, target, frames.TCP, frames.tcp(frames.SYN, 443, source_port=5)))
    assert (syn[layer].src, syn[layer].dst) == (frames.text(source), frames.text(target))
    assert (syn[TCP].sport, syn[TCP].dport, str(syn[TCP].flags), syn[TCP].dataofs) == (5, 443, "S", 5)
    asked = Ether(frames.frame(source, target, frames.UDP, frames.udp(53, b"abc")))
    assert (asked[UDP].dport, asked[UDP].len, bytes(asked[UDP].payload)[:3]) == (53, 11, b"abc")
    ping = Ether(
        frames.frame(source, target, frames.ICMP if version == 4 else frames.ICMPV6, frames.echo(version))
    )
    assert ICMP in ping if version == 4 else ICMPv6EchoRequest in ping
    part = Ether(frames.frame(source, target, frames.UDP, bytes(64), later_fragment=True))
    offset = part[IP].frag if version == 4 else part[IPv6ExtHdrFragment].offset
    assert offset == 185


@pytest.mark.parametrize(
    ("packet", "what"),
    [
        (IP(src="198.51.100.7", dst="192.0.2.1") / TCP(sport=5, dport=80, flags="SA"),
         "TCP SYN+ACK 198.51.100.7:5 > 192.0.2.1:80"),
        (IP(src="198.51.100.7", dst="192.0.2.1") / TCP(sport=5, dport=80, flags=0),
         "TCP no flags 198.51.100.7:5 > 192.0.2.1:80"),
        (IP(src="198.51.100.7", dst="192.0.2.1") / UDP(sport=53, dport=9), "UDP 198.51.100.7:53 > 192.0.2.1:9"),
        (IP(src="198.51.100.7", dst="192.0.2.1", flags="MF") / UDP(sport=53, dport=9),
         "UDP 198.51.100.7:53 > 192.0.2.1:9, first fragment"),
        (IP(src="198.51.100.7", dst="192.0.2.1", frag=9, proto=17) / Raw(b"x" * 40),
         "UDP later fragment 198.51.100.7 > 192.0.2.1"),
        (IP(src="198.51.100.7", dst="192.0.2.1") / ICMP(type=3, code=4), "ICMP type 3 code 4 198.51.100.7 > 192.0.2.1"),
        (IP(src="198.51.100.7", dst="192.0.2.1", proto=47) / Raw(b"x"), "GRE 198.51.100.7 > 192.0.2.1"),
        (IP(src="198.51.100.7", dst="192.0.2.1", proto=200) / Raw(b"x"), "protocol 200 198.51.100.7 > 192.0.2.1"),
        (IPv6(src="2001:db8::7", dst="2001:db8::1") / IPv6ExtHdrDestOpt() / TCP(sport=5, dport=80, flags="S"),
         "TCP SYN [2001:db8::7]:5 > [2001:db8::1]:80"),
        (IPv6(src="2001:db8::7", dst="2001:db8::1") / IPv6ExtHdrFragment(nh=17, offset=3) / Raw(b"x" * 9),
         "UDP later fragment 2001:db8::7 > 2001:db8::1"),
        (Dot1Q(vlan=5) / Dot1Q(vlan=6) / IP(src="198.51.100.7", dst="192.0.2.1") / UDP(sport=1, dport=2),
         "UDP 198.51.100.7:1 > 192.0.2.1:2"),
        (ARP(), "not IP (EtherType 0x0806)"),
    ],
)  # fmt: skip
def test_what_a_frame_is(packet: object, what: str) -> None:
    assert frames.read(bytes(Ether() / packet)).what == what


@given(st.binary(max_size=120))
def test_anything_can_be_read(data: bytes) -> None:
    frames.read(data)
    frames.read(bytes(12) + b"\x08\x00" + data)
    frames.read(bytes(12) + b"\x86\xdd" + data)
