# SPDX-License-Identifier: Apache-2.0
"""Meters: exact for whoever comes more than once, and not fooled by a flood of random sources."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bpf.packets import (
    ACK,
    ICMP,
    ICMPV6,
    RST,
    SYN,
    TCP,
    UDP,
    VLAN,
    fragment,
    frame4,
    frame6,
    frame_from,
    icmp,
    tcp,
    udp,
)
from tests.bpf.scene import DROP, PASS, Probe, config, loaded
from xdpwall.dataplane.keys import meter_key, source_key
from xdpwall.model import Prefix
from xdpwall.reasons import Reason
from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

COUNTED = ("packets", "bytes", "syn", "udp", "icmp", "fragments", "drops")
_numbers = itertools.count()


@dataclass(frozen=True)
class Reading:
    """What the meters say of one source or prefix, all CPUs together."""

    packets: int = 0
    bytes: int = 0
    syn: int = 0
    udp: int = 0
    icmp: int = 0
    fragments: int = 0
    drops: int = 0


def read(snapshot: MeterSnapshot, key: int) -> Reading:
    rows = snapshot.slots[snapshot.slots["key"] == key]
    return Reading(**{name: int(rows[name].sum()) for name in COUNTED})


def source(probe: Probe, text: str) -> Reading:
    return read(probe.wall.sources(), source_key(Prefix.parse_source(text)))


def prefix(probe: Probe, text: str) -> Reading:
    return read(probe.wall.prefixes(), meter_key(Prefix.parse(text)))


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """A wall with so large tables that a new source finds a free place at once: then counts are exact."""
    with loaded(config(meters={"sources": 524_288, "prefixes": 524_288})) as own:
        yield own


@pytest.fixture
def v4() -> str:
    """A source that no other test uses, in a /24 of its own."""
    number = next(_numbers)
    return f"100.{64 + number // 250}.{number % 250}.7"


@pytest.fixture
def v6() -> str:
    """The same for IPv6, in a /48 of its own."""
    return f"2001:db8:{0x1000 + next(_numbers):x}:1::7"


def around(text: str) -> str:
    """The /24 or /48 of a source."""
    single = Prefix.parse(text)
    return str(Prefix.covering(single.packed, 24 if single.version == 4 else 48))


def kinds() -> Iterator[tuple[str, bytes, int, bytes, int, Reading]]:
    """Name; body and protocol in IPv4, in IPv6; what one packet adds besides itself and its bytes."""
    yield "udp", udp(b"x"), UDP, udp(b"x"), UDP, Reading(udp=1)
    yield "syn", tcp(SYN), TCP, tcp(SYN), TCP, Reading(syn=1)
    yield "syn ack", tcp(SYN | ACK), TCP, tcp(SYN | ACK), TCP, Reading()
    yield "ack", tcp(ACK, bytes(1000)), TCP, tcp(ACK, bytes(1000)), TCP, Reading()
    yield "rst", tcp(RST), TCP, tcp(RST), TCP, Reading()
    yield "icmp", icmp(8), ICMP, icmp(128), ICMPV6, Reading(icmp=1)
    yield "gre", bytes(30), 47, bytes(30), 47, Reading()
    yield "malformed tcp", tcp(0), TCP, tcp(0), TCP, Reading(drops=1)
    yield "malformed udp", udp(b"", length=7), UDP, udp(b"", length=7), UDP, Reading(udp=1, drops=1)


@pytest.mark.parametrize("count", [2, 3, 1_000])
@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind[0])
def test_exact_counts(
    probe: Probe, v4: str, v6: str, kind: tuple[str, bytes, int, bytes, int, Reading], count: int
) -> None:
    """From the second packet of a source on, everything about all its packets."""
    _, body4, protocol4, body6, protocol6, one = kind
    for address, packet in (
        (v4, frame4(body4, protocol4, source=v4)),
        (v6, frame6(body6, protocol6, source=v6)),
    ):
        probe.push(packet, count)
        wanted = Reading(
            packets=count,
            bytes=count * len(packet),
            **{name: count * getattr(one, name) for name in COUNTED[2:]},
        )
        assert source(probe, address) == wanted
        assert prefix(probe, around(address)) == wanted


def test_fragments(probe: Probe, v4: str, v6: str) -> None:
    """First and later ones; a later one counts for the protocol that it names, and never as a SYN."""
    first4 = frame4(udp(bytes(16)), UDP, source=v4, flags=1)
    later4 = frame4(udp(bytes(16)), UDP, source=v4, offset=24)
    first6 = frame6(tcp(SYN, b"1234"), TCP, source=v6, extensions=[fragment(more=True)])
    later6 = frame6(tcp(SYN, b"1234"), TCP, source=v6, extensions=[fragment(24)])
    for packet in (first4, later4, later4, first6, later6, later6):
        probe.push(packet)
    assert source(probe, v4) == Reading(packets=3, bytes=3 * len(first4), udp=3, fragments=3)
    assert source(probe, v6) == Reading(packets=3, bytes=3 * len(first6), syn=1, fragments=3)
    probe.push(frame6(source=v6, extensions=[fragment()]), 5)
    assert source(probe, v6).fragments == 3, "an atomic fragment is an ordinary packet"


def test_kinds_are_kept_apart(probe: Probe, v4: str) -> None:
    """What the very first packet was is not lost."""
    probe.push(frame4(tcp(SYN), TCP, source=v4))
    probe.push(frame4(udp(bytes(12)), UDP, source=v4), 3)
    probe.push(frame4(icmp(8, bytes(12)), ICMP, source=v4), 4)
    size = len(frame4(tcp(SYN), TCP))
    assert source(probe, v4) == Reading(packets=8, bytes=8 * size, syn=1, udp=3, icmp=4)


def test_one_packet_is_not_held(probe: Probe, v4: str) -> None:
    """A flood of single packets must leave the counters alone; the second packet counts both."""
    packet = frame4(source=v4)
    probe.push(packet)
    assert source(probe, v4) == Reading()
    probe.push(packet)
    assert source(probe, v4) == Reading(packets=2, bytes=2 * len(packet), udp=2)


def test_bytes_are_those_of_the_frame(probe: Probe, v4: str) -> None:
    """With tags and padding. The first packet is taken to be as long as the second."""
    small, large = frame4(source=v4), frame4(udp(bytes(1400)), UDP, source=v4, vlans=[VLAN, VLAN]) + bytes(10)
    for packet in (small, small, large, large, large):
        probe.push(packet)
    assert source(probe, v4).bytes == 2 * len(small) + 3 * len(large)


def test_a_prefix_adds_up_its_sources(probe: Probe, v4: str, v6: str) -> None:
    """All of them, from the first to the last, and none of its neighbours."""
    stem4, stem6 = v4.rsplit(".", 1)[0], around(v6).split("::")[0]
    for number in range(10):
        probe.push(frame4(source=f"{stem4}.{number * 28}"), number + 1)
        probe.push(frame6(source=f"{stem6}:{number * 7281:x}::1"), number + 1)
    below, above = Prefix.parse(around(v4)).packed[:3], Prefix.parse(around(v6)).packed[:6]
    for step in (-1, 1):
        probe.push(frame4(source=str(_next_to(below, step, 4, 32))), 5)
        probe.push(frame6(source=_next_to(above, step, 16, 128).address), 5)
    assert prefix(probe, around(v4)).packets == 55
    assert prefix(probe, around(v6)).packets == 55
    assert source(probe, f"{stem4}.252").packets == 10
    assert source(probe, f"{stem6}:{9 * 7281:x}::1").packets == 10


def _next_to(stem: bytes, step: int, size: int, length: int) -> Prefix:
    """An address in the prefix before or after."""
    number = int.from_bytes(stem, "big") + step
    return Prefix(number.to_bytes(len(stem), "big") + b"\x09" * (size - len(stem)), length)


def test_hosts_of_one_64_are_one_source(probe: Probe, v6: str) -> None:
    stem = v6.rsplit("::", 1)[0]
    for host in range(100):
        probe.push(frame6(source=f"{stem}::{host + 1:x}"))
    assert source(probe, v6).packets == 100


def test_first_and_last(probe: Probe, v4: str) -> None:
    """Ticks, modulo 2**32."""
    before = probe.wall.sources().now_tick
    probe.push(frame4(source=v4), 3)
    middle = probe.wall.sources()
    while probe.wall.sources().now_tick == middle.now_tick:
        pass
    probe.push(frame4(source=v4))
    after = probe.wall.sources()
    (row,) = after.slots[after.slots["key"] == source_key(Prefix.parse(v4))]
    assert before & 0xFFFFFFFF <= row["first"] <= middle.now_tick & 0xFFFFFFFF
    assert middle.now_tick & 0xFFFFFFFF < row["last"] <= after.now_tick & 0xFFFFFFFF
    assert after.mono_ns > middle.mono_ns
    assert after.tick_hz == probe.wall.info.tick_hz


def test_a_banned_source_counts_in_its_ban_alone(lists: Probe, v4: str, v6: str) -> None:
    for address in (v4, v6):
        packet = frame_from(address)
        lists.push(packet, 10)
        lists.wall.bans.put(Prefix.parse_source(address), None)
        lists.push(packet, 7)
        held = lists.wall.bans.get(Prefix.parse_source(address))
        assert held is not None
        assert held.packets == 7
        assert source(lists, address) == Reading(packets=10, bytes=10 * len(packet), udp=10)
        lists.wall.bans.clear()
        lists.wall.bans.put(Prefix.parse(around(address)), None)
        lists.push(packet, 5)
        assert source(lists, address).packets == 10
        assert prefix(lists, around(address)).packets == 10


def test_malformed_packets_of_a_banned_source_count_as_malformed(lists: Probe, v4: str) -> None:
    lists.wall.bans.put(Prefix.parse(v4), None)
    packet = frame4(tcp(0), TCP, source=v4)
    assert lists.run(packet, repeat=4) == (DROP, Reason.TCP_FLAGS)
    assert source(lists, v4) == Reading(packets=4, bytes=4 * len(packet), drops=4)


def test_the_allowed_are_metered_too(lists: Probe, v4: str) -> None:
    """So that people see who sends, even if nothing may happen to them."""
    lists.wall.allow.put(Prefix.parse(v4))
    assert lists.run(frame4(source=v4), repeat=6) == (PASS, Reason.PASS_ALLOWED)
    assert source(lists, v4).packets == 6


@pytest.mark.parametrize(
    "packet",
    [
        frame4(source="127.0.0.1"),
        frame4(source="224.1.2.3"),
        frame6(source="ff02::1"),
        frame6(source="::1"),
        frame4(source="169.254.9.9", target="224.0.0.5"),
        frame6(icmp(135, bytes(24)), ICMPV6, source="fe80::9", hop_limit=255),
        frame4(source="198.18.0.9")[:30],
    ],
    ids=["loopback", "multicast", "multicast 6", "loopback 6", "link", "discovery", "cut"],
)
def test_what_has_no_source_to_blame_is_not_metered(probe: Probe, packet: bytes) -> None:
    """Nor is link traffic: nothing can be done to its sender."""
    before = probe.wall.sources().slots["packets"].sum(), probe.wall.prefixes().slots["packets"].sum()
    probe.push(packet, 10)
    after = probe.wall.sources().slots["packets"].sum(), probe.wall.prefixes().slots["packets"].sum()
    assert before == after


def test_records_are_what_the_kernel_writes(probe: Probe) -> None:
    """Shape of a snapshot: every slot of every CPU, copied."""
    info, snapshot = probe.wall.info, probe.wall.sources()
    assert snapshot.slots.dtype == METER_DTYPE
    assert snapshot.slots.shape == (info.source_capacity,)
    assert probe.wall.prefixes().slots.shape == (info.prefix_capacity,)
    assert not snapshot.slots.flags.writeable  # the kernel's own memory
    assert info.source_capacity % info.cpus == 0
