# SPDX-License-Identifier: Apache-2.0
"""Every packet cut at every byte, in two ways: off the wire, and with IP lengths that agree with the cut.

Nothing may abort, and nothing whose headers are cut may pass. The kernel hands no frame of fewer than 14 bytes to a
program (see test_ethernet), so cuts begin there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bpf.packets import (
    ACK,
    DEST_OPTIONS,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    QINQ,
    TCP,
    UDP,
    VLAN,
    Extension,
    authentication,
    ethernet,
    fragment,
    icmp,
    ipv4,
    ipv6,
    options_header,
    routing,
    tcp,
    udp,
)
from tests.bpf.scene import DROP, PASS, Outcome, Probe
from xdpwall.reasons import Reason


@dataclass(frozen=True)
class Layer:
    """A run of bytes of a packet; ``cut`` is what becomes of a packet that ends within it."""

    size: int
    cut: Reason


@dataclass(frozen=True)
class Base:
    """A good packet and its layers behind the Ethernet header, in order."""

    name: str
    frame: bytes
    layers: tuple[Layer, ...]
    ip: int
    """Offset of the IP header."""

    def expected(self, size: int) -> Reason:
        """What a packet that ends after this many bytes deserves: the reason of the first layer that is not whole."""
        end = 14
        for layer in self.layers:
            end += layer.size
            if size < end:
                return layer.cut
        return Reason.PASS


TRANSPORTS: dict[str, tuple[bytes, int, int, tuple[Layer, ...]]] = {
    "tcp": (
        tcp(ACK, b"some data", options=b"\x01" * 12),
        TCP,
        TCP,
        (Layer(20, Reason.TRUNCATED), Layer(12, Reason.TCP_HEADER), Layer(9, Reason.PASS)),
    ),
    "udp": (udp(b"some data"), UDP, UDP, (Layer(8, Reason.TRUNCATED), Layer(9, Reason.UDP_LENGTH))),
    "icmp": (icmp(8), ICMP, ICMPV6, (Layer(8, Reason.ICMP_HEADER), Layer(4, Reason.PASS))),
    "other": (b"opaque", 132, 132, (Layer(6, Reason.PASS),)),
}
CHAINS: dict[str, tuple[Extension, ...]] = {
    "plain": (),
    "hbh": (options_header(HOP_BY_HOP, units=1),),
    "routing": (routing(4, units=2),),
    "atomic": (fragment(),),
    "ah": (authentication(),),
    "all": (
        options_header(HOP_BY_HOP),
        options_header(DEST_OPTIONS, units=1),
        routing(2, units=2),
        fragment(),
        authentication(),
        options_header(DEST_OPTIONS),
    ),
}
TAGS = {"untagged": (), "vlan": (VLAN,), "qinq": (QINQ, VLAN)}


def bases() -> Iterator[Base]:
    """Both families, with and without tags, options and extension headers, before each transport."""
    for tag_name, vlans in TAGS.items():
        tags = tuple(Layer(4, Reason.TRUNCATED) for _ in vlans)
        start = 14 + 4 * len(vlans)
        for name, (body, protocol, _, layers) in TRANSPORTS.items():
            for size in (0, 8, 40):
                header = (Layer(20, Reason.TRUNCATED), Layer(size, Reason.IP_LENGTH))
                packet = ethernet(ipv4(body, protocol, options=b"\x01" * size), IPV4, vlans=vlans)
                yield Base(f"ipv4 {tag_name} options {size} {name}", packet, (*tags, *header, *layers), start)
        for name, (body, _, protocol, layers) in TRANSPORTS.items():
            for chain_name, chain in CHAINS.items():
                fixed = Layer(40, Reason.TRUNCATED)
                built = tuple(Layer(len(extension.build(0)), Reason.TRUNCATED) for extension in chain)
                packet = ethernet(ipv6(body, protocol, extensions=chain), IPV6, vlans=vlans)
                yield Base(
                    f"ipv6 {tag_name} {chain_name} {name}", packet, (*tags, fixed, *built, *layers), start
                )


BASES = list(bases())


@pytest.fixture(params=BASES, ids=[base.name for base in BASES])
def base(request: pytest.FixtureRequest) -> Base:
    """One good packet."""
    chosen: Base = request.param
    assert len(chosen.frame) == 14 + sum(layer.size for layer in chosen.layers)
    return chosen


def test_whole(probe: Probe, base: Base) -> None:
    """The packets are good before they are cut."""
    assert probe.run(base.frame) == (PASS, Reason.PASS)


def test_cut_off_the_wire(probe: Probe, base: Base) -> None:
    """The frame ends early and IP promises more: the header is not whole, or its length is a lie. None passes."""
    header = base.ip + (20 if base.name.startswith("ipv4") else 40)
    found = {size: probe.run(base.frame[:size]) for size in range(14, len(base.frame))}
    wanted = {size: Outcome(DROP, Reason.TRUNCATED if size < header else Reason.IP_LENGTH) for size in found}
    assert found == wanted


def test_cut_with_lengths_that_agree(probe: Probe, base: Base) -> None:
    """IP says as much as is there: each header that is not whole is found, and where data are cut it passes."""
    found, wanted = {}, {}
    for size in range(14, len(base.frame)):
        found[size] = probe.run(with_lengths(base, size))
        reason = base.expected(size)
        wanted[size] = Outcome(DROP if reason.drops else PASS, reason)
    assert found == wanted


def test_cut_with_lengths_that_agree_in_a_padded_frame(probe: Probe, base: Base) -> None:
    """The same with bytes behind the packet, so that a reader who goes by the frame would see whole headers."""
    fixed = base.ip + (20 if base.name.startswith("ipv4") else 40)
    found, wanted = {}, {}
    for size in range(fixed, len(base.frame)):
        found[size] = probe.run(with_lengths(base, size) + base.frame[size:] + bytes(60))
        reason = base.expected(size)
        wanted[size] = Outcome(DROP if reason.drops else PASS, reason)
    assert found == wanted


def with_lengths(base: Base, size: int) -> bytes:
    """The first ``size`` bytes, with IP lengths that agree where the field is still there."""
    cut = bytearray(base.frame[:size])
    at, length = (2, size - base.ip) if base.name.startswith("ipv4") else (4, size - base.ip - 40)
    if size >= base.ip + at + 2 and length >= 0:
        cut[base.ip + at : base.ip + at + 2] = length.to_bytes(2, "big")
    return bytes(cut)
