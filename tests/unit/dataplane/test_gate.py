# SPDX-License-Identifier: Apache-2.0
"""Which gate bits a prefix opens, against every address of it."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.dataplane.gate import Gate, GateList
from xdpwall.dataplane.hashing import gate_bit
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.model import Prefix


def new_words() -> memoryview:
    """The map's memory."""
    return memoryview(bytearray(2048 * 32)).cast("Q")


def gate_over(words: memoryview, which: GateList) -> Gate:
    return Gate(cast(MappedArray, SimpleNamespace(words=words)), which)


def opened(words: memoryview, which: GateList) -> set[int]:
    """The bits that are set, as the kernel looks: word ``bit >> 6``, member of the list, bit ``bit & 63``."""
    return {bit for bit in range(131072) if words[(bit >> 6) * 4 + which] >> (bit & 63) & 1}


def wanted(prefix: Prefix) -> set[int]:
    """By brute force: the bit of one address of each /16 (IPv4) or /32 (IPv6) that the prefix touches."""
    exact = 16 if prefix.version == 4 else 32
    size = len(prefix.packed)
    if prefix.length >= exact:
        return {gate_bit(prefix.packed)}
    first = int.from_bytes(prefix.packed, "big") >> (size * 8 - exact)
    numbers = range(first, first + (1 << (exact - prefix.length)))
    return {gate_bit((n << (size * 8 - exact)).to_bytes(size, "big")) for n in numbers}


PREFIXES = [
    *(f"165.165.165.165/{n}" for n in (1, 2, 7, 8, 12, 15, 16, 17, 24, 32)),
    *(f"a5a5:a5a5:a5a5:a5a5::1/{n}" for n in (17, 20, 21, 22, 26, 31, 32, 33, 48, 64, 127, 128)),
]


@pytest.mark.parametrize("text", PREFIXES)
@pytest.mark.parametrize("which", GateList)
def test_a_prefix_opens_its_bits_and_no_others(text: str, which: GateList) -> None:
    network = ipaddress.ip_network(text, strict=False)
    prefix = Prefix(network.network_address.packed, network.prefixlen)
    words = new_words()
    gate_over(words, which).open(prefix)
    found, needed = opened(words, which), wanted(prefix)
    assert needed <= found
    if not (prefix.version == 6 and prefix.length <= 20):  # there all bits are opened: nearly all are needed
        assert found == needed
    for other in set(GateList) - {which}:
        assert not opened(words, other)


@pytest.mark.parametrize(("text", "bits"), [("0.0.0.0/0", range(65536)), ("::/0", range(65536, 131072))])
def test_everything(text: str, bits: range) -> None:
    words = new_words()
    gate_over(words, GateList.BAN).open(Prefix.parse(text))
    assert opened(words, GateList.BAN) == set(bits)


small = st.integers(16, 32).flatmap(
    lambda n: st.binary(min_size=4, max_size=4).map(lambda raw: Prefix.covering(raw, n))
) | st.integers(29, 128).flatmap(
    lambda n: st.binary(min_size=16, max_size=16).map(lambda raw: Prefix.covering(raw, n))
)


@given(kept=st.lists(small, max_size=6), gone=st.lists(small, max_size=6))
def test_rebuilding_leaves_what_is_still_needed(kept: list[Prefix], gone: list[Prefix]) -> None:
    """After some prefixes went, the bits are exactly those of the rest, and another list's stay as they are."""
    words = new_words()
    gate, other = gate_over(words, GateList.BAN), gate_over(words, GateList.ALLOW)
    for prefix in [*kept, *gone]:
        gate.open(prefix)
    for prefix in gone:
        other.open(prefix)
    before = _members(words, GateList.ALLOW)
    gate.rebuild(kept)
    fresh = new_words()
    for prefix in kept:
        gate_over(fresh, GateList.BAN).open(prefix)
    assert _members(words, GateList.BAN) == _members(fresh, GateList.BAN)
    assert _members(words, GateList.ALLOW) == before


def _members(words: memoryview, which: GateList) -> list[Any]:
    return words.tolist()[which::4]
