# SPDX-License-Identifier: Apache-2.0
"""A minute on record: what goes in comes out, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.detection.past import SECONDS, Part, Rows, decode, encode, no_rows

FLOORS = ((20.0, 1000.0, 20.0, 20.0, 20.0), (40.0, 2000.0, 40.0, 40.0, 40.0))


def rows(count: int, seconds: int, seed: int = 1) -> Rows:
    random = np.random.default_rng(seed)
    total = np.exp2(random.uniform(0, 30, (5, count, seconds))) * (random.random((5, count, seconds)) < 0.7)
    tenth = total * random.uniform(0.1, 1, total.shape)
    keys = np.arange(1, count + 1, dtype=np.uint64) << np.uint64(32)
    return Rows(keys, random.integers(0, 8, count).astype(np.uint8), total, tenth, 3)


@given(st.lists(st.floats(0, 1e12), max_size=50))
def test_figures_are_at_most_a_hundredth_off(values: list[float]) -> None:
    given_, found = np.array(values), decode(encode(np.array(values)))
    small = given_ < 40
    assert (abs(found[~small] - given_[~small]) <= 0.0115 * given_[~small]).all()
    assert (abs(found[small] - given_[small]) <= 0.9).all()


@pytest.mark.parametrize(("count", "seconds"), [(0, 1), (1, 60), (37, 60), (5, 13)])
def test_a_part_comes_back(count: int, seconds: int) -> None:
    lanes = {"udp": np.arange(4.0 * seconds).reshape(4, seconds), "syn": np.zeros((4, seconds))}
    part = Part(1_700_000_000_000, seconds, FLOORS, rows(count, seconds), no_rows(seconds), lanes)
    back = Part.unpack(part.pack())
    assert (back.at_ms, back.seconds, back.floors) == (part.at_ms, part.seconds, part.floors)
    assert back.sources.keys.tolist() == part.sources.keys.tolist()
    assert back.sources.flags.tolist() == part.sources.flags.tolist()
    assert back.sources.left_out == 3
    assert np.allclose(back.sources.total, part.sources.total, rtol=0.012, atol=0.9)
    # A tenth that is little above an even share is taken for one.
    even = part.sources.tenth <= part.sources.total * 0.15
    assert np.allclose(back.sources.tenth[~even], part.sources.tenth[~even], rtol=0.03, atol=0.9)
    assert np.allclose(back.sources.tenth[even], part.sources.total[even] / 10, rtol=0.6, atol=0.9)
    assert sorted(back.lanes) == ["syn", "udp"]
    assert np.allclose(back.lanes["udp"], lanes["udp"], rtol=0.012, atol=0.5)


def test_a_steady_flood_takes_little_room() -> None:
    random = np.random.default_rng(2)
    total = np.zeros((5, 200, SECONDS))
    total[0] = random.normal(4_000, 60, (200, SECONDS))
    total[3], total[1] = total[0], total[0] * 480
    part = Part(
        0,
        SECONDS,
        FLOORS,
        Rows(np.arange(1, 201, dtype=np.uint64), np.zeros(200, np.uint8), total, total / 10),
    )
    assert len(part.pack()) < 100 * 200


@given(st.binary(max_size=200))
def test_what_is_no_part_is_refused(noise: bytes) -> None:
    for raw in (noise, b"xwp1" + noise):
        with pytest.raises(ValueError, match="part of the record"):
            Part.unpack(raw)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_a_part_or_an_error(place: int, value: int) -> None:
    raw = bytearray(Part(5, 3, FLOORS, rows(2, 3)).pack())
    raw[place % len(raw)] = value
    try:
        assert Part.unpack(bytes(raw)).seconds <= SECONDS
    except ValueError as error:
        assert "part" in str(error)
