# SPDX-License-Identifier: Apache-2.0
"""Keys and sets of prefixes, held to the data path's codec and to plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import prefix, uint64, v4
from xdpwall.dataplane import keys as codec
from xdpwall.detection.keys import (
    KeySet,
    are_v4,
    buckets,
    find,
    keys_of,
    no_keys,
    prefix_keys,
    prefix_of,
    skip_mask,
    source_of,
)
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.model import Prefix

# Few distinct bytes, so that prefixes meet often.
BYTE = st.sampled_from([0, 1, 10, 127, 128, 254])
PACKED = st.one_of(
    st.lists(BYTE, min_size=4, max_size=4).map(bytes),
    st.lists(st.sampled_from([0, 1, 255]), min_size=16, max_size=16).map(lambda raw: bytes([0x20, *raw[1:]])),
)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    packed = draw(PACKED)
    return Prefix.covering(packed, draw(st.integers(0, len(packed) * 8)))


def as_source(packed: bytes) -> Prefix:
    return Prefix.covering(packed, 32 if len(packed) == 4 else 64)


SOURCES = st.binary(min_size=4, max_size=4) | st.binary(min_size=15, max_size=15).map(
    lambda raw: b"\x20" + raw
)


@given(SOURCES.map(as_source))
def test_keys_are_those_of_the_kernel(source: Prefix) -> None:
    key = codec.source_key(source)
    meter = Prefix.covering(source.packed, 24 if source.version == 4 else 48)
    assert keys_of([source, meter]).tolist() == [key, codec.meter_key(meter)]
    assert source_of(key) == source
    assert prefix_of(codec.meter_key(meter)) == meter
    assert prefix_keys(uint64(key)).tolist() == [codec.meter_key(meter)]
    assert are_v4(uint64(key)).tolist() == [source.version == 4]


@pytest.mark.parametrize("text", ["192.0.2.0/25", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0"])
def test_other_prefixes_have_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="has no key"):
        keys_of([prefix(text)])


@given(st.lists(st.integers(0, 30)), st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 30)))))
def test_a_key_set_is_a_set(start: list[int], steps: list[tuple[bool, list[int]]]) -> None:
    ours, theirs = KeySet(start), set(start)
    for adds, keys in steps:
        if adds:
            ours.add(uint64(*keys))
            theirs.update(keys)
        else:
            ours.remove(uint64(*keys))
            theirs.difference_update(keys)
        assert ours.array.tolist() == sorted(theirs)
        assert len(ours) == len(theirs)
        assert ours.contains(np.arange(32, dtype=np.uint64)).tolist() == [key in theirs for key in range(32)]
        for low, high in ((0, 5), (7, 7), (20, 30)):
            assert ours.any_between(low, high) == any(low <= key <= high for key in theirs)


def test_the_ends_of_the_number_range() -> None:
    ends = KeySet([0, 2**64 - 1])
    assert ends.has(0)
    assert ends.has(2**64 - 1)
    assert not ends.has(1)
    assert ends.any_between(2**64 - 1, 2**64 - 1)
    assert not ends.any_between(1, 2**64 - 2)


def test_skip_mask() -> None:
    keys = uint64(1, 2, 3)
    assert skip_mask(None, keys).tolist() == [False] * 3
    assert skip_mask(uint64(3, 1), keys).tolist() == [True, False, True]
    assert skip_mask(KeySet([2]).contains, keys).tolist() == [False, True, False]
    assert skip_mask(KeySet([2]).contains, no_keys()).tolist() == []
    assert find(no_keys(), keys)[1].tolist() == [False] * 3


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 20))
def test_buckets_stay_in_range(keys: list[int], bits: int) -> None:
    found = buckets(uint64(*keys), bits).tolist()
    assert all(0 <= bucket < 1 << bits for bucket in found)
    assert found == buckets(uint64(*keys), bits).tolist()


@given(st.lists(prefixes(), max_size=12), st.lists(prefixes(), max_size=6), st.lists(prefixes(), max_size=8))
def test_a_prefix_set_answers_like_its_members(
    members: list[Prefix], removed: list[Prefix], asked: list[Prefix]
) -> None:
    ours = PrefixSet(members)
    ours.remove(removed)
    theirs = set(members) - set(removed)
    assert set(ours) == theirs
    assert len(ours) == len(theirs)
    for one in [*asked, *members]:
        assert (one in ours) == (one in theirs)
        assert ours.covers(one) == any(member.contains(one) for member in theirs)
        assert ours.overlaps(one) == any(member.overlaps(one) for member in theirs)
    sources = [as_source(one.packed) for one in [*asked, *members] if one.packed[:1] != b"\xff"]
    assert ours.covers_sources(keys_of(sources)).tolist() == [
        any(member.contains(one) or (member.length > 64 and one.contains(member)) for member in theirs)
        for one in sources
    ]
    nets = [Prefix.covering(one.packed, 24 if one.version == 4 else 48) for one in sources]
    assert ours.covers_prefixes(keys_of(nets)).tolist() == [
        any(member.contains(one) for member in theirs) for one in nets
    ]
    ours.replace(asked)
    assert set(ours) == set(asked)


def test_families_do_not_meet() -> None:
    everything4, everything6 = PrefixSet([prefix("0.0.0.0/0")]), PrefixSet([prefix("::/0")])
    keys = keys_of([prefix("192.0.2.1"), prefix("2001:db8::/64")])
    assert everything4.covers_sources(keys).tolist() == [True, False]
    assert everything6.covers_sources(keys).tolist() == [False, True]
    assert not everything4.overlaps(prefix("::/0"))
    assert "192.0.2.1" not in everything4


def test_an_address_spares_its_64() -> None:
    """The meters know no more than the /64 of an IPv6 source, so a spared address spares it."""
    spared = PrefixSet([prefix("2001:db8::1"), prefix("2001:db8::2")])
    source = keys_of([prefix("2001:db8::/64")])
    assert spared.covers_sources(source).tolist() == [True]
    assert not spared.covers(prefix("2001:db8::/64"))
    assert spared.overlaps(prefix("2001:db8::/48"))
    spared.remove([prefix("2001:db8::1")])
    assert spared.covers_sources(source).tolist() == [True]
    spared.remove([prefix("2001:db8::2")])
    assert spared.covers_sources(source).tolist() == [False]


def test_a_large_set() -> None:
    numbers = range(0, 200_000, 2)
    banned = PrefixSet(Prefix(number.to_bytes(4, "big"), 32) for number in numbers)
    asked = uint64(*(v4(number) for number in range(1_000)))
    assert banned.covers_sources(asked).tolist() == [number % 2 == 0 for number in range(1_000)]
