# SPDX-License-Identifier: Apache-2.0
"""Bans: what each kind stops and what it does not, its counters, many at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from tests.bpf.packets import TCP, UDP, frame4, frame6, frame_from, tcp, udp
from tests.bpf.scene import DROP, PASS, Probe
from tests.bpf.table import about
from tests.bpf.test_prefix_bans import is_possible
from xdpwall.dataplane.interface import KernelBan
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

HOUR = 3_600_000
BANNED_SOURCE, BANNED_PREFIX = (DROP, Reason.BANNED_SOURCE), (DROP, Reason.BANNED_PREFIX)
PASSES = (PASS, Reason.PASS)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def ban(lists: Probe, *prefixes: str, ms: int | None = HOUR) -> None:
    for prefix in prefixes:
        lists.wall.bans.put(Prefix.parse(prefix), ms)


@pytest.mark.parametrize("ms", [1_000, HOUR, 365 * 24 * HOUR, None], ids=["1s", "1h", "1y", "perm"])
def test_an_exact_ban_stops_one_source(lists: Probe, ms: int | None) -> None:
    """IPv4: the address. IPv6: the whole /64, and not its neighbours."""
    ban(lists, "1.2.3.4", "2001:db8:1:2::/64", ms=ms)
    assert lists.run(frame4(source="1.2.3.4")) == BANNED_SOURCE
    for other in ("4.3.2.1", "1.2.3.3", "1.2.3.5", "1.2.4.4", "3.4.1.2", "2.1.4.3"):
        assert lists.run(frame4(source=other)) == PASSES
    for host in ("2001:db8:1:2::", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"):
        assert lists.run(frame6(source=host)) == BANNED_SOURCE
    for host in ("2001:db8:1:1:ffff:ffff:ffff:ffff", "2001:db8:1:3::", "2001:db8:2:1::1"):
        assert lists.run(frame6(source=host)) == PASSES


@pytest.mark.parametrize("protocol", [TCP, UDP, 1, 47, 132])
def test_a_ban_stops_every_protocol(lists: Probe, protocol: int) -> None:
    body = {TCP: tcp(), UDP: udp()}.get(protocol, bytes(20))
    ban(lists, "1.2.3.4")
    assert lists.run(frame4(body, protocol, source="1.2.3.4")) == BANNED_SOURCE


def test_a_ban_stops_fragments_too(lists: Probe) -> None:
    ban(lists, "1.2.3.4")
    assert lists.run(frame4(bytes(8), UDP, source="1.2.3.4", offset=1480)) == BANNED_SOURCE


def test_lifting_a_ban(lists: Probe) -> None:
    bans = lists.wall.bans
    for text in ("1.2.3.4", "1.2.0.0/16", "2001:db8::/64", "2001:db8::/48"):
        prefix = Prefix.parse(text)
        packet = frame_from(prefix.address if prefix.address != "1.2.0.0" else "1.2.9.9")
        ban(lists, text)
        assert lists.run(packet).verdict == DROP
        assert bans.get(prefix) is not None
        assert bans.remove(prefix)
        assert not bans.remove(prefix)
        assert bans.get(prefix) is None
        assert lists.run(packet) == PASSES


@pytest.mark.parametrize(
    "text", ["1.2.3.4", "1.2.3.0/24", "2001:db8:7::/64", "2001:db8:7::/48", "2001:db8:7::1"]
)
def test_a_ban_counts_what_it_drops(lists: Probe, text: str) -> None:
    """Packets exactly, bytes to the nearest 16 a packet. A ban renewed keeps its counters, one given anew has none."""
    prefix, bans = Prefix.parse(text), lists.wall.bans
    source = {"1.2.3.0": "1.2.3.4", "2001:db8:7::": "2001:db8:7::1"}.get(prefix.address, prefix.address)
    long, short = frame_from(source, udp(bytes(900))), frame_from(source, udp(b""))
    bans.put(prefix, HOUR)
    assert _counts(bans.get(prefix)) == (0, 0)
    lists.push(long, 5)
    lists.push(short, 3)
    size = 5 * len(long) + 3 * len(short)
    assert _counts(bans.get(prefix)) == (8, about(8, size))
    before = _counts(bans.get(prefix))
    bans.put(prefix, None)
    assert _counts(bans.get(prefix)) == before
    lists.push(short)
    assert _counts(bans.get(prefix)) == (9, about(9, size + len(short)))
    bans.remove(prefix)
    bans.put(prefix, HOUR)
    assert _counts(bans.get(prefix)) == (0, 0)


def _counts(held: KernelBan | None) -> tuple[int, int]:
    assert held is not None
    return held.packets, held.bytes


def _remaining(held: KernelBan | None) -> int | None:
    assert held is not None
    return held.remaining_ms


MIXED: dict[str, int | None] = {
    "1.2.3.4": HOUR,
    "4.3.2.1": None,
    "10.0.0.0/8": 2 * HOUR,
    "10.1.0.0/16": HOUR,
    "255.255.255.254": None,
    "128.0.0.0/1": HOUR,
    "2001:db8::/64": HOUR,
    "2001:db8:0:1::/64": None,
    "2001:db8::/32": 2 * HOUR,
    "2001:db8::1": HOUR,
    "8000::/1": None,
}


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "at once"])
def test_entries_give_back_what_was_put(lists: Probe, many: bool) -> None:
    """Each prefix as it was given, and its time within one unit of the kernel's, never too short."""
    bans = lists.wall.bans
    wanted = {Prefix.parse(text): ms for text, ms in MIXED.items()}
    if many:
        assert bans.put_many(wanted.items()) == len(wanted)
    else:
        for prefix, ms in wanted.items():
            bans.put(prefix, ms)
    found = {entry.prefix: entry.remaining_ms for entry in bans.entries()}
    assert found.keys() == wanted.keys()
    assert len(bans) == len(wanted)
    assert (bans.exact_count(), bans.prefix_count()) == (5, 6)
    for prefix, ms in wanted.items():
        remaining = found[prefix]
        assert (remaining is None) == (ms is None)
        if ms is not None and remaining is not None:
            assert ms - 60_000 < remaining <= ms + 64_000 // lists.wall.info.tick_hz + 1
    assert bans.remove_many(wanted) == len(wanted)
    assert len(bans) == 0
    assert list(bans.entries()) == []


def _sources(count: int) -> list[Prefix]:
    """Sources of both families, spread over their spaces by a fixed rule."""
    v4 = [Prefix((0x0B000000 + n * 2654435761 % 0xD0000000).to_bytes(4, "big"), 32) for n in range(count)]
    halves = (0x2001 << 48 | n * 0x9E3779B97F4A % (1 << 48) for n in range(count))
    v6 = [Prefix(half.to_bytes(8, "big") + bytes(8), 64) for half in halves]
    return list(dict.fromkeys(p for p in [*v4, *v6] if is_possible(ipaddress.ip_address(p.packed))))


def differences(found: set[Prefix], wanted: set[Prefix]) -> tuple[list[str], list[str]]:
    """What is missing and what is too much: some of each, for a message that people can read."""
    return sorted(map(str, wanted - found))[:20], sorted(map(str, found - wanted))[:20]


def test_many_at_once_are_as_one_by_one(lists: Probe) -> None:
    """The fast way of put_many and the plain one hold the same and drop the same."""
    bans, some = lists.wall.bans, _sources(2_000)
    assert bans.put_many((p, HOUR) for p in some) == len(some)
    at_once = {entry.prefix for entry in bans.entries()}
    assert differences(at_once, set(some)) == ([], [])
    for prefix in some[::97]:
        assert lists.run(frame_from(prefix.address)) == BANNED_SOURCE
    assert bans.clear() == len(some)
    for prefix in some:
        bans.put(prefix, HOUR)
    assert differences({entry.prefix for entry in bans.entries()}, at_once) == ([], [])
    assert bans.remove_many(some) == len(some)
    assert {lists.run(frame_from(prefix.address)) for prefix in some[::97]} == {PASSES}


def test_putting_many_again_keeps_counters(lists: Probe) -> None:
    """A second round of the same, doubled and shuffled, changes nothing but expiries; the last word on a key counts."""
    bans, some = lists.wall.bans, _sources(200)
    bans.put_many((p, HOUR) for p in some)
    lists.push(frame_from(some[5].address), 7)
    again = [*((p, 2 * HOUR) for p in reversed(some)), *((p, None) for p in some[:100])]
    bans.put_many(again)
    assert len(bans) == len(some)
    assert _counts(bans.get(some[5])) == (7, about(7, 7 * len(frame_from(some[5].address))))
    assert _remaining(bans.get(some[5])) is None
    assert (_remaining(bans.get(some[150])) or 0) > HOUR


def test_clear_lifts_all(lists: Probe) -> None:
    bans = lists.wall.bans
    bans.put_many((Prefix.parse(text), ms) for text, ms in MIXED.items())
    assert bans.clear() == len(MIXED)
    assert (len(bans), list(bans.entries()), bans.clear()) == (0, [], 0)
    for source in ("1.2.3.4", "10.1.2.3", "200.1.1.1", "2001:db8::1", "9000::1"):
        assert lists.run(frame_from(source)) == PASSES


Change = Callable[[Probe], object]


@pytest.mark.parametrize("nothing", [[], ["192.0.2.1"]], ids=["empty", "not banned"])
def test_lifting_what_is_not_banned(lists: Probe, nothing: list[str]) -> None:
    assert lists.wall.bans.remove_many(Prefix.parse(text) for text in nothing) == 0
    assert lists.wall.bans.put_many([]) == 0
    assert lists.wall.bans.sweep() == 0
