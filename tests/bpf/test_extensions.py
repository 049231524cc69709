# SPDX-License-Identifier: Apache-2.0
"""IPv6: the header, and every chain of extension headers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.bpf.packets import (
    ACK,
    DEST_OPTIONS,
    ESP,
    HOP_BY_HOP,
    ICMPV6,
    IPV6,
    NO_NEXT,
    TCP,
    UDP,
    VLAN,
    Extension,
    authentication,
    ethernet,
    fragment,
    frame6,
    icmp,
    ipv6,
    options_header,
    routing,
    tcp,
    udp,
)
from tests.bpf.scene import Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.reasons import Reason

HBH = options_header(HOP_BY_HOP)
DEST = options_header(DEST_OPTIONS)
SEGMENTS = routing(4)
ATOMIC = fragment()
AUTH = authentication()
BODIES = {"udp": (udp(b"hello"), UDP), "tcp": (tcp(ACK), TCP), "icmpv6": (icmp(128), ICMPV6)}
KINDS: dict[str, Extension] = {"hbh": HBH, "dest": DEST, "routing": SEGMENTS, "atomic": ATOMIC, "ah": AUTH}
LIMIT = 8
"""Extension headers in a chain."""


def header_table() -> Iterator[Row]:
    """Faults of the fixed header."""
    body = udp(b"hello")
    for version in (0, 4, 5, 7, 15):
        yield drops(f"version {version}", ethernet(ipv6(body, version=version), IPV6), Reason.IP_HEADER)
    yield passes("payload length exact", ethernet(ipv6(body, length=len(body)), IPV6))
    for length in (len(body) + 1, 0x1234, 0xFFFF):
        yield drops(f"payload length {length}", ethernet(ipv6(body, length=length), IPV6), Reason.IP_LENGTH)
    yield drops("payload length 0 with udp", ethernet(ipv6(body, length=0), IPV6), Reason.TRUNCATED)
    yield passes("payload length 0 with no next header", ethernet(ipv6(b"", NO_NEXT), IPV6))
    for size in (1, 6, 46):
        yield passes(f"{size} bytes of padding", ethernet(ipv6(body) + b"\xff" * size, IPV6))
    yield drops("udp into the padding", ethernet(ipv6(body, length=12) + bytes(9), IPV6), Reason.UDP_LENGTH)


@rows(header_table())
def test_fixed_header(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def is_good_chain(names: tuple[str, ...]) -> bool:
    """RFC 8200 section 4.1: hop-by-hop only as the first, and one fragment header a packet."""
    return "hbh" not in names[1:] and names.count("atomic") <= 1


def chains_table() -> Iterator[Row]:
    """Every chain of up to three kinds before each transport, alone and with a fault behind it."""
    for depth in range(1, 4):
        for names in itertools.product(KINDS, repeat=depth):
            chain = [KINDS[name] for name in names]
            title = "-".join(names)
            if is_good_chain(names):
                for body, (payload, protocol) in BODIES.items():
                    yield passes(f"{title}-{body}", frame6(payload, protocol, extensions=chain))
                broken = frame6(tcp(0), TCP, extensions=chain)
                yield drops(f"{title}-tcp fault", broken, Reason.TCP_FLAGS)
            else:
                bad = frame6(udp(b"hello"), UDP, extensions=chain)
                yield drops(f"{title}-udp", bad, Reason.EXTENSION_CHAIN)


@rows(chains_table())
def test_chains(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def limits_table() -> Iterator[Row]:
    """Chains up to the limit and one beyond, sizes from the least to the most."""
    for count in range(1, LIMIT + 1):
        yield passes(f"{count} headers", frame6(extensions=[DEST] * count))
        yield drops(
            f"{count} headers and a fault", frame6(tcp(0), TCP, extensions=[DEST] * count), Reason.TCP_FLAGS
        )
    for count in (LIMIT + 1, LIMIT + 2, 20):
        yield drops(f"{count} headers", frame6(extensions=[DEST] * count), Reason.EXTENSION_CHAIN)
    yield passes("limit, tagged twice", frame6(extensions=[DEST] * LIMIT, vlans=[VLAN, VLAN]))
    for units in (0, 1, 2, 17, 63):
        for kind in (HOP_BY_HOP, DEST_OPTIONS):
            chain = [options_header(kind, units=units)]
            yield passes(f"kind {kind} of {8 + units * 8} bytes", frame6(tcp(ACK), TCP, extensions=chain))
            fault = frame6(tcp(0), TCP, extensions=chain)
            yield drops(f"kind {kind} of {8 + units * 8} and a fault", fault, Reason.TCP_FLAGS)
    long = options_header(DEST_OPTIONS, units=255)
    yield passes("one of 2048 bytes", frame6(tcp(ACK), TCP, extensions=[long]))
    for length in (1, 2, 4, 6, 64, 254):
        chain = [authentication(length=length)]
        yield passes(f"ah of {8 + length * 4} bytes", frame6(tcp(ACK), TCP, extensions=chain))
        fault = frame6(tcp(0), TCP, extensions=chain)
        yield drops(f"ah of {8 + length * 4} and a fault", fault, Reason.TCP_FLAGS)


@rows(limits_table())
def test_limits(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def faults_table() -> Iterator[Row]:
    """What no sane stack sends."""
    for kind in range(256):
        chain = [routing(kind)]
        if kind == 0:  # RFC 5095
            yield drops("routing type 0", frame6(extensions=chain), Reason.EXTENSION_CHAIN)
            deep = [HBH, DEST, routing(0, units=2)]
            yield drops("routing type 0 deep inside", frame6(extensions=deep), Reason.EXTENSION_CHAIN)
        elif kind in (1, 2, 3, 4, 5, 6, 253, 255):
            yield passes(f"routing type {kind}", frame6(extensions=chain))
    for units in (1, 2, 255):
        long = [options_header(DEST_OPTIONS, length=units)]
        yield drops(
            f"a header that claims {8 + units * 8} of 8 bytes",
            frame6(b"", NO_NEXT, extensions=long),
            Reason.TRUNCATED,
        )
    padded = ethernet(
        ipv6(b"", NO_NEXT, extensions=[options_header(DEST_OPTIONS, length=1)]) + bytes(40), IPV6
    )
    yield drops("a header that reaches into the padding", padded, Reason.TRUNCATED)
    for size in range(8):
        for kind in (0, 43, 44, 51, 60):
            cut = ethernet(ipv6(bytes(size), kind), IPV6)
            yield drops(f"kind {kind} cut to {size} bytes", cut, Reason.TRUNCATED)
    yield drops("nothing behind the chain", frame6(b"", TCP, extensions=[DEST]), Reason.TRUNCATED)


@rows(faults_table())
def test_faults(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def ends_table() -> Iterator[Row]:
    """What ends a chain and is not looked into: it passes, judged by its source."""
    for protocol in (NO_NEXT, ESP, 2, 4, 41, 47, 89, 132, 135, 139, 140, 253, 255):
        for size in (0, 5, 40):
            body = b"\xa5" * size
            yield passes(f"{protocol} with {size} bytes", frame6(body, protocol))
            yield passes(
                f"{protocol} with {size} bytes behind two", frame6(body, protocol, extensions=[HBH, DEST])
            )


@rows(ends_table())
def test_ends_of_a_chain(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)
