# SPDX-License-Identifier: Apache-2.0
"""Fragments of both families: real ones pass, those that only an attacker makes do not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bpf.packets import (
    ACK,
    DEST_OPTIONS,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    fragment,
    frame4,
    frame6,
    icmp,
    options_header,
    tcp,
    udp,
)
from tests.bpf.scene import Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.reasons import Reason

MORE = 1
WHOLE = tcp(ACK, b"1234")


def piece(family: str, body: bytes, protocol: int, offset: int = 0, *, more: bool = False) -> bytes:
    """One fragment in a frame."""
    if family == "ipv4":
        return frame4(body, protocol, offset=offset, flags=MORE if more else 0)
    return frame6(body, protocol, extensions=[fragment(offset, more=more)])


def good_table() -> Iterator[Row]:
    """What stacks send."""
    for family, icmp_here in (("ipv4", ICMP), ("ipv6", ICMPV6)):
        yield passes(f"{family}: first, tcp", piece(family, WHOLE, TCP, more=True))
        yield passes(f"{family}: first, udp", piece(family, udp(bytes(1392), length=4000), UDP, more=True))
        yield passes(f"{family}: first, icmp", piece(family, icmp(8, bytes(8)), icmp_here, more=True))
        for name, protocol in (("tcp", TCP), ("udp", UDP), ("icmp", icmp_here), ("other", 132)):
            yield passes(f"{family}: middle, {name}", piece(family, bytes(1400), protocol, 1400, more=True))
            yield passes(f"{family}: last, {name}", piece(family, bytes(13), protocol, 2800))
            yield passes(f"{family}: last of one byte, {name}", piece(family, b"x", protocol, 2800))
        yield passes(f"{family}: later udp at 8", piece(family, bytes(8), UDP, 8, more=True))
        yield passes(f"{family}: tcp at 24", piece(family, bytes(8), TCP, 24, more=True))
        yield passes(f"{family}: later with what would be a bad header", piece(family, tcp(0), TCP, 1400))
    yield passes("ipv6: atomic", frame6(WHOLE, TCP, extensions=[fragment()]))
    yield passes("ipv6: atomic, reserved bits set", frame6(WHOLE, TCP, extensions=[fragment(reserved=3)]))
    yield passes(
        "ipv6: later, its next header would be an extension", piece("ipv6", bytes(9), DEST_OPTIONS, 1400)
    )
    both = [options_header(DEST_OPTIONS), fragment(more=True), options_header(DEST_OPTIONS)]
    yield passes("ipv6: first, options on both sides", frame6(udp(bytes(8)), UDP, extensions=both))


@rows(good_table())
def test_good_fragments(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def bad_table() -> Iterator[Row]:
    """RFC 791, RFC 1858, RFC 3128, RFC 8200 section 4.5."""
    for family in ("ipv4", "ipv6"):
        for size in (8, 16):
            tiny = piece(family, WHOLE[:size], TCP, more=True)
            yield drops(f"{family}: first of {size} bytes of tcp", tiny, Reason.FRAGMENT)
        cut = piece(family, tcp(ACK, options=bytes(20))[:24], TCP, more=True)
        yield drops(f"{family}: first without all of tcp's options", cut, Reason.FRAGMENT)
        for offset in (8, 16):
            inside = piece(family, bytes(24), TCP, offset)
            yield drops(f"{family}: tcp at {offset}, inside its header", inside, Reason.FRAGMENT)
        for size in (1, 7, 12, 1401):
            odd = piece(family, bytes(size), UDP, 1400, more=True)
            yield drops(f"{family}: {size} bytes and more to come", odd, Reason.FRAGMENT)
        yield drops(f"{family}: middle of nothing", piece(family, b"", UDP, 1400, more=True), Reason.FRAGMENT)
        yield drops(f"{family}: first of nothing", piece(family, b"", UDP, more=True), Reason.FRAGMENT)
        yield drops(
            f"{family}: last, past the longest packet", piece(family, bytes(8), UDP, 65528), Reason.FRAGMENT
        )
        long = piece(family, bytes(1400), ICMP, 65120)
        yield drops(f"{family}: ping of death", long, Reason.FRAGMENT)
        yield drops(
            f"{family}: first with tcp flags of no stack",
            piece(family, tcp(0, b"1234"), TCP, more=True),
            Reason.TCP_FLAGS,
        )
        other = ICMPV6 if family == "ipv4" else ICMP
        yield drops(
            f"{family}: first, icmp of the other family",
            piece(family, icmp(8, bytes(8)), other, more=True),
            Reason.ICMP_HEADER,
        )
    yield drops(
        "ipv4: 65,535 bytes of data and a header", piece("ipv4", bytes(7), UDP, 65528), Reason.FRAGMENT
    )
    yield passes("ipv4: the very last byte of the longest packet", piece("ipv4", bytes(3), UDP, 65512))
    yield drops("ipv4: one byte more", piece("ipv4", bytes(4), UDP, 65512), Reason.FRAGMENT)
    yield passes("ipv6: the very last byte of the longest packet", piece("ipv6", bytes(7), UDP, 65528))
    yield drops(
        "ipv6: atomic of tcp, cut", frame6(WHOLE[:12], TCP, extensions=[fragment()]), Reason.TRUNCATED
    )
    yield drops(
        "ipv6: fragment within a fragment",
        frame6(udp(bytes(8)), UDP, extensions=[fragment(more=True), fragment(more=True)]),
        Reason.EXTENSION_CHAIN,
    )


@rows(bad_table())
def test_bad_fragments(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)
