# SPDX-License-Identifier: Apache-2.0
"""Rates tell what was truly sent: through wraps, resets, evictions, several CPUs and late looks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.detection.kit import HZ, SHORT, Table, as_dict, uint64, v4, v6
from xdpwall.detection.limits import KINDS, Kind
from xdpwall.detection.rates import RateMeter, full_ticks
from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

KEYS = [v4(0x0A000001), v4(0x0A000002), v4(0xC0000201), v6(0x20010DB800000001), v6(1), v6(2**64 - 2)]
PACKETS = st.integers(1, 10_000)

# One packet train: key, CPU, packets, size of each, how many of them carry which kind.
TRAIN = st.tuples(
    st.sampled_from(range(len(KEYS))),
    st.integers(0, 1),
    PACKETS,
    st.integers(14, 9_018),
    st.sampled_from((*SHORT, "none")),
)


def feed(table: Table, train: tuple[int, int, int, int, str]) -> None:
    """Each key has a slot of its own on each CPU: nobody is evicted."""
    key, cpu, packets, size, kind = train
    kinds = {} if kind == "none" else {kind: packets}
    table.count(cpu * table.per_cpu + key, KEYS[key], packets, size, **kinds)


@given(st.lists(st.tuples(st.lists(TRAIN, max_size=6), st.integers(1, 1_000)), max_size=12))
def test_every_packet_is_counted_once(ticks: list[tuple[list[tuple[int, int, int, int, str]], int]]) -> None:
    """As long as nobody is evicted, each look shows exactly what was sent since the one before."""
    table, meter = Table(), RateMeter()
    assert len(meter.update(table.snapshot())) == 0
    for trains, wait in ticks:
        for train in trains:
            feed(table, train)
        table.wait(wait)
        rates = meter.update(table.snapshot())
        assert as_dict(rates) == table.truth()
        assert rates.dt_ns == wait * 1_000_000_000 // HZ
        assert (rates.put_off, rates.discarded) == (0, 0)


@given(
    st.sampled_from(SHORT),
    st.integers(0, 2**32 - 1),
    st.integers(1, 1_000_000),
    st.integers(2**63, 2**64 - 10**10),
)
def test_counters_wrap(name: str, start: int, packets: int, packets_before: int) -> None:
    """A 32-bit counter that passes 2**32 goes on as if nothing had happened."""
    table, meter = Table(), RateMeter()
    table.begin(0, KEYS[0])
    table.slots[0]["packets"], table.slots[0]["bytes"], table.slots[0][name] = packets_before, 99, start
    meter.update(table.snapshot())
    table.wait()
    table.count(0, KEYS[0], packets, 60, **{name: packets})
    assert as_dict(meter.update(table.snapshot())) == table.truth()


@given(st.lists(TRAIN, min_size=1, max_size=20), st.permutations(range(16)))
def test_the_order_of_slots_does_not_matter(
    trains: list[tuple[int, int, int, int, str]], order: list[int]
) -> None:
    """Which CPU and which slot counted a packet changes nothing."""
    table = Table()
    before = table.slots.copy()
    for train in trains:
        feed(table, train)
    answers = []
    for places in (np.arange(16), np.array(order)):
        meter = RateMeter()
        meter.update(MeterSnapshot(before[places], 1, table.tick, HZ))
        answers.append(as_dict(meter.update(MeterSnapshot(table.slots[places], 100_000_001, table.tick, HZ))))
    assert answers[0] == answers[1] == table.truth()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), PACKETS), max_size=40), st.data())
def test_evictions_and_new_beginnings_invent_nothing(
    steps: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """Keys push each other out of four slots all the time: nobody is ever said to have sent more than they did."""
    table, meter = Table(cpus=2, per_cpu=2), RateMeter()
    meter.update(table.snapshot())
    sent: Counter[int] = Counter()
    told: Counter[int] = Counter()
    for slot, key, packets in steps:
        table.count(slot, KEYS[key], packets, 60, udp=packets)
        sent[KEYS[key]] += packets
        if data.draw(st.booleans()):
            table.wait(data.draw(st.integers(1, 50)))
            for found, counts in as_dict(meter.update(table.snapshot())).items():
                assert counts["udp"] == counts["packets"]
                assert counts["bytes"] == 60 * counts["packets"]
                told[found] += counts["packets"]
                assert told[found] <= sent[found]


@given(st.integers(1, 100_000), st.integers(1, 100_000), st.integers(1, 500))
def test_a_slot_that_changes_hands_counts_whole(old: int, new: int, wait: int) -> None:
    """The new holder's count began after the last look, so all of it is new."""
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0], old)
    meter.update(table.snapshot())
    table.truth()
    table.wait(wait)
    table.count(0, KEYS[1], new)
    table.wait(1)
    first = as_dict(meter.update(table.snapshot()))
    table.wait(1)
    second = as_dict(meter.update(table.snapshot()))  # one look later when it could have been a torn read
    assert (first or second) == table.truth()
    assert not (first and second)


def test_the_same_key_begins_afresh() -> None:
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0], 1_000)
    meter.update(table.snapshot())
    table.truth()
    table.wait()
    table.begin(0, KEYS[0])
    table.count(0, KEYS[0], 7)
    table.wait()
    assert as_dict(meter.update(table.snapshot())) == table.truth()


def test_a_table_made_anew() -> None:
    """All counters at zero, keys elsewhere: only what came since is counted."""
    table, meter = Table(), RateMeter()
    for slot, key in enumerate(KEYS):
        table.count(slot, key, 50_000)
    meter.update(table.snapshot())
    table.truth()
    table.wait()
    table.slots[:] = np.zeros((), METER_DTYPE)
    table.count(5, KEYS[1], 3, syn=3)
    table.wait()
    assert as_dict(meter.update(table.snapshot())) == table.truth()


def test_a_table_of_another_size() -> None:
    """After a load with other capacities what began since counts, what is older does not."""
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0], 9)
    meter.update(table.snapshot())
    table.truth()
    wider = Table(per_cpu=16, mono_ns=table.mono_ns, tick=table.tick)
    wider.begin(3, KEYS[0])
    wider.slots[3]["packets"], wider.slots[3]["bytes"], wider.slots[3]["first"] = (
        70,
        7_000,
        table.tick - 9_999,
    )
    wider.wait()
    wider.count(4, KEYS[1], 5)
    wider.wait()
    assert as_dict(meter.update(wider.snapshot())) == wider.truth()
    wider.count(3, KEYS[0], 5)
    wider.wait()
    assert as_dict(meter.update(wider.snapshot())) == wider.truth()


@pytest.mark.parametrize("step_ns", [0, -1, -5_000_000_000])
def test_time_that_stands_still_loses_nothing(step_ns: int) -> None:
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0])
    meter.update(table.snapshot())
    table.truth()
    table.count(0, KEYS[0], 5)
    rates = meter.update(MeterSnapshot(table.slots.copy(), table.mono_ns + step_ns, table.tick, HZ))
    assert (rates.dt_ns, len(rates), rates.total("packets")) == (0, 0, 0)
    table.wait()
    assert as_dict(meter.update(table.snapshot())) == table.truth()


def test_a_minute_late() -> None:
    """A controller that was stopped for a while divides by the true time."""
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0])
    meter.update(table.snapshot())
    table.truth()
    table.count(0, KEYS[0], 60_000_000)
    table.wait(60 * HZ)
    rates = meter.update(table.snapshot())
    assert as_dict(rates) == table.truth()
    assert rates.packets[0] * 1_000_000_000 // rates.dt_ns == 1_000_000


def test_the_buffer_may_be_used_again() -> None:
    """The meter keeps its own record: a caller may fill one buffer for ever, or hand over a live view."""
    table, meter = Table(), RateMeter()
    live = MeterSnapshot(table.slots, table.mono_ns, table.tick, HZ)
    meter.update(live)
    table.count(0, KEYS[0], 5)
    table.wait()
    rates = meter.update(MeterSnapshot(table.slots, table.mono_ns, table.tick, HZ))
    table.slots["packets"] = 0
    assert as_dict(rates) == table.truth()


def test_first_and_last() -> None:
    table, meter = Table(tick=2**32 - 30), RateMeter()
    meter.update(table.snapshot())
    began = table.tick
    table.count(0, KEYS[0])
    table.wait(20)
    table.count(8, KEYS[0])  # the second CPU, after the 32-bit tick has wrapped
    table.wait(20)
    rates = meter.update(table.snapshot())
    assert (rates.first_tick.tolist(), rates.last_tick.tolist()) == ([began], [began + 20])


@given(st.integers(0, 2**40), st.lists(st.integers(0, 2**32 - 2**20 - 2), min_size=1))
def test_full_ticks(now: int, ages: list[int]) -> None:
    now += 2**32
    short = np.array([(now - age) & 0xFFFFFFFF for age in ages], np.uint32)
    assert full_ticks(short, now).tolist() == [now - age for age in ages]


def test_a_tick_a_little_ahead_is_now() -> None:
    assert full_ticks(np.array([105], np.uint32), 100).tolist() == [100]


@settings(max_examples=60)
@given(
    st.lists(TRAIN, min_size=1, max_size=30),
    st.sampled_from(KINDS),
    st.floats(0, 200_000),
)
def test_keys_above_lacks_none(
    trains: list[tuple[int, int, int, int, str]], kind: Kind, per_second: float
) -> None:
    """Whoever sent more is among them, and ``of`` tells what they sent."""
    table, meter = Table(), RateMeter()
    meter.update(table.snapshot())
    for train in trains:
        feed(table, train)
    table.wait()
    rates = meter.update(table.snapshot())
    name = {Kind.PPS: "packets", Kind.BPS: "bytes"}.get(kind, kind.value)
    factor = 8 if kind is Kind.BPS else 1
    truth = {key: counts[name] * factor for key, counts in table.truth().items()}
    seconds = (HZ // 10) / HZ
    above = {key for key, amount in truth.items() if amount > per_second * seconds}
    found = rates.keys_above(kind, per_second)
    assert above <= set(found.tolist()) <= set(truth)
    assert found.tolist() == sorted(set(found.tolist()))
    everyone = np.unique(uint64(*KEYS, 12345))
    sent = rates.of(everyone, (kind,))[0]
    assert dict(zip(everyone.tolist(), sent.tolist(), strict=True)) == {
        key: truth.get(key, 0) for key in everyone.tolist()
    }


def test_a_key_that_began_late_had_less_time() -> None:
    table, meter = Table(), RateMeter()
    table.count(0, KEYS[0])
    meter.update(table.snapshot())
    table.wait(2 * HZ - 10)
    for slot, key in enumerate(KEYS[:3]):
        table.count(slot, key, 9)
    table.wait(10)
    keys = np.unique(uint64(*KEYS[:4]))
    rates = meter.update(table.snapshot())
    seconds = dict(zip(keys.tolist(), rates.seconds_of(keys).tolist(), strict=True))
    assert seconds == pytest.approx({KEYS[0]: 2.0, KEYS[1]: 12 / HZ, KEYS[2]: 12 / HZ, KEYS[3]: 2.0})


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 3), PACKETS), max_size=30), st.integers(0, 3))
def test_within_finds_the_sources_of_a_prefix(sources: list[tuple[int, int, int]], wanted: int) -> None:
    table, meter = Table(cpus=1, per_cpu=64), RateMeter()
    meter.update(table.snapshot())
    truth: Counter[int] = Counter()
    for slot, (host, net, packets) in enumerate(sources):
        table.count(slot, v4(0x0A000000 + net * 256 + host), packets)
        if net == wanted:
            truth[v4(0x0A000000 + net * 256 + host)] += packets
    table.wait()
    keys, sent = meter.update(table.snapshot()).within(uint64(v4(0x0A000000 + wanted * 256)), (Kind.PPS,))
    assert dict(zip(keys.tolist(), sent[0].tolist(), strict=True)) == truth


def test_totals() -> None:
    table, meter = Table(), RateMeter()
    meter.update(table.snapshot())
    table.count(0, KEYS[0], 5, 100, udp=4)
    table.count(8, KEYS[0], 5, 100, udp=5)
    table.wait()
    rates = meter.update(table.snapshot())
    assert (rates.total("packets"), rates.total("bytes"), rates.total("udp")) == (10, 1_000, 9)
    assert (rates.packets.tolist(), rates.bytes.tolist(), rates.udp.tolist()) == ([10], [1_000], [9])
    assert [getattr(rates, name).tolist() for name in ("syn", "icmp", "fragments", "drops")] == [[0]] * 4
