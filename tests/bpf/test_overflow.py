# SPDX-License-Identifier: Apache-2.0
"""Sets that are full: what does not fit goes to the overflow map, and nobody can tell the difference.

The sources that share a set are found with the wall's own seed, which an attacker does not have.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import numpy as np
import pytest

from tests.bpf.packets import frame_from
from tests.bpf.scene import DROP, PASS, Probe, config, scene
from tests.bpf.table import about
from tests.bpf.test_expiry import ago
from xdpwall.dataplane.hashing import mix, mix_many, tag
from xdpwall.dataplane.keys import source_key, source_prefix
from xdpwall.dataplane.layout import BAN_WAYS
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.meta import read_meta
from xdpwall.errors import KernelError
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

HOUR = 3_600_000
BANNED = (DROP, Reason.BANNED_SOURCE)
PASSES = (PASS, Reason.PASS)
PLACES = BAN_WAYS


@pytest.fixture(scope="module")
def small() -> Iterator[Probe]:
    """A wall of the least capacity, so that sets fill up."""
    with scene() as place:
        place.load(config(bans={"capacity": 1024, "prefix_capacity": 64}))
        with place.open() as wall:
            probe = Probe(wall, "wt0")
            yield probe
            probe.close()


@pytest.fixture
def crowd(small: Probe) -> Iterator[Probe]:
    """The small wall, emptied afterwards."""
    yield small
    small.wall.bans.clear()


def neighbours(probe: Probe, version: int, count: int) -> list[Prefix]:
    """Sources that share one set."""
    meta = read_meta(probe.wall._pins)
    number = np.arange(1 << 20, dtype=np.uint64) << np.uint64(40)
    keys = number | np.uint64(
        0x0A_0000FFFF if version == 4 else 0xB80D0120
    )  # of 10.0.0.0/8, of 2001:db8::/32
    index = mix_many(keys, meta.seed) >> np.uint64(64 - meta.ban_bits)
    shared = keys[index == index[-1]][:count]
    assert len(shared) == count
    return [source_prefix(int(key)) for key in shared]


def unmix(hashed: int, seed: int) -> int:
    """The key of a hash: each step of ``hashing.mix`` undone."""
    mask = (1 << 64) - 1
    value = hashed ^ hashed >> 29 ^ hashed >> 58
    value = value * pow(0xD6E8FEB86659FD93, -1, 1 << 64) & mask
    value ^= value >> 32
    return value * pow(0x9E3779B97F4A7C15, -1, 1 << 64) & mask ^ seed


def strangers(version: int) -> list[Prefix]:
    """Sources of other networks, so many that putting them at once takes the fast way."""
    if version == 4:
        return [Prefix(bytes([11, 0, n, 1]), 32) for n in range(80)]
    return [Prefix(bytes([0x2A, 0, n]) + bytes(13), 64) for n in range(80)]


def told_to_ask(probe: Probe, version: int) -> int:
    """For how many sets of a family the kernel is told to ask the overflow map."""
    array = MappedArray(probe.wall._pins, f"ban{version}_full")
    try:
        return sum(word.bit_count() for word in array.words)
    finally:
        array.close()


def outcomes(probe: Probe, some: list[Prefix]) -> list[tuple[int, Reason]]:
    return [probe.run(frame_from(prefix.address)) for prefix in some]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("many", [False, True], ids=["put", "put_many"])
def test_more_bans_than_places(crowd: Probe, version: int, many: bool) -> None:
    """Twelve bans in a set of four places: all stop, each counts for itself, the thirteenth source passes."""
    *some, free = neighbours(crowd, version, 13)
    bans = crowd.wall.bans
    if many:
        fill = strangers(version)
        bans.put_many((p, HOUR) for p in [*fill, *some])
        bans.remove_many(fill)
    else:
        for prefix in some:
            bans.put(prefix, HOUR)
    assert len(bans) == len(some)
    assert {entry.prefix for entry in bans.entries()} == set(some)
    assert outcomes(crowd, some) == [BANNED] * len(some)
    assert crowd.run(frame_from(free.address)) == PASSES
    for number, prefix in enumerate(some):
        crowd.push(frame_from(prefix.address), number + 1)
    for number, prefix in enumerate(some):
        held = bans.get(prefix)
        assert held is not None
        assert held.packets == number + 2
        assert held.bytes == about(held.packets, held.packets * len(frame_from(prefix.address)))
    if not many:
        assert told_to_ask(crowd, version) == 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("backwards", [False, True])
def test_lifting_them_again(crowd: Probe, version: int, backwards: bool) -> None:
    """In any order, those of the table and those of the map; in the end the map is not asked any more."""
    some, bans = neighbours(crowd, version, 12), crowd.wall.bans
    for prefix in some:
        bans.put(prefix, HOUR)
    left = list(reversed(some)) if backwards else list(some)
    while left:
        gone = left.pop(0)
        assert bans.remove(gone)
        assert not bans.remove(gone)
        assert crowd.run(frame_from(gone.address)) == PASSES
        assert outcomes(crowd, left) == [BANNED] * len(left)
    assert told_to_ask(crowd, version) == 0
    assert len(bans) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_renewing_a_ban_that_overflowed(crowd: Probe, version: int) -> None:
    """Also when a place has become free meanwhile: one ban stays one ban, with its counters."""
    some, bans = neighbours(crowd, version, 9), crowd.wall.bans
    for prefix in some:
        bans.put(prefix, HOUR)
    last = some[-1]
    crowd.push(frame_from(last.address), 5)
    bans.remove(some[0])
    for how in ("put", "put_many"):
        if how == "put":
            bans.put(last, None)
        else:
            others = strangers(version)
            bans.put_many([(p, HOUR) for p in [*others, last]])
            bans.remove_many(others)
        held = bans.get(last)
        assert held is not None
        assert held.packets == 5
        assert len(bans) == 8
    assert bans.remove(last)
    assert crowd.run(frame_from(last.address)) == PASSES


@pytest.mark.parametrize("version", [4, 6])
def test_expiry_in_the_overflow_map(crowd: Probe, version: int) -> None:
    some, bans = neighbours(crowd, version, 12), crowd.wall.bans
    with ago(crowd, HOUR):
        for number, prefix in enumerate(some):
            bans.put(prefix, HOUR // 2 if number % 2 else 2 * HOUR)
    wanted = [PASSES if number % 2 else BANNED for number in range(12)]
    assert outcomes(crowd, some) == wanted
    assert bans.sweep() == 6
    assert outcomes(crowd, some) == wanted
    assert len(bans) == 6
    assert told_to_ask(crowd, version) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_lapsed_places_are_used_before_the_map(crowd: Probe, version: int) -> None:
    some, bans = neighbours(crowd, version, 2 * PLACES), crowd.wall.bans
    with ago(crowd, HOUR):
        for prefix in some[:PLACES]:
            bans.put(prefix, HOUR // 2)
    for prefix in some[PLACES:]:
        bans.put(prefix, HOUR)
    assert outcomes(crowd, some) == [PASSES] * PLACES + [BANNED] * PLACES
    assert told_to_ask(crowd, version) == 0


def test_one_tag_is_not_one_source(crowd: Probe) -> None:
    """IPv6 sources of one set whose tags agree too are told apart by their keys: nobody is banned for another."""
    meta, bans = read_meta(crowd.wall._pins), crowd.wall.bans
    # The lowest 12 bits of a hash are neither in the tag nor in the set's number.
    keys = [unmix(0x123456789ABCD << 12 | low, meta.seed) for low in range(1 << 12)]
    one, other, third = [source_prefix(key) for key in keys if 0x20 <= key & 0xFF <= 0x3F][:3]
    for prefix in (one, other, third):
        assert tag(source_key(prefix), mix(source_key(prefix), meta.seed)) == 0x6789ABCD
    bans.put(one, HOUR)
    assert outcomes(crowd, [one, other, third]) == [BANNED, PASSES, PASSES]
    assert bans.get(other) is None
    assert not bans.remove(other)
    bans.put(other, HOUR)
    assert outcomes(crowd, [one, other, third]) == [BANNED, BANNED, PASSES]
    assert {entry.prefix for entry in bans.entries()} == {one, other}
    bans.remove(one)
    assert outcomes(crowd, [one, other, third]) == [PASSES, BANNED, PASSES]


def test_clear_with_overflow(crowd: Probe) -> None:
    some = [*neighbours(crowd, 4, 12), *neighbours(crowd, 6, 12)]
    for prefix in some:
        crowd.wall.bans.put(prefix, HOUR)
    assert crowd.wall.bans.clear() == 24
    assert outcomes(crowd, some) == [PASSES] * 24
    assert (told_to_ask(crowd, 4), told_to_ask(crowd, 6)) == (0, 0)


def test_the_whole_capacity_fits(crowd: Probe) -> None:
    """As many bans as were promised, wherever the seed happens to put them."""
    some = [Prefix(n.to_bytes(4, "big"), 32) for n in range(0x0A000000, 0x0A000000 + 1024)]
    assert crowd.wall.info.ban_capacity == 1024
    assert crowd.wall.bans.put_many((p, HOUR) for p in some) == 1024
    assert len(crowd.wall.bans) == 1024
    assert outcomes(crowd, some[::100]) == [BANNED] * 11


def test_far_beyond_capacity(crowd: Probe) -> None:
    """An error that says so, and every ban that was taken still stands."""
    some = neighbours(crowd, 4, PLACES + 1024 + 1)
    for prefix in some[:-1]:
        crowd.wall.bans.put(prefix, HOUR)
    with pytest.raises(KernelError) as caught:
        crowd.wall.bans.put(some[-1], HOUR)
    assert caught.value.errno == errno.E2BIG
    assert len(crowd.wall.bans) == len(some) - 1
    assert outcomes(crowd, some[::50]) == [BANNED] * len(some[::50])
    assert crowd.run(frame_from(some[-1].address)) == PASSES
    assert told_to_ask(crowd, 4) == 1


def test_more_prefixes_than_fit(crowd: Probe) -> None:
    """The one too many is refused and not remembered; those that stand stay."""
    bans = crowd.wall.bans
    some = [Prefix(bytes([10, n, 0, 0]), 24) for n in range(65)]
    for prefix in some[:64]:
        bans.put(prefix, HOUR)
    with pytest.raises(KernelError) as caught:
        bans.put(some[64], HOUR)
    assert caught.value.errno == errno.ENOSPC
    assert len(bans) == 64
    assert bans.get(some[64]) is None
    assert {entry.prefix for entry in bans.entries()} == set(some[:64])
    assert bans.remove(some[0])
    bans.put(some[64], HOUR)
    assert crowd.run(frame_from("10.64.0.9")) == (DROP, Reason.BANNED_PREFIX)
    assert crowd.run(frame_from("10.0.0.9")) == PASSES


def test_a_failed_batch_of_prefixes_is_half_done_and_known(crowd: Probe) -> None:
    """What was written before the map was full stands, and the list of bans says exactly that."""
    bans = crowd.wall.bans
    some = [Prefix(bytes([10, n, 0, 0]), 24) for n in range(80)]
    with pytest.raises(KernelError):
        bans.put_many((prefix, HOUR) for prefix in some)
    held = {entry.prefix for entry in bans.entries()}
    assert len(bans) == len(held) == 64
    for prefix in some:
        stops = crowd.run(frame_from(prefix.address)).verdict == DROP
        assert stops == (prefix in held)
        assert (bans.get(prefix) is not None) == (prefix in held)
