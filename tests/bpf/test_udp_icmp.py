# SPDX-License-Identifier: Apache-2.0
"""UDP and ICMP: lengths, and ICMP in the family that it does not belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.bpf.packets import ICMP, ICMPV6, UDP, fragment, frame4, frame6, icmp, udp
from tests.bpf.scene import Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.reasons import Reason

Frame = Callable[[bytes, int], bytes]
FAMILIES: dict[str, Frame] = {"ipv4": frame4, "ipv6": frame6}
MORE = 1


def udp_table() -> Iterator[Row]:
    """The length field against the 13 bytes that are there."""
    for family, build in FAMILIES.items():
        for length in (0, 1, 7, 14, 100, 0xFFFF):
            wrong = build(udp(b"hello", length=length), UDP)
            yield drops(f"{family}: length {length} of 13", wrong, Reason.UDP_LENGTH)
        for length in (8, 9, 12, 13):
            yield passes(f"{family}: length {length} of 13", build(udp(b"hello", length=length), UDP))
        for size in range(8):
            cut = build(udp(b"")[:size], UDP)
            yield drops(f"{family}: {size} bytes of header", cut, Reason.TRUNCATED)
        yield passes(f"{family}: no data", build(udp(b""), UDP))
        yield passes(f"{family}: from port 0, as RFC 768 allows", build(udp(b"x", sport=0), UDP))


@rows(udp_table())
def test_udp(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def first_fragment_table() -> Iterator[Row]:
    """A first fragment holds less than its datagram: the length may reach beyond, but not below the header."""

    def first4(body: bytes) -> bytes:
        return frame4(body, UDP, flags=MORE)

    def first6(body: bytes) -> bytes:
        return frame6(body, UDP, extensions=[fragment(more=True)])

    for family, build in (("ipv4", first4), ("ipv6", first6)):
        for length in (16, 17, 1400, 0xFFFF):
            yield passes(f"{family}: length {length} of 16", build(udp(b"12345678", length=length)))
        for length in (0, 7):
            short = build(udp(b"12345678", length=length))
            yield drops(f"{family}: length {length} of 16", short, Reason.UDP_LENGTH)


@rows(first_fragment_table())
def test_udp_first_fragments(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def icmp_table() -> Iterator[Row]:
    """Each in its own family, whole."""
    for kind in (0, 3, 5, 8, 11, 13, 255):
        yield passes(f"icmp type {kind}", frame4(icmp(kind), ICMP))
        yield drops(f"icmp type {kind} in ipv6", frame6(icmp(kind), ICMP), Reason.ICMP_HEADER)
    for kind in (1, 2, 3, 4, 128, 129, 130, 255):
        yield passes(f"icmpv6 type {kind}", frame6(icmp(kind), ICMPV6))
        yield drops(f"icmpv6 type {kind} in ipv4", frame4(icmp(kind), ICMPV6), Reason.ICMP_HEADER)
    for size in range(8):
        yield drops(f"icmp of {size} bytes", frame4(icmp(8)[:size], ICMP), Reason.ICMP_HEADER)
        yield drops(f"icmpv6 of {size} bytes", frame6(icmp(128)[:size], ICMPV6), Reason.ICMP_HEADER)
    yield passes("icmp of 8 bytes", frame4(icmp(8)[:8], ICMP))
    yield passes("icmpv6 of 8 bytes", frame6(icmp(128)[:8], ICMPV6))


@rows(icmp_table())
def test_icmp(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)
