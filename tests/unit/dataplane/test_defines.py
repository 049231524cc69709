# SPDX-License-Identifier: Apache-2.0
"""From a config to constants and sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.config import Config
from xdpwall.dataplane.defines import defines, possible_cpus, sizes
from xdpwall.dataplane.source import inline


def config(**tables: Any) -> Config:
    return Config.from_mapping(tables)


def test_sizes_of_the_defaults() -> None:
    """131,072 bans, two a set of four places; 131,072 sources and 32,768 prefixes over all CPUs, eight a set."""
    shape = sizes(Config(), cpus=2)
    assert (shape.cpus, shape.ban_bits, shape.source_bits, shape.prefix_bits) == (2, 16, 13, 11)
    assert (1 << shape.ban_bits) * 2 == 131_072
    assert 2 * (8 << shape.source_bits) == 131_072
    assert (shape.ban_overflow, shape.ban_prefixes) == (16_384, 16_384)


@given(
    capacity=st.integers(10, 22),
    slots=st.integers(10, 22),
    prefixes=st.integers(8, 20),
    cpus=st.integers(1, 512),
)
def test_sizes_hold_what_was_asked(capacity: int, slots: int, prefixes: int, cpus: int) -> None:
    shape = sizes(
        config(bans={"capacity": 1 << capacity}, meters={"sources": 1 << slots, "prefixes": 1 << prefixes}),
        cpus,
    )
    assert (1 << shape.ban_bits) * 2 == 1 << capacity
    assert shape.ban_overflow >= (1 << capacity) // 8
    for bits, asked in ((shape.source_bits, 1 << slots), (shape.prefix_bits, 1 << prefixes)):
        assert 7 <= bits <= 20
        total = cpus * (8 << bits)
        # Within a factor of two, unless the least a CPU gets is more.
        assert total > asked // 2 or bits == 20
        assert total <= asked or bits == 7


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ({}, "OBSERVE", 0),
        ({"policy": "observe"}, "OBSERVE", 1),
        ({}, "CHECK_MALFORMED", 1),
        ({"checks": {"malformed": False}}, "CHECK_MALFORMED", 0),
        ({}, "CHECK_OWN", 1),
        ({"checks": {"own_source": False}}, "CHECK_OWN", 0),
        ({}, "METERS", 1),
        ({"meters": {"enabled": False}}, "METERS", 0),
        ({"bans": {"prefix_capacity": 100}}, "BAN_PREFIXES", 100),
    ],
)
def test_what_the_config_says_is_compiled_in(table: dict[str, Any], name: str, value: int) -> None:
    using = config(**table)
    assert defines(using, sizes(using, 2), seed=1)[name] == value


def test_the_seed_goes_along_for_the_load() -> None:
    seed = 0xFEDC_BA98_7654_3210
    assert defines(Config(), sizes(Config(), 2), seed=seed)["SEED"] == seed


def test_every_constant_is_used_and_every_used_one_given(checkout: Path) -> None:
    """A name of the C that nobody defines would not compile; one that C does not use does nothing."""
    text = re.sub(r"/\*.*?\*/", "", inline(checkout / "bpf" / "wall.c"), flags=re.DOTALL)
    for name in defines(Config(), sizes(Config(), 2), seed=1):
        assert re.search(rf"\b{name}\b", text), name


def test_the_digest_changes_with_whatever_is_compiled_in() -> None:
    """A controller compares digests to tell people that a load is due."""
    shape = sizes(Config(), 2)
    base, digest = defines(Config(), shape, 1), Config().dataplane_digest()
    for table in (
        {"policy": "observe"},
        {"checks": {"malformed": False}},
        {"checks": {"own_source": False}},
        {"meters": {"enabled": False}},
        {"bans": {"capacity": 262_144}},
        {"bans": {"prefix_capacity": 99}},
        {"meters": {"sources": 262_144}},
        {"meters": {"prefixes": 65_536}},
        {"limits": {"source": {"pps": 30_000}}},
        {"limits": {"source": {"syn": 101}}},
        {"limits": {"source": {"bps": 500_000_000}}},
        {"limits": {"source": {"burst": "2s"}}},
        {"limits": {"prefix": {"pps": 200_000}}},
        {"limits": {"prefix": {"syn": 2_000}}},
        {"limits": {"prefix": {"bps": 3_000_000_000}}},
        {"limits": {"prefix": {"burst": "2s"}}},
    ):
        other = config(**table)
        assert defines(other, sizes(other, 2), 1) != base, table
        assert other.dataplane_digest() != digest, table


@pytest.mark.parametrize(
    ("text", "count"), [("0\n", 1), ("0-1\n", 2), ("0-127", 128), ("0-3,8-11\n", 12), ("0,2,5", 6)]
)
def test_possible_cpus(text: str, count: int) -> None:
    """The largest number counts: numbers index the per-CPU tables."""
    assert possible_cpus(text) == count


def test_possible_cpus_of_this_machine() -> None:
    assert possible_cpus() >= 1
