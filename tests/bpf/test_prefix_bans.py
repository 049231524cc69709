# SPDX-License-Identifier: Apache-2.0
"""Bans by prefix: every length at its edges, and nested ones."""

from __future__ import annotations

import ipaddress

import pytest

from tests.bpf.packets import frame4, frame6, frame_from
from tests.bpf.scene import DROP, PASS, Probe
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

HOUR = 3_600_000
BANNED_SOURCE, BANNED_PREFIX = (DROP, Reason.BANNED_SOURCE), (DROP, Reason.BANNED_PREFIX)
PASSES = (PASS, Reason.PASS)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def ban(lists: Probe, *prefixes: str, ms: int | None = HOUR) -> None:
    for prefix in prefixes:
        lists.wall.bans.put(Prefix.parse(prefix), ms)


def is_possible(address: Address) -> bool:
    """Whether a host can send from here at all, by the registries that Python's library carries."""
    if isinstance(address, ipaddress.IPv6Address) and int(address) >> 64 == 0:
        return False
    broadcast = address == ipaddress.IPv4Address("255.255.255.255")
    first = int(address) >> 24 == 0 and address.version == 4
    return not (address.is_multicast or address.is_loopback or address.is_unspecified or broadcast or first)


V4_MIDDLE, V6_MIDDLE = "165.165.165.165", "a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5"


@pytest.mark.parametrize(
    ("middle", "length"),
    [*((V4_MIDDLE, n) for n in range(1, 33)), *((V6_MIDDLE, n) for n in range(1, 129))],
)
def test_a_prefix_of_every_length(lists: Probe, middle: str, length: int) -> None:
    """Its first, middle and last address are stopped, those just outside are not."""
    network = ipaddress.ip_network(f"{middle}/{length}", strict=False)
    prefix = Prefix(network.network_address.packed, length)
    exact = BANNED_SOURCE if prefix.is_source else BANNED_PREFIX
    family = type(network.network_address)
    first, last = int(network.network_address), int(network.broadcast_address)
    inside: list[Address] = [a for a in (family(first), family(last), family(middle)) if is_possible(a)]
    outside: list[Address] = [
        family(n)
        for n in (first - 1, last + 1)
        if 0 <= n < 1 << network.max_prefixlen and is_possible(family(n))
    ]
    assert inside
    assert outside or length == 1
    before = {address: lists.run(frame_from(str(address))) for address in [*inside, *outside]}
    assert set(before.values()) == {PASSES}
    ban(lists, str(network))
    assert {str(a): lists.run(frame_from(str(a))) for a in inside} == {str(a): exact for a in inside}
    assert {str(a): lists.run(frame_from(str(a))) for a in outside} == {str(a): PASSES for a in outside}
    held = lists.wall.bans.get(prefix)
    assert held is not None
    assert held.packets == len(inside)
    assert lists.wall.bans.remove(prefix)
    assert {lists.run(frame_from(str(a))) for a in inside} == {PASSES}


def test_the_longest_of_nested_bans_counts(lists: Probe) -> None:
    ban(lists, "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3")
    for source, prefix in (
        ("10.9.9.9", "10.0.0.0/8"),
        ("10.1.9.9", "10.1.0.0/16"),
        ("10.1.2.9", "10.1.2.0/24"),
        ("10.1.2.3", "10.1.2.3"),
    ):
        assert lists.run(frame4(source=source)).verdict == DROP
        held = lists.wall.bans.get(Prefix.parse(prefix))
        assert held is not None
        assert held.packets == 1
    assert lists.run(frame4(source="11.0.0.0")) == PASSES


def test_lifting_the_outer_of_nested_bans_leaves_the_inner(lists: Probe) -> None:
    ban(lists, "10.0.0.0/8", "10.1.2.0/24")
    lists.wall.bans.remove(Prefix.parse("10.0.0.0/8"))
    assert lists.run(frame4(source="10.1.2.9")) == BANNED_PREFIX
    assert lists.run(frame4(source="10.1.3.9")) == PASSES


def test_lifting_the_inner_of_nested_bans_leaves_the_outer(lists: Probe) -> None:
    """Lifting a single ban is no exception from a wider one: `allow` is for that."""
    ban(lists, "10.0.0.0/8", "10.1.2.0/24", "10.1.2.3")
    lists.wall.bans.remove_many([Prefix.parse("10.1.2.0/24"), Prefix.parse("10.1.2.3")])
    assert lists.run(frame4(source="10.1.2.3")) == BANNED_PREFIX


def test_a_gate_is_shared(lists: Probe) -> None:
    """Two prefixes in one /16 share a gate bit: lifting one must not close it on the other."""
    ban(lists, "10.1.2.0/24", "10.1.3.0/24", "2001:db8:1::/48", "2001:db8:2::/48")
    lists.wall.bans.remove(Prefix.parse("10.1.2.0/24"))
    lists.wall.bans.remove(Prefix.parse("2001:db8:1::/48"))
    assert lists.run(frame4(source="10.1.3.9")) == BANNED_PREFIX
    assert lists.run(frame6(source="2001:db8:2::9")) == BANNED_PREFIX
