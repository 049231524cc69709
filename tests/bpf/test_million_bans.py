# SPDX-License-Identifier: Apache-2.0
"""A million bans at once: they fit, each one stops its source, they can be listed, lifted and cleared."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.bpf.packets import frame_from
from tests.bpf.scene import NO_BUDGETS, Probe, config, loaded
from xdpwall.dataplane import layout
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

COUNT, SAMPLE, LIFTED = 1_000_000, 10_000, 20_000
HOUR = 3_600_000
TABLES = ("ban4", "ban4_gate", "ban4_full", "ban6", "ban6_gate", "ban6_full", "ban6_keys")
BYTES = 85_065_728
"""What the tables for 2**20 bans take: for each family 2**19 sets of 64 bytes with a byte of gate and a bit, and for
IPv6 the whole keys, 8 bytes a place. (The overflow map takes more only as it fills.)"""


def source(version: int, number: int) -> Prefix:
    """Number ``n`` of a million sources that lie strewn over all networks."""
    if version == 4:
        return Prefix((0x20000000 | number * 0x9E3779B1 & 0x1FFFFFFF).to_bytes(4, "big"), 32)
    key = 0x2A00 << 48 | number * 0x9E3779B97F4A7C15 & 0x7FFFFFFFFFFF
    return Prefix(key.to_bytes(8, "big") + bytes(8), 64)


@pytest.fixture(scope="module")
def roomy() -> Iterator[Probe]:
    with loaded(config(bans={"capacity": COUNT}, lanes=NO_BUDGETS)) as probe:
        yield probe


def shown(probe: Probe, some: list[Prefix]) -> dict[Reason, int]:
    """Show a packet of each to the program; gives what its verdict counters say of them."""
    before = {reason: count.packets for reason, count in probe.wall.verdicts()["wt0"].items()}
    for prefix in some:
        probe.push(frame_from(prefix.address))
    after = {reason: count.packets for reason, count in probe.wall.verdicts()["wt0"].items()}
    return {
        reason: count - before.get(reason, 0)
        for reason, count in after.items()
        if count != before.get(reason, 0)
    }


def test_the_tables_take_what_is_said(roomy: Probe) -> None:
    assert roomy.wall.info.ban_capacity == 1 << 20
    shapes = {shape.name: shape for shape in layout.MAPS}
    size = 0
    for name in TABLES:
        fd = roomy.wall._pins.open_map(name)
        size += layout.check_map(shapes[name], fd).max_entries * shapes[name].value_size
    assert size == BYTES


@pytest.mark.parametrize("version", [4, 6])
def test_a_million(roomy: Probe, version: int) -> None:
    bans, choice = roomy.wall.bans, random.Random(version)
    everyone = [source(version, number) for number in range(COUNT)]
    assert bans.put_many((prefix, HOUR) for prefix in everyone) == COUNT
    assert bans.exact_count() == COUNT

    some = choice.sample(everyone, SAMPLE)
    assert shown(roomy, some) == {Reason.BANNED_SOURCE: SAMPLE}
    others = [source(version, COUNT + number) for number in range(SAMPLE // 10)]
    assert shown(roomy, others) == {Reason.PASS: len(others)}
    drops = bans.drops()
    overflow = COUNT - len(drops.keys)
    assert overflow < COUNT // 20, "the overflow map is for few"
    counted = sum(count.packets for prefix in some if (count := bans.get(prefix)) is not None)
    assert counted == SAMPLE

    listed = {entry.prefix.packed for entry in bans.entries()}
    assert listed == {prefix.packed for prefix in everyone}

    gone = choice.sample(everyone, LIFTED)
    assert bans.remove_many(gone) == LIFTED
    assert bans.exact_count() == COUNT - LIFTED
    assert shown(roomy, gone[:1_000]) == {Reason.PASS: 1_000}
    left = set(everyone) - set(gone)
    assert shown(roomy, [prefix for prefix in some if prefix in left]) == {
        Reason.BANNED_SOURCE: len(left.intersection(some))
    }
    assert bans.clear() == COUNT - LIFTED
    assert len(bans) == 0
    assert shown(roomy, some[:1_000]) == {Reason.PASS: 1_000}
