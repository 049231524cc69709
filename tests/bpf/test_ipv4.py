# SPDX-License-Identifier: Apache-2.0
"""The IPv4 header: options, lengths, version, and what pads the frame."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bpf.packets import ACK, ESP, ICMP, IPV4, TCP, UDP, VLAN, ethernet, icmp, ipv4, tcp, udp
from tests.bpf.scene import Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.reasons import Reason

BODIES = {"udp": (udp(b"hello"), UDP), "tcp": (tcp(ACK, b"hello"), TCP), "icmp": (icmp(8), ICMP)}


def options_table() -> Iterator[Row]:
    """Options of every possible length, before each transport: what follows is read at the right place."""
    for size in range(0, 41, 4):
        for name, (body, protocol) in BODIES.items():
            options = b"\x01" * size
            yield passes(f"{size} bytes, {name}", ethernet(ipv4(body, protocol, options=options), IPV4))
        broken = ipv4(tcp(0), TCP, options=b"\x01" * size)
        yield drops(f"{size} bytes, tcp fault behind", ethernet(broken, IPV4), Reason.TCP_FLAGS)


@rows(options_table())
def test_options(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def faults_table() -> Iterator[Row]:
    """One fault a row, in a packet that is right otherwise."""
    body = udp(b"hello")
    for version in (0, 1, 3, 5, 6, 7, 15):
        yield drops(f"version {version}", ethernet(ipv4(body, version=version), IPV4), Reason.IP_HEADER)
    for words in range(5):
        yield drops(f"header of {words * 4}", ethernet(ipv4(body, words=words), IPV4), Reason.IP_HEADER)
    right = 20 + len(body)
    for total in (0, 1, 19):
        yield drops(f"total length {total}", ethernet(ipv4(body, total=total), IPV4), Reason.IP_LENGTH)
    for total in (right + 1, right + 2, 0x1234, 0xFFFF):
        yield drops(f"total length {total}", ethernet(ipv4(body, total=total), IPV4), Reason.IP_LENGTH)
    yield passes("total length exact", ethernet(ipv4(body, total=right), IPV4))
    yield drops(
        "total length below a header with options",
        ethernet(ipv4(body, options=bytes(8), total=27), IPV4),
        Reason.IP_LENGTH,
    )
    yield drops(
        "header longer than the packet", ethernet(ipv4(b"", 255, words=15, total=20), IPV4), Reason.IP_LENGTH
    )
    yield drops(
        "header longer than the frame", ethernet(ipv4(b"", 255, words=15, total=60), IPV4), Reason.IP_LENGTH
    )
    yield passes("nothing behind the header", ethernet(ipv4(b"", 255), IPV4))
    yield drops("udp with nothing behind the header", ethernet(ipv4(b"", UDP), IPV4), Reason.TRUNCATED)
    yield drops("tcp with nothing behind the header", ethernet(ipv4(b"", TCP), IPV4), Reason.TRUNCATED)


@rows(faults_table())
def test_faults(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def padding_table() -> Iterator[Row]:
    """Short packets are padded to 60 bytes on the wire; what stands behind the packet is none of it."""
    for name, (body, protocol) in BODIES.items():
        for size in (1, 2, 6, 18, 46):
            packet = ipv4(body, protocol)
            yield passes(f"{name} and {size} bytes", ethernet(packet + b"\xff" * size, IPV4))
            yield passes(f"{name} tagged and {size}", ethernet(packet + b"\xff" * size, IPV4, vlans=[VLAN]))
    yield drops(
        "a header may not reach into the padding",
        ethernet(ipv4(udp(b""), total=24) + bytes(40), IPV4),
        Reason.TRUNCATED,
    )
    yield drops(
        "nor the data of udp", ethernet(ipv4(udp(b"x" * 10), total=30) + bytes(40), IPV4), Reason.UDP_LENGTH
    )


@rows(padding_table())
def test_padding(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def protocols_table() -> Iterator[Row]:
    """What is not TCP, UDP or ICMP is judged by its source alone."""
    for protocol in (2, 4, 33, 41, 47, ESP, 51, 89, 103, 112, 132, 136, 255):
        for size in (0, 3, 64):
            packet = ethernet(ipv4(b"\xa5" * size, protocol), IPV4)
            yield passes(f"protocol {protocol} with {size} bytes", packet)


@rows(protocols_table())
def test_other_protocols(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def test_every_flag_and_service_value_that_says_nothing(probe: Probe) -> None:
    """Don't-fragment, service and TTL have no say."""
    for flags in (0, 2):
        for ttl in (0, 1, 255):
            packet = ethernet(ipv4(udp(b"x"), flags=flags, ttl=ttl), IPV4)
            assert probe.run(packet).reason is Reason.PASS
