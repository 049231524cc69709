# SPDX-License-Identifier: Apache-2.0
"""A meter table that tests write the way the kernel does, and what was truly sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from xdpwall.detection.rates import COUNTERS, Rates
from xdpwall.model import Prefix
from xdpwall.snapshot import METER_DTYPE, Meters, MeterSnapshot

HZ = 250
TICK_NS = 1_000_000_000 // HZ
SHORT = ("syn", "udp", "icmp", "fragments", "drops")


def v4(number: int) -> int:
    """The key of an IPv4 source, written out here a second time on purpose."""
    return int.from_bytes(b"\xff\xff\x00\x00" + number.to_bytes(4, "big"), "little")


def v6(number: int) -> int:
    """The key of an IPv6 source: the upper half of its address."""
    return int.from_bytes(number.to_bytes(8, "big"), "little")


def prefix(text: str) -> Prefix:
    """A prefix from text."""
    return Prefix.parse(text)


@dataclass
class Table:
    """Meter slots of some CPUs, a clock, and the truth: ``sent[key]`` counts packets and so on since the last look."""

    cpus: int = 2
    per_cpu: int = 8
    mono_ns: int = 5_000_000_000
    tick: int = 1_000_000
    sent: dict[int, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots: Meters = np.zeros(self.cpus * self.per_cpu, METER_DTYPE)

    def wait(self, ticks: int = HZ // 10) -> None:
        """Let time pass."""
        self.tick += ticks
        self.mono_ns += ticks * TICK_NS

    def begin(self, slot: int, key: int) -> None:
        """What the kernel does when a key takes a slot."""
        self.slots[slot] = np.zeros((), METER_DTYPE)
        self.slots[slot]["first"] = self.tick & 0xFFFFFFFF
        self.slots[slot]["key"] = key

    def count(self, slot: int, key: int, packets: int = 1, size: int = 60, **kinds: int) -> None:
        """Packets of a source. The kernel takes a slot at the second packet, and counts two then."""
        if self.slots[slot]["key"] != key:
            self.begin(slot, key)
        row = self.slots[slot]
        truth = self.sent.setdefault(key, Counter())
        added = {"packets": packets, "bytes": packets * size, **kinds}
        for name, amount in added.items():
            wide = 1 << (64 if name in ("packets", "bytes") else 32)
            row[name] = (int(row[name]) + amount) % wide
            truth[name] += amount
        row["last"] = self.tick & 0xFFFFFFFF

    def snapshot(self) -> MeterSnapshot:
        """A copy of the table, as the wall hands it over."""
        return MeterSnapshot(self.slots.copy(), self.mono_ns, self.tick, HZ)

    def truth(self) -> dict[int, dict[str, int]]:
        """What was sent since the last call, by key; keys that sent nothing are left out."""
        sent, self.sent = self.sent, {}
        return {
            key: {name: counts[name] for name in COUNTERS}
            for key, counts in sent.items()
            if counts["packets"]
        }


def as_dict(rates: Rates) -> dict[int, dict[str, int]]:
    """Rates in the form of :meth:`Table.truth`."""
    columns = [rates.counter(name).tolist() for name in COUNTERS]
    return {
        key: dict(zip(COUNTERS, counts, strict=True))
        for key, *counts in zip(rates.keys.tolist(), *columns, strict=True)
    }


def uint64(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """An array of keys."""
    return np.array(numbers, np.uint64)
