# SPDX-License-Identifier: Apache-2.0
"""Sources and meter prefixes as 64-bit keys, and the hash that places them."""

from __future__ import annotations

import ipaddress
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.dataplane.hashing import gate_bit, mix, mix_many, tag
from xdpwall.dataplane.keys import meter_key, meter_prefix, source_key, source_prefix
from xdpwall.model import Prefix

v4_sources = st.binary(min_size=4, max_size=4).map(lambda raw: Prefix(raw, 32))
v6_sources = (
    st.binary(min_size=8, max_size=8)
    .filter(lambda raw: raw[0] != 0xFF)
    .map(lambda raw: Prefix(raw + bytes(8), 64))
)
sources = v4_sources | v6_sources
any_key = st.integers(0, 2**64 - 1)


@given(sources)
def test_a_source_survives_the_round_trip(source: Prefix) -> None:
    key = source_key(source)
    assert 0 <= key < 2**64
    assert source_prefix(key) == source


@given(sources, sources)
def test_two_sources_have_two_keys(one: Prefix, other: Prefix) -> None:
    """Also across the families: an IPv4 key lies in multicast space, where no IPv6 source can be."""
    assert (source_key(one) == source_key(other)) == (one == other)


@given(sources)
def test_the_prefix_of_a_source_survives_too(source: Prefix) -> None:
    around = Prefix.covering(source.packed, 24 if source.version == 4 else 48)
    assert meter_prefix(meter_key(around)) == around
    assert around.contains(source)


def test_byte_order_is_the_wire_order() -> None:
    """The kernel loads eight bytes from the packet as one little-endian number."""
    assert source_key(Prefix.parse("1.2.3.4")).to_bytes(8, "little") == bytes.fromhex("ffff000001020304")
    assert source_key(Prefix.parse("2001:db8:1:2::/64")).to_bytes(8, "little") == bytes.fromhex(
        "20010db800010002"
    )
    assert meter_key(Prefix.parse("1.2.3.0/24")).to_bytes(8, "little") == bytes.fromhex("ffff000001020300")
    assert meter_key(Prefix.parse("2001:db8:1::/48")).to_bytes(8, "little") == bytes.fromhex(
        "20010db800010000"
    )


@pytest.mark.parametrize(
    "text", ["1.2.3.0/24", "1.2.3.4/31", "2001:db8::1", "2001:db8::/63", "2001:db8::/65", "0.0.0.0/0"]
)
def test_only_a_source_has_a_source_key(text: str) -> None:
    with pytest.raises(ValueError, match="is not one source"):
        source_key(Prefix.parse(text))


@pytest.mark.parametrize("text", ["1.2.3.4", "1.2.0.0/23", "2001:db8::/47", "2001:db8::/64", "::/0"])
def test_only_24_and_48_have_a_meter_key(text: str) -> None:
    with pytest.raises(ValueError, match="has no meter"):
        meter_key(Prefix.parse(text))


@given(st.lists(any_key, min_size=1, max_size=50), any_key)
def test_the_hash_of_many_is_the_hash_of_each(keys: list[int], seed: int) -> None:
    many = mix_many(np.array(keys, dtype=np.uint64), seed)
    assert many.tolist() == [mix(key, seed) for key in keys]


def test_the_hash_is_what_c_computes() -> None:
    """By hand from ``mix`` of bpf/packet.h, step by step, for one key; the tests of the data path show the rest."""
    mask = 2**64 - 1
    value = ((0x0403020100000FFFF ^ 0x1234) * 0x9E3779B97F4A7C15) & mask
    value ^= value >> 32
    value = (value * 0xD6E8FEB86659FD93) & mask
    value ^= value >> 29
    assert mix(0x0403020100000FFFF, 0x1234) == value


@given(any_key, any_key, any_key)
def test_the_hash_loses_nothing(one: int, other: int, seed: int) -> None:
    """Multiplication by an odd number and xor with the shifted self can be undone: no two keys share a hash."""
    assert (mix(one, seed) == mix(other, seed)) == (one == other)


def test_the_hash_spreads_neighbours() -> None:
    """A /16 of sources over 2,048 sets, 32 each if all were even: no seed makes a heap or leaves a desert."""
    generator = random.Random(7)
    keys = np.arange(65536, dtype=np.uint64) << np.uint64(48) | np.uint64(0x02010000FFFF)
    for seed in (0, 1, 2**63, *(generator.getrandbits(64) for _ in range(100))):
        fill = np.bincount((mix_many(keys, seed) >> np.uint64(53)).astype(np.int64), minlength=2048)
        assert fill.max() < 3 * 32
        assert np.count_nonzero(fill) > 2000


@given(v4_sources)
def test_an_ipv4_tag_is_the_address(source: Prefix) -> None:
    key = source_key(source)
    assert tag(key, mix(key, 99)).to_bytes(4, "little") == source.packed


@given(v6_sources, any_key)
def test_an_ipv6_tag_is_never_zero(source: Prefix, hashed: int) -> None:
    """0 says that a place is empty."""
    assert 0 < tag(source_key(source), hashed) < 2**32
    assert tag(source_key(source), hashed & ~(0xFFFFFFFF << 12)) == 1


@given(st.ip_addresses())
def test_a_gate_bit_is_within_its_family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    bit = gate_bit(address.packed)
    assert 0 <= bit < 65536 if address.version == 4 else 65536 <= bit < 131072
