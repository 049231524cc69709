# SPDX-License-Identifier: Apache-2.0
"""Limits per second as token buckets of 32 bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.config import Config
from xdpwall.dataplane.buckets import OFF, Buckets, data, of_config, packets

limits = st.integers(1, 1_000_000_000)
bits = st.integers(1, 10**13)
bursts = st.integers(10, 60_000)
rates = st.sampled_from([100, 250, 300, 1000])


@given(limits, bursts, rates)
def test_packets(limit: int, burst_ms: int, hz: int) -> None:
    """The bucket holds the burst, fits 32 bits, and gains the limit each second."""
    bucket = packets(limit, burst_ms)
    assert 0 < bucket.cap < 2**31
    assert bucket.cost >= 1
    held = bucket.cap / bucket.cost
    burst = max(limit * max(burst_ms, 20) / 1000, 4)
    assert burst * 0.999 - 1 <= held <= burst or bucket.cost == 1
    gained = bucket.rate(hz) * hz / bucket.cost
    assert gained == pytest.approx(limit, rel=0.001, abs=hz / bucket.cost)


@given(bits, bursts, rates)
def test_data(limit: int, burst_ms: int, hz: int) -> None:
    """The same for bytes: the largest frame always fits an empty limit's bucket."""
    bucket = data(limit, burst_ms)
    assert 0 < bucket.cap < 2**31
    held = bucket.cap << bucket.cost
    assert held + (1 << bucket.cost) > 65_550
    burst = max(limit // 8 * max(burst_ms, 20) // 1000, 131_072)
    assert held <= burst < held + (1 << bucket.cost)
    gained = (bucket.rate(hz) * hz) << bucket.cost
    assert gained == pytest.approx(limit / 8, rel=0.01, abs=hz << bucket.cost)


def test_off_is_not_compiled() -> None:
    assert packets(0, 1000) == data(0, 1000) == OFF
    assert OFF.cap == 0
    none = Buckets(OFF, OFF, OFF)
    assert none.rates(0x100, 250) == {}
    assert {value for name, value in none.defines("SOURCE").items() if name.endswith("_CAP")} == {"0ULL"}


def test_each_limit_has_its_placeholder() -> None:
    source, prefix = of_config(Config())
    assert list(source.rates(0x10, 250)) == [0x10, 0x11, 0x12]
    assert list(prefix.rates(0x20, 250)) == [0x20, 0x21, 0x22]
    only = Buckets(OFF, data(8_000_000, 1000), OFF)
    assert only.rates(0x10, 250) == {0x11: 4000}


@pytest.mark.parametrize("hz", [100, 250, 1000])
def test_even_one_packet_a_second_comes_in(hz: int) -> None:
    """The gain of a tick never rounds to nothing."""
    assert packets(1, 1000).rate(hz) >= 1
    assert data(1, 1000).rate(hz) >= 1
