# SPDX-License-Identifier: Apache-2.0
"""Who wins: allowlist, bans, malformed; and the two families, which never meet."""

from __future__ import annotations

import ipaddress

import pytest

from tests.bpf.packets import TCP, frame4, frame6, frame_from, tcp
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


@pytest.mark.parametrize(
    ("banned", "stopped", "free"),
    [
        ("192.0.2.9", "192.0.2.9", "2001:db8::ffff:c000:209"),
        ("192.0.2.9", "192.0.2.9", "2001:db8:c000:209::1"),
        ("192.0.2.9", "192.0.2.9", "c000:209::1"),
        ("192.0.2.9", "192.0.2.9", "64:ff9b::192.0.2.9"),
        ("192.0.2.9", "192.0.2.9", "2002:c000:209::1"),
        ("2001:db8:c000:209::/64", "2001:db8:c000:209::1", "192.0.2.9"),
        ("c000:200::/32", "c000:200::1", "192.0.2.9"),
        ("192.0.0.0/16", "192.0.2.9", "c000:200::1"),
        ("c000::/16", "c000:200::1", "192.0.2.9"),
    ],
)
def test_the_families_do_not_meet(lists: Probe, banned: str, stopped: str, free: str) -> None:
    ban(lists, banned)
    assert lists.run(frame_from(stopped)).verdict == DROP
    assert lists.run(frame_from(free)) == PASSES


def test_mapped_text_bans_the_ipv4_address(lists: Probe) -> None:
    """``::ffff:192.0.2.9`` is how some logs write an IPv4 source."""
    ban(lists, "::ffff:192.0.2.9")
    assert lists.run(frame4(source="192.0.2.9")) == BANNED_SOURCE


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.2", "10.1.2.4"]),
        ("10.1.2.0/24", ["10.1.2.0", "10.1.2.255"], ["10.1.1.255", "10.1.3.0"]),
        ("10.0.0.0/9", ["10.0.0.0", "10.127.255.255"], ["9.255.255.255", "10.128.0.0"]),
        ("10.1.2.4/31", ["10.1.2.4", "10.1.2.5"], ["10.1.2.3", "10.1.2.6"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db7:ffff::1", "2001:db9::"]),
        ("2001:db8:1:2::/64", ["2001:db8:1:2::", "2001:db8:1:2:f::"], ["2001:db8:1:1::", "2001:db8:1:3::"]),
        ("2001:db8::5", ["2001:db8::5"], ["2001:db8::4", "2001:db8::6", "2001:db8:0:1::5"]),
        ("2001:db8::/127", ["2001:db8::", "2001:db8::1"], ["2001:db8::2"]),
    ],
)
def test_the_allowlist_beats_bans_at_its_boundaries(
    lists: Probe, allowed: str, inside: list[str], outside: list[str]
) -> None:
    ban(
        lists,
        "8.0.0.0/5",
        "2001:d00::/24",
        *(s if "." in s else f"{s}/64" for s in ["10.1.2.3", "2001:db8::"]),
    )
    lists.wall.allow.put(Prefix.parse(allowed))
    for source in inside:
        assert lists.run(frame_from(source)) == (PASS, Reason.PASS_ALLOWED)
    for source in outside:
        assert lists.run(frame_from(source)).verdict == DROP
    assert list(lists.wall.allow.entries()) == [Prefix.parse(allowed)]
    assert lists.wall.allow.remove(Prefix.parse(allowed))
    assert not lists.wall.allow.remove(Prefix.parse(allowed))
    for source in inside:
        assert lists.run(frame_from(source)).verdict == DROP


def test_an_allowed_prefix_within_a_banned_one_and_the_reverse(lists: Probe) -> None:
    """Allowed is allowed, however much longer the ban's prefix is."""
    lists.wall.allow.put(Prefix.parse("10.0.0.0/8"))
    ban(lists, "10.1.2.3", "10.1.2.0/24")
    assert lists.run(frame4(source="10.1.2.3")) == (PASS, Reason.PASS_ALLOWED)


def test_malformed_beats_the_allowlist(lists: Probe) -> None:
    lists.wall.allow.put(Prefix.parse("10.0.0.0/8"))
    lists.wall.allow.put(Prefix.parse("2001:db8::/32"))
    assert lists.run(frame4(tcp(0), TCP, source="10.1.2.3")) == (DROP, Reason.TCP_FLAGS)
    assert lists.run(frame6(tcp(0), TCP, source="2001:db8::1")) == (DROP, Reason.TCP_FLAGS)
    lists.wall.allow.put(Prefix.parse("127.0.0.0/8"))
    assert lists.run(frame4(source="127.0.0.1")) == (DROP, Reason.SOURCE_IMPOSSIBLE)


def test_malformed_beats_a_ban(lists: Probe) -> None:
    """One reason a packet; the first that is met."""
    ban(lists, "10.1.2.3")
    assert lists.run(frame4(tcp(0), TCP, source="10.1.2.3")) == (DROP, Reason.TCP_FLAGS)


def test_everything_allowed(lists: Probe) -> None:
    """A /0 in each list: the gates open everywhere, and each family keeps to itself."""
    lists.wall.allow.put(Prefix.parse("0.0.0.0/0"))
    ban(lists, "1.2.3.4", "2001:db8::/64", "2001:db8:1::/48")
    assert lists.run(frame4(source="1.2.3.4")) == (PASS, Reason.PASS_ALLOWED)
    assert lists.run(frame6(source="2001:db8::1")) == BANNED_SOURCE
    lists.wall.allow.put(Prefix.parse("::/0"))
    assert lists.run(frame6(source="2001:db8::1")) == (PASS, Reason.PASS_ALLOWED)
    assert lists.run(frame6(source="2001:db8:1:9::1")) == (PASS, Reason.PASS_ALLOWED)
