# SPDX-License-Identifier: Apache-2.0
"""One suite for the face of a wall: the real one over pinned maps, and the one in memory that control is tested on.

What these hold for both, the controller's tests may rely on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.bpf.conftest import empty
from tests.bpf.scene import Probe
from xdpwall.clock import ManualClock
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Dataplane
from xdpwall.dataplane.keys import source_prefix
from xdpwall.model import Prefix

SOURCES = [Prefix.parse_source(text) for text in ("203.0.113.9", "0.0.0.1", "2001:db8::1", "2001:db8:0:1::")]
WIDE = [
    Prefix.parse(t) for t in ("203.0.113.0/24", "10.0.0.0/9", "192.0.2.0/31", "2001:db8::/32", "2001:db8::7")
]
ROUNDING_MS = 600
"""The kernel's ends are whole steps of 64 jiffies, rounded up: half a second at the least used 100 to 1000 Hz."""


@dataclass
class Place:
    """A wall, and how to let time pass on it."""

    wall: Dataplane
    wait: Callable[[int], None]


@pytest.fixture(params=["real", "fake"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "fake":
        clock = ManualClock()
        return Place(FakeWall(clock), clock.advance_ms)
    probe: Probe = request.getfixturevalue("lists")
    empty(probe.wall)
    return Place(probe.wall, lambda milliseconds: time.sleep(milliseconds / 1000))


def test_bans_come_and_go(place: Place) -> None:
    bans = place.wall.bans
    everything = [*SOURCES, *WIDE]
    assert list(bans.entries()) == []
    assert bans.put_many((prefix, 60_000) for prefix in everything) == len(everything)
    assert {ban.prefix for ban in bans.entries()} == set(everything)
    assert len(bans) == len(everything)
    for prefix in everything:
        held = bans.get(prefix)
        assert held is not None
        assert held.prefix == prefix
        assert held.remaining_ms is not None
        assert 55_000 < held.remaining_ms <= 60_000 + ROUNDING_MS
        assert (held.packets, held.bytes) == (0, 0)
    assert bans.remove(SOURCES[0])
    assert not bans.remove(SOURCES[0])
    assert bans.get(SOURCES[0]) is None
    assert bans.remove_many([*everything, SOURCES[0]]) == len(everything) - 1
    assert len(bans) == 0


def test_each_ban_stands_alone(place: Place) -> None:
    bans = place.wall.bans
    bans.put(Prefix.parse("10.0.0.0/8"), None)
    for text in ("10.0.0.0/9", "10.0.0.0", "0.0.0.0/7"):
        assert bans.get(Prefix.parse(text)) is None
        assert not bans.remove(Prefix.parse(text))


def test_a_new_end_replaces_the_old(place: Place) -> None:
    bans = place.wall.bans
    for prefix in (SOURCES[0], SOURCES[2], WIDE[0], WIDE[3]):
        for remaining in (60_000, None, 5_000):
            bans.put(prefix, remaining)
            held = bans.get(prefix)
            assert held is not None
            if remaining is None:
                assert held.remaining_ms is None
            else:
                assert held.remaining_ms is not None
                assert abs(held.remaining_ms - remaining) <= ROUNDING_MS
    assert len(bans) == 4


def test_a_lapsed_ban_is_swept_and_no_other(place: Place) -> None:
    bans = place.wall.bans
    short, long = (SOURCES[0], WIDE[0], SOURCES[2]), (SOURCES[1], WIDE[3])
    bans.put_many([*((prefix, 1) for prefix in short), *((prefix, None) for prefix in long)])
    place.wait(1 + 2 * ROUNDING_MS)
    assert {ban.prefix: ban.remaining_ms for ban in bans.entries()} == {
        **dict.fromkeys(short, 0),
        **dict.fromkeys(long, None),
    }
    assert bans.sweep() == len(short)
    assert {ban.prefix for ban in bans.entries()} == set(long)
    assert bans.sweep() == 0
    bans.put(short[0], 60_000)
    held = bans.get(short[0])
    assert held is not None
    assert held.remaining_ms


def test_clear_says_how_many(place: Place) -> None:
    bans = place.wall.bans
    bans.put_many((prefix, None) for prefix in [*SOURCES, *WIDE])
    assert bans.clear() == len(SOURCES) + len(WIDE)
    assert bans.clear() == 0
    assert len(bans) == 0


def test_thousands_at_once(place: Place) -> None:
    bans = place.wall.bans
    many = [Prefix(bytes([45, n >> 8 & 255, n & 255, 7]), 32) for n in range(3_000)]
    assert bans.put_many((prefix, 600_000) for prefix in many) == 3_000
    assert bans.put_many((prefix, None) for prefix in many[:100]) == 100
    assert len(bans) == 3_000
    assert {ban.prefix for ban in bans.entries() if ban.remaining_ms is None} == set(many[:100])
    assert bans.remove_many(many[::2]) == 1_500
    assert {ban.prefix for ban in bans.entries()} == set(many[1::2])


def test_the_list_may_be_read_while_it_changes(place: Place) -> None:
    bans = place.wall.bans
    many = [Prefix(bytes([45, 0, n, 7]), 32) for n in range(200)]
    bans.put_many((prefix, None) for prefix in many)
    seen = set()
    for number, ban in enumerate(bans.entries()):
        seen.add(ban.prefix)
        bans.remove(many[-1 - number])
        bans.put(Prefix(bytes([46, 0, number, 7]), 32), None)
        if number == 50:
            break
    assert len(seen) == 51
    assert len(bans) == 200


def test_a_list_begun_before_a_flush_shows_nothing_that_never_was(place: Place) -> None:
    bans = place.wall.bans
    # So many that several share a page of the table, which is read as one.
    many = {Prefix(bytes([45, n >> 8, n & 255, 7]), 32) for n in range(20_000)}
    bans.put_many((prefix, None) for prefix in many)
    listing = bans.entries()
    seen = {next(listing).prefix}
    bans.clear()
    seen |= {ban.prefix for ban in listing}
    assert seen <= many


def test_allow(place: Place) -> None:
    allow = place.wall.allow
    for prefix in [*SOURCES, *WIDE]:
        allow.put(prefix)
        allow.put(prefix)
    assert set(allow.entries()) == {*SOURCES, *WIDE}
    assert allow.remove(WIDE[0])
    assert not allow.remove(WIDE[0])
    assert set(allow.entries()) == {*SOURCES, *WIDE[1:]}


def test_own_addresses(place: Place) -> None:
    mine = [Prefix.parse("192.0.2.1"), Prefix.parse("2001:db8::5")]
    assert place.wall.set_own_addresses(mine)
    assert not place.wall.set_own_addresses(reversed(mine))
    assert place.wall.set_own_addresses(mine[:1])
    assert place.wall.set_own_addresses([])


def test_what_it_says_of_itself(place: Place) -> None:
    info, states = place.wall.info, place.wall.interfaces()
    assert info.policy == "enforce"
    assert min(info.ban_capacity, info.ban_prefix_capacity, info.source_capacity, info.prefix_capacity) > 0
    assert states
    for state in states:
        assert state.attached
        assert state.mode in ("native", "generic")
        assert not place.wall.reattach(state.name)
    assert set(place.wall.verdicts()) == {state.name for state in states}


def test_meters_have_their_promised_shape(place: Place) -> None:
    for snapshot, slots in (
        (place.wall.sources(), place.wall.info.source_capacity),
        (place.wall.prefixes(), place.wall.info.prefix_capacity),
    ):
        assert snapshot.slots.shape == (slots,)
        assert snapshot.slots.dtype.itemsize == 64
        assert snapshot.tick_hz == place.wall.info.tick_hz
    again = place.wall.sources()
    assert again.mono_ns >= snapshot.mono_ns
    assert set(again.slots["key"].tolist()) >= {0}


def test_the_drops_of_all_bans_at_once(place: Place) -> None:
    """Every ban of a source is in it, and no ban of a prefix; nothing was dropped yet."""
    bans = place.wall.bans
    assert len(bans.drops().keys) == 0
    bans.put_many((prefix, 60_000) for prefix in [*SOURCES, *WIDE])
    drops = bans.drops()
    assert {source_prefix(key) for key in drops.keys.tolist()} == set(SOURCES)
    assert drops.packets.tolist() == drops.bytes.tolist() == [0] * len(SOURCES)
    bans.remove(SOURCES[0])
    assert SOURCES[0] not in {source_prefix(key) for key in bans.drops().keys.tolist()}
