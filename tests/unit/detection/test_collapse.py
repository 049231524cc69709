# SPDX-License-Identifier: Apache-2.0
"""Many banned sources of one prefix become one ban, and never one over a spared address."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import prefix, uint64, v4, v6
from xdpwall.detection.collapse import collapse
from xdpwall.detection.keys import keys_of, no_keys, prefix_keys, prefix_of, source_of
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.model import Prefix

NOTHING = PrefixSet()
KEY = st.one_of(
    st.builds(lambda net, host: v4(0xC0000000 + net * 256 + host), st.integers(0, 3), st.integers(0, 9)),
    st.builds(
        lambda net, host: v6(0x20010DB8_00000000 + net * 65_536 + host), st.integers(0, 3), st.integers(0, 9)
    ),
)
SPARED = st.builds(
    lambda key, length: Prefix.covering(source_of(key).packed, min(length, len(source_of(key).packed) * 8)),
    KEY,
    st.integers(8, 128),
)


@given(
    st.sets(KEY, max_size=60), st.integers(1, 6), st.lists(SPARED, max_size=3), st.lists(SPARED, max_size=2)
)
def test_what_is_full_is_collapsed_unless_it_is_spared(
    banned: set[int], threshold: int, spared: list[Prefix], standing: list[Prefix]
) -> None:
    plan = collapse(uint64(*banned), threshold, standing=PrefixSet(standing), spared=PrefixSet(spared))
    counts = Counter(prefix_of(int(key)) for key in prefix_keys(uint64(*banned)))
    full = {
        net
        for net, count in counts.items()
        if count >= threshold and not any(s.contains(net) for s in standing)
    }
    held = {net for net in full if any(s.overlaps(net) for s in spared)}
    assert {found.prefix for found in plan.collapses} == full - held
    assert {found.prefix for found in plan.held_back} == held
    for found in plan.collapses + plan.held_back:
        assert found.sources.tolist() == sorted(k for k in banned if found.prefix.contains(source_of(k)))
    sizes = [len(found.sources) for found in plan.collapses]
    assert sizes == sorted(sizes, reverse=True)


def test_off() -> None:
    keys = uint64(*(v4(number) for number in range(256)))
    assert collapse(keys, 0, standing=NOTHING, spared=NOTHING).collapses == []
    assert collapse(no_keys(), 1, standing=NOTHING, spared=NOTHING).collapses == []


def test_only_what_was_touched() -> None:
    keys = uint64(
        *(v4(0xC0000200 + number) for number in range(40)), *(v4(0xC6336400 + number) for number in range(40))
    )
    plan = collapse(keys, 32, standing=NOTHING, spared=NOTHING, only=keys_of([prefix("192.0.2.7")]))
    assert [str(found.prefix) for found in plan.collapses] == ["192.0.2.0/24"]
    assert plan.collapses[0].text == "40 banned sources within"
    assert collapse(keys, 32, standing=NOTHING, spared=NOTHING, only=no_keys()).collapses == []
