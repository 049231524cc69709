# SPDX-License-Identifier: Apache-2.0
"""Frames: VLAN tags, and what is not IP."""

from __future__ import annotations

import itertools

import pytest

from tests.bpf.packets import (
    ACK,
    IPV4,
    IPV6,
    QINQ,
    QINQ_OLD,
    TCP,
    UDP,
    VLAN,
    ethernet,
    frame4,
    frame6,
    ipv4,
    tcp,
    udp,
)
from tests.bpf.scene import DROP, PASS, Probe
from xdpwall.dataplane import sys_bpf
from xdpwall.errors import KernelError
from xdpwall.reasons import Reason

TAGS = {"8021q": VLAN, "8021ad": QINQ, "9100": QINQ_OLD}
NONE_TO_TWO = [
    pytest.param(tuple(TAGS[name] for name in names), id="+".join(names) or "untagged")
    for depth in range(3)
    for names in itertools.product(TAGS, repeat=depth)
]
THREE = [
    pytest.param(tuple(TAGS[name] for name in names), id="+".join(names))
    for names in itertools.product(TAGS, repeat=3)
]
PAYLOADS = {"udp": (udp(b"hello"), UDP), "tcp": (tcp(ACK), TCP)}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("build", [frame4, frame6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("vlans", NONE_TO_TWO)
def test_up_to_two_tags_pass(probe: Probe, vlans: tuple[int, ...], build: object, payload: str) -> None:
    make = frame4 if build is frame4 else frame6
    assert probe.run(make(*PAYLOADS[payload], vlans=vlans)) == (PASS, Reason.PASS)


@pytest.mark.parametrize("vlans", NONE_TO_TWO)
def test_a_fault_is_seen_behind_tags(probe: Probe, vlans: tuple[int, ...]) -> None:
    """Tags do not hide anything: TCP with no flag at all."""
    assert probe.run(frame4(tcp(0), TCP, vlans=vlans)) == (DROP, Reason.TCP_FLAGS)
    assert probe.run(frame6(tcp(0), TCP, vlans=vlans)) == (DROP, Reason.TCP_FLAGS)


@pytest.mark.parametrize("vlans", THREE)
def test_three_tags_are_too_many(probe: Probe, vlans: tuple[int, ...]) -> None:
    assert probe.run(frame4(vlans=vlans)) == (DROP, Reason.VLAN_DEPTH)
    assert probe.run(frame6(vlans=vlans)) == (DROP, Reason.VLAN_DEPTH)


def test_tags_around_nothing_of_ip_pass(probe: Probe) -> None:
    arp = bytes.fromhex("0001080006040001") + bytes(20)
    for vlans in ((VLAN,), (QINQ, VLAN)):
        assert probe.run(ethernet(arp, 0x0806, vlans=vlans)) == (PASS, Reason.PASS_NOT_IP)


NOT_IP = {
    "arp request": ethernet(bytes.fromhex("0001080006040001") + bytes(20), 0x0806, target=b"\xff" * 6),
    "arp reply": ethernet(bytes.fromhex("0001080006040002") + bytes(20), 0x0806),
    "lldp": ethernet(
        bytes.fromhex("020704027877000001") + bytes(40), 0x88CC, target=bytes.fromhex("0180c200000e")
    ),
    "lacp": ethernet(b"\x01\x01" + bytes(108), 0x8809, target=bytes.fromhex("0180c2000002")),
    "spanning tree, an 802.3 length": ethernet(
        bytes.fromhex("424203") + bytes(35), 38, target=bytes.fromhex("0180c2000000")
    ),
    "eapol": ethernet(b"\x02\x01\x00\x00", 0x888E, target=bytes.fromhex("0180c2000003")),
    "ptp": ethernet(bytes(44), 0x88F7, target=bytes.fromhex("011b19000000")),
    "macsec": ethernet(bytes(64), 0x88E5),
    "pppoe": ethernet(bytes(64), 0x8864),
    "mpls": ethernet(bytes(64), 0x8847),
    "an ethertype of zero": ethernet(bytes(46), 0),
    "an unknown ethertype": ethernet(bytes(46), 0xFFFF),
    "a bare header": ethernet(b"", 0x0806),
}


@pytest.mark.parametrize("name", NOT_IP)
def test_what_is_not_ip_passes(probe: Probe, name: str) -> None:
    assert probe.run(NOT_IP[name]) == (PASS, Reason.PASS_NOT_IP)


@pytest.mark.parametrize(("kind", "body"), [(IPV4, 0x45), (IPV6, 0x60)], ids=["ipv4", "ipv6"])
def test_an_ip_type_with_nothing_behind_is_cut(probe: Probe, kind: int, body: int) -> None:
    assert probe.run(ethernet(b"", kind)) == (DROP, Reason.TRUNCATED)
    assert probe.run(ethernet(bytes([body]), kind)) == (DROP, Reason.TRUNCATED)


def test_a_type_byte_order_is_the_wire_order(probe: Probe) -> None:
    """0x0008 is not IPv4: read in the wrong order it would be."""
    assert probe.run(ethernet(ipv4(udp(b"x")), 0x0008)) == (PASS, Reason.PASS_NOT_IP)


@pytest.mark.parametrize("size", [0, 1, 13])
def test_the_kernel_takes_no_frame_below_a_header(probe: Probe, size: int) -> None:
    """So truncation is tested from 14 bytes on: nothing shorter reaches an XDP program."""
    with pytest.raises(KernelError) as caught:
        sys_bpf.test_run(probe.fd, bytes(size))
    assert caught.value.errno == 22
