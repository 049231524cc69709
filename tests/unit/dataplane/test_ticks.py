# SPDX-License-Identifier: Apache-2.0
"""Durations into the kernel's expiries and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.dataplane.ticks import EXPIRY_NEVER, TickClock, epoch_shift

rates = st.sampled_from([100, 250, 300, 1000])
moments = st.integers(0, 2**37)
DAY = 86_400_000


def clock(hz: int) -> TickClock:
    """One that reads no kernel: every call gives the tick."""
    made = TickClock.__new__(TickClock)
    made.hz = hz
    return made


@given(hz=rates, now=moments, ms=st.integers(0, 365 * DAY))
def test_a_ban_lasts_at_least_what_was_asked_and_hardly_longer(hz: int, now: int, ms: int) -> None:
    ticks = clock(hz)
    expiry = ticks.expiry(ms, now)
    left = ticks.remaining_ms(expiry, now)
    assert left is not None
    unit = 64_000 / hz
    assert ms - 1 <= left <= ms + unit + 1000 / hz
    # The kernel drops while now >> 6 is before the expiry.
    last = now + ms * hz // 1000
    assert ms == 0 or now >> 6 < expiry
    assert (last - 1) >> 6 < expiry or ms == 0
    assert (last + 2 + 64) >> 6 >= expiry


@given(hz=rates, now=moments)
def test_for_ever(hz: int, now: int) -> None:
    ticks = clock(hz)
    assert ticks.expiry(None, now) == EXPIRY_NEVER
    assert ticks.remaining_ms(EXPIRY_NEVER, now) is None


@given(hz=rates, now=moments)
def test_the_longest_time_is_not_for_ever(hz: int, now: int) -> None:
    assert clock(hz).expiry(10**15, now) == EXPIRY_NEVER - 1


@given(hz=rates, now=moments, late=st.integers(0, 2**20))
def test_what_is_over_has_nothing_left(hz: int, now: int, late: int) -> None:
    ticks = clock(hz)
    expiry = ticks.expiry(1000, now)
    assert ticks.remaining_ms(expiry, (expiry << 6) + late) == 0


@given(hz=rates, now=moments, ms=st.integers(-(2**40), -1))
def test_a_negative_time_is_none(hz: int, now: int, ms: int) -> None:
    assert clock(hz).expiry(ms, now) == clock(hz).expiry(0, now)


@pytest.mark.parametrize(("hz", "shift"), [(100, 6), (250, 7), (300, 8), (1000, 9), (1, 1), (1024, 10)])
def test_an_epoch_is_about_a_second(hz: int, shift: int) -> None:
    assert epoch_shift(hz) == shift
    if hz >= 100:
        assert 0.5 <= (1 << shift) / hz <= 1.1
