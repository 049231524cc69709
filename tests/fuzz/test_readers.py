# SPDX-License-Identifier: Apache-2.0
"""Everything that reads bytes from outside gives a value, or an error of xdpwall's own."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import mutate, readers, try_one
from xdpwall.dataplane import netlink
from xdpwall.incident.origin_table import MAGIC

pytestmark = pytest.mark.timeout(600)
NAMES = sorted(readers())
DEEP, LONG = b"[" * 3_000, b"9" * 5_000
ONCE_FOUND = [
    ("config", b"pps = " + LONG),
    ("config", b"pps = " + DEEP),
    ("ban-list", b"192.0.2.0/" + LONG),
    ("duration", LONG + b"s"),
    ("answer", b'{"ok":false,"error":{"message":"x","exit_code":Infinity}}'),
    ("origins", MAGIC + DEEP + b"\n"),
    ("origins", MAGIC + b'{"parts":{},"blocks":' + DEEP + b"\n"),
    ("loaded", DEEP),
    ("sock-diag", netlink.HEADER.pack(20, netlink.ERROR, 0, 1, 0) + struct.pack("=i", -(1 << 31))),
    ("sock-diag", netlink.HEADER.pack(1 << 20, 20, 0, 1, 0) + bytes(60)),
]


@pytest.mark.parametrize(
    ("name", "data"), ONCE_FOUND, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_was_found_once(tmp_path: Path, name: str, data: bytes) -> None:
    assert try_one(readers()[name], data, tmp_path) is None


@pytest.mark.parametrize("name", NAMES)
def test_good_input_is_read(tmp_path: Path, name: str) -> None:
    reader = readers()[name]
    assert reader.seeds
    for seed in reader.seeds:
        assert try_one(reader, seed, tmp_path) is None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_nothing_breaks_a_reader(tmp_path: Path, name: str, data: st.DataObject) -> None:
    reader = readers()[name]
    blind = data.draw(st.integers(0, 7))
    if not blind:
        raw = data.draw(st.binary(max_size=300))
    else:
        chance = random.Random(data.draw(st.integers(0, 1 << 32)))
        raw = mutate(chance.choice(reader.seeds), chance, reader.seeds)
    fault = try_one(reader, raw, tmp_path)
    assert fault is None, f"{fault.error}\n{fault.trace}\n{raw[:2000]!r}"


def test_a_database_of_origins_damaged_at_any_byte(tmp_path: Path) -> None:
    """A reader that trusts its pointers would write where nothing is its own."""
    reader = readers()["mmdb"]
    seed = reader.seeds[0]
    for at in range(0, len(seed), max(1, len(seed) // 150)):
        for value in (0, 0xFF):
            raw = seed[:at] + bytes([value]) + seed[at + 1 :]
            assert try_one(reader, raw, tmp_path) is None, at
