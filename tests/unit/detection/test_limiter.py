# SPDX-License-Identifier: Apache-2.0
"""Token buckets: who trips, when, and how often it is told."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import HZ, TICK_NS, Table, uint64, v4
from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import KeySet
from xdpwall.detection.limiter import Limiter
from xdpwall.detection.limits import KINDS, Kind, Limits
from xdpwall.detection.rates import RateMeter

A, B, C = v4(0xC0000201), v4(0xC0000202), v4(0xC0000203)


class Rig:
    """One meter and one limiter; a tick is a tenth of a second unless said otherwise."""

    def __init__(self, limits: Limits, *, scope: Scope = Scope.SOURCE, **arguments: float) -> None:
        self.table = Table(cpus=1, per_cpu=64)
        self.meter = RateMeter()
        self.limiter = Limiter(scope, limits, **arguments)  # type: ignore[arg-type]
        self.slots: dict[int, int] = {}
        self.meter.update(self.table.snapshot())

    def send(self, key: int, packets: int, size: int = 60, **kinds: int) -> None:
        if packets:
            slot = self.slots.setdefault(key, len(self.slots))
            self.table.count(slot, key, packets, size, **kinds)

    def tick(self, ticks: int = HZ // 10, skip: Iterable[int] = ()) -> list[Finding]:
        self.table.wait(ticks)
        return self.limiter.observe(self.meter.update(self.table.snapshot()), uint64(*skip))


def reference_peak(arrivals: list[tuple[int, int]], limit: float) -> float:
    """The fullest that a bucket of this limit gets, packet by packet. Arrivals are (nanosecond, packets at once)."""
    fill = peak = 0.0
    then = 0
    for now, packets in arrivals:
        fill = max(0.0, fill - limit * (now - then) / 1e9) + packets
        peak, then = max(peak, fill), now
    return peak


@given(
    st.integers(20, 2_000),
    st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 300)), max_size=60),
    st.sampled_from([5, 25, 60]),
)
def test_trips_as_a_bucket_that_counts_packets(
    limit: int, burst_s: float, arrivals: list[tuple[int, int]], every: int
) -> None:
    """Never when no bucket would; at the latest where one would be a tick's worth over."""
    rig = Rig(Limits(pps=limit, burst_s=burst_s))
    rig.send(A, 1)
    rig.tick(HZ)
    start = rig.table.mono_ns
    sent: list[tuple[int, int]] = []
    tripped = False
    since = 0
    for wait, packets in arrivals:
        for _ in range(wait):
            rig.table.wait(1)
            since += 1
            if since >= every:
                tripped |= bool(rig.tick(0))
                since = 0
        rig.send(A, packets)
        sent.append((rig.table.mono_ns - start, packets))
    tripped |= bool(rig.tick(1))
    peak = reference_peak(sent, limit)
    depth = limit * burst_s
    if tripped:
        assert peak > depth
    if peak > depth + limit * (every + 1) / HZ + 1e-6:
        assert tripped


@pytest.mark.parametrize(("factor", "seconds"), [(6, 0.2), (2, 1.0), (11, 0.1)])
def test_a_steady_bot_trips_within_its_share_of_the_burst(factor: int, seconds: float) -> None:
    """At n times the limit after burst / (n - 1), plus at most one tick."""
    rig = Rig(Limits(syn=100))
    rig.send(A, 1)
    rig.tick()
    for number in range(1, 30):
        rig.send(A, factor * 10, syn=factor * 10)
        if rig.tick():
            assert seconds <= number / 10 <= seconds + 0.1 + 1e-9
            return
    pytest.fail("never tripped")


def test_a_page_load_does_not_trip() -> None:
    """Thirty connections at once, again and again, a second and a half apart."""
    rig = Rig(Limits(syn=100, pps=20_000))
    for _ in range(20):
        rig.send(A, 60, syn=30)
        assert [rig.tick() for _ in range(15)] == [[]] * 15
    assert rig.limiter.tracked == 0


def test_just_below_the_limit_never_trips() -> None:
    """For an hour, with ticks that come early and late."""
    rig = Rig(Limits(syn=100, burst_s=0.1))
    for number in range(2_000):
        ticks = (25, 20, 30, 100)[number % 4]
        rig.send(A, ticks * 99 // 250, syn=ticks * 99 // 250)
        assert rig.tick(ticks) == []


def test_after_a_long_quiet_a_new_source_trips_in_its_first_tick() -> None:
    """What it sent is weighed against the time since it began, not against the two seconds since the last look."""
    rig = Rig(Limits(syn=100))
    rig.table.wait(2 * HZ)
    rig.send(A, 120, syn=120)
    found = rig.tick(10)
    assert [(f.key, f.kind) for f in found] == [(A, Kind.SYN)]
    assert found[0].rate == 1_200  # told as if it took a tenth of a second


def test_each_kind_has_its_limit() -> None:
    limits = Limits(pps=1_000, bps=1_000_000, syn=10, udp=20, icmp=30)
    loads: dict[Kind, tuple[int, int, dict[str, int]]] = {
        Kind.PPS: (5_000, 14, {}),
        Kind.BPS: (500, 1_500, {}),
        Kind.SYN: (90, 60, {"syn": 90}),
        Kind.UDP: (90, 60, {"udp": 90}),
        Kind.ICMP: (90, 60, {"icmp": 90}),
    }
    for kind, (packets, size, kinds) in loads.items():
        rig = Rig(limits)
        rig.send(A, packets, size, **kinds)
        assert [f.kind for f in rig.tick()] == [kind]
        off = Rig(
            Limits(**{k.value: 0 if k is kind else v for k, v in zip(KINDS, limits.per_kind(), strict=True)})
        )
        off.send(A, packets, size, **kinds)
        assert off.tick() == []


def test_no_limits_at_all() -> None:
    rig = Rig(Limits())
    rig.send(A, 10_000_000)
    assert (rig.tick(), rig.limiter.tracked) == ([], 0)


def test_what_a_finding_says() -> None:
    rig = Rig(Limits(syn=100, pps=20_000))
    rig.send(A, 1)
    rig.tick()
    rig.send(A, 300, syn=300)
    (found,) = rig.tick()
    assert str(found.prefix) == "192.0.2.1"
    assert (found.scope, found.key, found.kind) == (Scope.SOURCE, A, Kind.SYN)
    assert (found.rate, found.limit, found.severity) == (3_000, 100, 30)
    assert found.text == "syn 3000/s over 100/s"
    assert found.mono_ns == rig.table.mono_ns


def test_the_worst_kind_and_the_worst_key_come_first() -> None:
    rig = Rig(Limits(syn=10, udp=10))
    rig.send(A, 100, syn=40, udp=60)
    rig.send(B, 500, syn=400, udp=100)
    rig.send(C, 100, udp=100)
    assert [(f.key, f.kind) for f in rig.tick()] == [(B, Kind.SYN), (C, Kind.UDP), (A, Kind.UDP)]


def test_a_prefix_limiter_names_prefixes() -> None:
    rig = Rig(Limits(syn=10), scope=Scope.PREFIX)
    rig.send(v4(0xC0000200), 50, syn=50)
    (found,) = rig.tick()
    assert (found.scope, str(found.prefix)) == (Scope.PREFIX, "192.0.2.0/24")


def test_told_once_until_it_was_calm() -> None:
    rig = Rig(Limits(syn=100), hold_s=1.0)
    rig.send(A, 300, syn=300)
    assert len(rig.tick()) == 1
    for load in [40] * 50 + [6, 6, 6, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6] * 5:  # calm, but never for a whole second
        rig.send(A, load, syn=load)
        assert rig.tick() == []
    assert rig.limiter.over.tolist() == [A]
    for _ in range(10):
        rig.send(A, 4, syn=4)
        assert rig.tick() == []
    assert (rig.limiter.over.tolist(), rig.limiter.tracked) == ([], 0)
    rig.send(A, 300, syn=300)
    assert len(rig.tick()) == 1


@given(st.lists(st.integers(0, 60), min_size=20, max_size=150), st.integers(3, 10))
def test_no_flapping(loads: list[int], hold_ticks: int) -> None:
    """Between two reports of a key lies a hold time in which every tick was below half the limit."""
    rig = Rig(Limits(syn=100, burst_s=0.2), hold_s=hold_ticks / 10)
    calm = hold_ticks
    for load in loads:
        rig.send(A, load, syn=load)
        found = rig.tick()
        if found:
            assert calm >= hold_ticks
        calm = 0 if found else calm + 1 if load < 5 or calm >= hold_ticks else 0


def test_banned_and_allowed_keys_are_left_alone_and_forgotten() -> None:
    rig = Rig(Limits(syn=100))
    rig.send(A, 300, syn=300)
    rig.send(B, 300, syn=300)
    assert [f.key for f in rig.tick(skip=[A])] == [B]
    assert rig.limiter.over.tolist() == [B]
    rig.send(B, 300, syn=300)
    assert rig.tick(skip=[A, B]) == []
    assert rig.limiter.tracked == 0
    for key in (A, B):  # unbanned, and it goes on
        rig.send(key, 300, syn=300)
    assert {f.key for f in rig.tick()} == {A, B}


def test_skip_may_be_a_function() -> None:
    rig = Rig(Limits(syn=100))
    rig.send(A, 300, syn=300)
    rig.send(B, 300, syn=300)
    rig.table.wait()
    rates = rig.meter.update(rig.table.snapshot())
    assert [f.key for f in rig.limiter.observe(rates, KeySet([A]).contains)] == [B]


def test_one_whose_ban_failed_is_found_again() -> None:
    rig = Rig(Limits(syn=100))
    rig.send(A, 300, syn=300)
    assert len(rig.tick()) == 1
    rig.limiter.release(uint64(A, C))
    rig.send(A, 300, syn=300)
    assert len(rig.tick()) == 1


def test_the_state_is_bounded_and_keeps_the_fullest() -> None:
    rig = Rig(Limits(syn=100), max_keys=5)
    for number in range(20):
        rig.send(v4(number + 1), 20 + number, syn=20 + number)
    assert rig.tick() == []
    assert rig.limiter.tracked == 5
    for number in range(20):
        rig.send(v4(number + 1), 86, syn=86)
    assert {f.key for f in rig.tick()} == {v4(number + 1) for number in range(15, 20)}


def test_those_that_are_over_stay_when_room_is_short() -> None:
    rig = Rig(Limits(syn=100), max_keys=3)
    rig.send(A, 300, syn=300)
    rig.tick()
    for number in range(30):
        rig.send(v4(number + 1), 90, syn=90)
    rig.tick()
    assert A in rig.limiter.over.tolist()
    assert rig.limiter.tracked == 3


def test_other_limits_take_hold() -> None:
    rig = Rig(Limits(syn=1_000))
    rig.send(A, 200, syn=200)
    assert rig.tick() == []
    rig.limiter.set_limits(Limits(syn=100))
    rig.send(A, 200, syn=200)
    assert [f.limit for f in rig.tick()] == [100]
    rig.limiter.set_limits(Limits(udp=100))
    for _ in range(120):
        rig.send(A, 200, syn=200)
        assert rig.tick() == []
    assert rig.limiter.tracked == 0


def test_a_bucket_that_only_drains_does_not_trip() -> None:
    rig = Rig(Limits(syn=1_000))
    rig.send(A, 900, syn=900)
    assert rig.tick() == []
    rig.limiter.set_limits(Limits(syn=10))
    rig.send(A, 1, syn=1)
    assert rig.tick() == []


def test_a_bucket_holds_one_packet_at_least() -> None:
    """Or a limit of one a second with a short burst would trip on any packet."""
    rig = Rig(Limits(pps=1, bps=1_000, syn=1, burst_s=0.1))
    rig.send(A, 1, 1_518, syn=1)
    assert rig.tick() == []
    rig.send(A, 2, 60, syn=2)
    assert len(rig.tick()) == 1


def test_no_time_no_verdict() -> None:
    rig = Rig(Limits(syn=1))
    rig.send(A, 300, syn=300)
    assert rig.tick(0) == []
    assert len(rig.tick()) == 1


def test_many_at_once() -> None:
    """Twenty thousand senders on two CPUs: each over its limit is found, none other."""
    table, meter = Table(cpus=2, per_cpu=32_768), RateMeter()
    limiter = Limiter(Scope.SOURCE, Limits(udp=100))
    meter.update(table.snapshot())
    keys = uint64(*(v4(0x0B000000 + 977 * number) for number in range(20_000)))
    heavy = np.arange(20_000) % 10 == 0
    for cpu in (0, 1):
        rows = table.slots[cpu * 32_768 : cpu * 32_768 + 20_000]
        rows["key"], rows["first"] = keys, table.tick
        rows["packets"] = rows["udp"] = np.where(heavy, 90, 5)
        rows["bytes"] = rows["packets"] * 100
    table.mono_ns += 25 * TICK_NS
    table.tick += 25
    found = limiter.observe(meter.update(table.snapshot()))
    assert {f.key for f in found} == set(keys[heavy].tolist())
    assert {f.rate for f in found} == {round(180 / (25 / HZ))}


@pytest.mark.parametrize(
    "bad", [{"pps": -1}, {"burst_s": 0.0}, {"burst_s": float("nan")}, {"burst_s": float("inf")}]
)
def test_limits_that_make_no_sense(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|limits are"):
        Limits(**bad)  # type: ignore[arg-type]
