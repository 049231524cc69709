# SPDX-License-Identifier: Apache-2.0
"""Slots that are read while the kernel writes them: nothing absurd is told, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import HZ, SHORT, Table, as_dict, v4
from xdpwall.detection.rates import RateMeter
from xdpwall.detection.slots import IN_FLIGHT
from xdpwall.snapshot import METER_DTYPE, Meters, MeterSnapshot

OLD, NEW = v4(0x0A000001), v4(0x0A000002)
FIELDS = [name for name in METER_DTYPE.names or () if not name.startswith("spare")]
# The order in which the kernel writes a slot that changes hands: the key goes first and comes last.
HANDOVER = ["key", "packets", "bytes", *SHORT, "first", "key"]
COUNTS = st.integers(1, 1_000_000)


def states_of_handover(before: Meters, key: int, tick: int, packets: int) -> list[Meters]:
    """The slot after each store of the kernel, from the old holder's last state to the new holder's first packets."""
    states = [before.copy()]

    def store(name: str, value: int) -> None:
        states.append(states[-1].copy())
        states[-1][name] = value

    store("key", 0)
    for name in ("packets", "bytes", *SHORT):
        store(name, 0)
    store("first", tick)
    store("key", key)
    store("packets", packets)
    store("bytes", packets * 60)
    store("syn", packets)
    store("last", tick)
    return states


@given(COUNTS, st.integers(0, 5), st.integers(2, 50), st.integers(1, 1_000), st.data())
def test_a_handover_seen_in_the_middle(
    old: int, more: int, begun: int, later: int, data: st.DataObject
) -> None:
    """Fields are read one after the other, each a little later in the kernel's sequence of stores."""
    table, meter = Table(), RateMeter()
    table.count(0, OLD, old, syn=old)
    meter.update(table.snapshot())
    table.truth()
    table.wait()
    if more:
        table.count(0, OLD, more, syn=more)
    states = states_of_handover(table.slots[0], NEW, table.tick, begun)
    moments = sorted(data.draw(st.lists(st.integers(0, len(states) - 1), min_size=11, max_size=11)))
    seen = table.slots.copy()
    for name, moment in zip(FIELDS, moments, strict=False):
        seen[0][name] = states[moment][name]
    told: Counter[int] = Counter()

    def look(slots: Meters) -> None:
        for key, counts in as_dict(
            meter.update(MeterSnapshot(slots.copy(), table.mono_ns, table.tick, HZ))
        ).items():
            told[key] += counts["packets"]
            assert counts["syn"] <= counts["packets"] + IN_FLIGHT + begun

    look(seen)
    assert told[OLD] <= 2 * more + begun + 2 * IN_FLIGHT
    assert told[NEW] <= begun
    table.count(0, NEW, begun, syn=begun)
    table.wait()
    look(table.slots)
    table.count(0, NEW, later, syn=later)
    table.wait()
    look(table.slots)
    assert told[NEW] == begun + later


@given(COUNTS, st.integers(0, 20), COUNTS, st.sets(st.sampled_from(FIELDS)), st.booleans())
def test_any_mixture_of_old_and_new(old: int, more: int, new: int, fresh: set[str], same_key: bool) -> None:
    """Whatever mixture of the old holder's fields and the new one's is seen: no sender gets the other's count."""
    new_key = OLD if same_key else NEW
    table, meter = Table(), RateMeter()
    table.count(0, OLD, old, udp=old)
    meter.update(table.snapshot())
    table.truth()
    table.wait()
    table.count(0, OLD, more, udp=more)
    seen = table.slots.copy()
    table.begin(0, new_key)
    table.count(0, new_key, 2, syn=2)
    for name in fresh:
        seen[0][name] = table.slots[0][name]
    told: Counter[int] = Counter()
    for packets in (0, new, 5):
        if packets:
            table.count(0, new_key, packets, syn=packets)
            table.wait()
            seen = table.slots
        rates = meter.update(MeterSnapshot(seen.copy(), table.mono_ns, table.tick, HZ))
        assert rates.discarded == 0
        for key, counts_of in as_dict(rates).items():
            told[key] += counts_of["packets"]
            assert counts_of["udp"] <= more + 2 * IN_FLIGHT
    assert told[NEW] + told[OLD] <= more + 2 + new + 5 + 2 * IN_FLIGHT
    assert told[new_key] >= new + 5 - 2 * IN_FLIGHT


def test_old_counters_under_a_new_key_are_put_off() -> None:
    """The worst case by itself: the newcomer would be banned for a million packets of somebody else."""
    table, meter = Table(), RateMeter()
    table.count(0, OLD, 1_000_000, udp=1_000_000)
    meter.update(table.snapshot())
    table.wait()
    seen = table.slots.copy()
    seen[0]["key"] = NEW
    seen[0]["first"] = table.tick
    rates = meter.update(MeterSnapshot(seen, table.mono_ns, table.tick, HZ))
    assert (len(rates), rates.put_off) == (0, 1)
    table.count(0, NEW, 40, udp=40)
    table.truth()
    table.wait()
    table.count(0, NEW, 2, udp=2)
    rates = meter.update(table.snapshot())
    assert {key: counts["packets"] for key, counts in as_dict(rates).items()} == {NEW: 42}
    assert (rates.put_off, rates.discarded) == (0, 0)


def test_what_makes_no_sense_twice_is_given_up() -> None:
    """A slot older than the last look in other hands can not be: it is told of, and counts from then on."""
    table, meter = Table(), RateMeter()
    table.count(0, OLD, 50)
    meter.update(table.snapshot())
    table.wait(10 * HZ)
    meter.update(table.snapshot())
    table.begin(0, NEW)
    table.slots[0]["first"] = table.tick - 5 * HZ
    table.slots[0]["packets"], table.slots[0]["bytes"] = 7_000, 700_000
    table.wait()
    rates = meter.update(table.snapshot())
    assert (len(rates), rates.put_off, rates.discarded) == (0, 1, 0)
    table.wait()
    rates = meter.update(table.snapshot())
    assert (len(rates), rates.put_off, rates.discarded) == (0, 0, 1)
    table.truth()
    table.count(0, NEW, 3)
    table.wait()
    assert as_dict(meter.update(table.snapshot())) == table.truth()


def test_more_than_a_line_can_carry_is_not_believed() -> None:
    table, meter = Table(), RateMeter()
    table.count(0, OLD, 5)
    meter.update(table.snapshot())
    for slot, (packets, size) in enumerate([(10**9, 60), (10, 10**6), (10**6, 2)]):
        table.count(slot, v4(slot + 1), packets, size)
    table.wait()
    rates = meter.update(table.snapshot())
    assert (len(rates), rates.put_off) == (0, 3)


@given(st.lists(st.sampled_from(FIELDS[1:]), min_size=1), st.integers(0, 2**63))
def test_a_place_without_a_key_is_empty(names: list[str], value: int) -> None:
    """Whatever else stands in it."""
    table, meter = Table(), RateMeter()
    meter.update(table.snapshot())
    for name in names:
        table.slots[0][name] = np.uint64(value).astype(METER_DTYPE[name])
    table.wait()
    rates = meter.update(table.snapshot())
    assert (len(rates), rates.put_off, rates.discarded) == (0, 0, 0)
