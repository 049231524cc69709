# SPDX-License-Identifier: Apache-2.0
"""A wall in memory, for tests of the controller: the same face, errors and limits as the real one.

It drops no packet. Tests move its clock, feed its meters and verdicts, and make it fail; the suite of tests that runs
against the real wall runs against this one too, so that the two cannot drift apart.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xdpwall.clock import ManualClock
from xdpwall.dataplane.fake_lanes import FakeLanes
from xdpwall.dataplane.fake_rules import FakeRules
from xdpwall.dataplane.fake_vitals import FakeVitals
from xdpwall.dataplane.interface import (
    BanDrops,
    Count,
    InterfaceState,
    KernelBan,
    OffState,
    WallInfo,
    WatchEvent,
)
from xdpwall.dataplane.keys import meter_key, source_key
from xdpwall.errors import ForeignProgramError, KernelError
from xdpwall.model import Prefix
from xdpwall.observe import PART_OF
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.snapshot import MeterSnapshot

TICK_HZ = 250


def default_info(**changes: Any) -> WallInfo:
    """What a load with the default config writes down."""
    info = WallInfo(
        instance="fake",
        policy="enforce",
        layout=1,
        tick_hz=TICK_HZ,
        cpus=2,
        ban_capacity=131_072,
        ban_prefix_capacity=16_384,
        source_capacity=1_024,
        prefix_capacity=256,
        loaded_ms=1_700_000_000_000,
        config_digest="0" * 16,
    )
    return replace(info, **changes)


@dataclass(slots=True)
class _Held:
    until_ns: int | None
    packets: int = 0
    bytes: int = 0


class FakeBans:
    """The ban map. ``fail_errno`` makes every write raise that error."""

    def __init__(self, clock: ManualClock, info: WallInfo) -> None:
        self._clock = clock
        self._info = info
        self._held: dict[Prefix, _Held] = {}
        self._taken = {True: 0, False: 0}
        self.fail_errno = 0
        self.writes = 0

    def _write(self, what: str) -> None:
        if self.fail_errno:
            raise KernelError(f"{what} in the fake wall", self.fail_errno)
        self.writes += 1

    def put(self, prefix: Prefix, remaining_ms: int | None) -> None:
        """See :meth:`BanMap.put`."""
        self._write("ban")
        until = None if remaining_ms is None else self._clock.mono_ns() + remaining_ms * 1_000_000
        held = self._held.get(prefix)
        if held is not None:
            held.until_ns = until
            return
        capacity = self._info.ban_capacity if prefix.is_source else self._info.ban_prefix_capacity
        if self._taken[prefix.is_source] >= capacity:
            raise KernelError(f"ban {prefix}", errno.ENOSPC)
        self._taken[prefix.is_source] += 1
        self._held[prefix] = _Held(until)

    def put_many(self, bans: Iterable[tuple[Prefix, int | None]]) -> int:
        """See :meth:`BanMap.put_many`."""
        count = 0
        for prefix, remaining_ms in bans:
            self.put(prefix, remaining_ms)
            count += 1
        return count

    def remove(self, prefix: Prefix) -> bool:
        """See :meth:`BanMap.remove`."""
        self._write("lift a ban")
        return self._drop(prefix)

    def _drop(self, prefix: Prefix) -> bool:
        stood = self._held.pop(prefix, None) is not None
        self._taken[prefix.is_source] -= stood
        return stood

    def remove_many(self, prefixes: Iterable[Prefix]) -> int:
        """See :meth:`BanMap.remove_many`."""
        return sum(self.remove(prefix) for prefix in prefixes)

    def _view(self, prefix: Prefix, held: _Held, now: int) -> KernelBan:
        remaining = None if held.until_ns is None else max(0, (held.until_ns - now) // 1_000_000)
        return KernelBan(prefix, remaining, held.packets, held.bytes)

    def get(self, prefix: Prefix) -> KernelBan | None:
        """See :meth:`BanMap.get`."""
        held = self._held.get(prefix)
        return None if held is None else self._view(prefix, held, self._clock.mono_ns())

    def entries(self, *, wide_only: bool = False) -> Iterator[KernelBan]:
        """See :meth:`BanMap.entries`."""
        now = self._clock.mono_ns()
        for prefix, held in list(self._held.items()):
            if wide_only and prefix.is_source:
                continue
            yield self._view(prefix, held, now)

    def clear(self) -> int:
        """See :meth:`BanMap.clear`."""
        self._write("lift all bans")
        count = len(self._held)
        self._held.clear()
        self._taken = {True: 0, False: 0}
        return count

    def sweep(self) -> int:
        """See :meth:`BanMap.sweep`."""
        now = self._clock.mono_ns()
        over = [p for p, held in self._held.items() if held.until_ns is not None and held.until_ns <= now]
        return sum(self._drop(prefix) for prefix in over)

    def drops(self) -> BanDrops:
        """See :meth:`BanMap.drops`."""
        import numpy as np

        held = [
            (source_key(p), h.packets & 0xFFFFFFFF, h.bytes) for p, h in self._held.items() if p.is_source
        ]
        keys, packets, sizes = np.array(held, dtype=np.uint64).reshape(-1, 3).T
        return BanDrops(keys, packets, sizes)

    def __len__(self) -> int:
        return len(self._held)

    def count_drop(self, prefix: Prefix, packets: int, size: int) -> None:
        """For tests: packets that this ban dropped."""
        self._held[prefix].packets += packets
        self._held[prefix].bytes += size

    def dropping(self, prefix: Prefix) -> bool:
        """For tests: whether the kernel would drop this source now."""
        return any(ban.prefix.contains(prefix) and ban.remaining_ms != 0 for ban in self.entries())


class FakeAllow:
    """The allowlist."""

    def __init__(self) -> None:
        self._held: set[Prefix] = set()

    def put(self, prefix: Prefix) -> None:
        """See :meth:`AllowMap.put`."""
        self._held.add(prefix)

    def remove(self, prefix: Prefix) -> bool:
        """See :meth:`AllowMap.remove`."""
        stood = prefix in self._held
        self._held.discard(prefix)
        return stood

    def entries(self) -> Iterator[Prefix]:
        """See :meth:`AllowMap.entries`."""
        return iter(list(self._held))


@dataclass(slots=True)
class _Meter:
    packets: int = 0
    bytes: int = 0
    syn: int = 0
    udp: int = 0
    icmp: int = 0
    fragments: int = 0
    drops: int = 0
    first: int = 0
    last: int = 0


@dataclass
class FakeWall(FakeLanes):
    """A wall in memory. ``snapshots`` counts how often meters were copied; ``own`` is what was set as own addresses."""

    clock: ManualClock
    info: WallInfo = field(default_factory=default_info)

    def __post_init__(self) -> None:
        super().__init__()
        self.rules = FakeRules(self.clock)
        self.vitals = FakeVitals(self)
        self.sampled: list[Sample] = []
        self.watched: list[WatchEvent] = []
        self.bans = FakeBans(self.clock, self.info)
        self.allow = FakeAllow()
        self.own: frozenset[Prefix] = frozenset()
        self.states: dict[str, InterfaceState] = {"eth9": InterfaceState("eth9", 9, "native", 40, 40)}
        self.foreign: set[str] = set()
        self.listening: list[str] = []
        self.snapshots = 0
        self.closed = False
        self.turned_off: OffState | None = None
        self._counts: dict[str, dict[Reason, Count]] = {"eth9": {}}
        self._sources: dict[int, _Meter] = {}
        self._prefixes: dict[int, _Meter] = {}

    def set_own_addresses(self, addresses: Iterable[Prefix]) -> bool:
        """See :meth:`Dataplane.set_own_addresses`."""
        before, self.own = self.own, frozenset(addresses)
        return before != self.own

    def samples(self) -> list[Sample]:
        """See :meth:`Dataplane.samples`. Tests put packets into ``sampled``."""
        taken, self.sampled = self.sampled, []
        return taken

    def interfaces(self) -> list[InterfaceState]:
        """See :meth:`Dataplane.interfaces`."""
        return list(self.states.values())

    def reattach(self, name: str) -> bool:
        """See :meth:`Dataplane.reattach`."""
        if name in self.foreign:
            raise ForeignProgramError(f"{name}: another XDP program has taken the place")
        state = self.states[name]
        if state.attached or not state.ifindex:
            return False
        self.states[name] = replace(state, mode="native", program_id=state.expected_id)
        return True

    def off(self) -> OffState | None:
        """See :meth:`Dataplane.off`. Tests set ``turned_off``."""
        return self.turned_off

    def turn_on(self) -> bool:
        """See :meth:`Dataplane.turn_on`."""
        before, self.turned_off = self.turned_off, None
        return before is not None

    def renew(self, name: str) -> str | None:
        """See :meth:`Dataplane.renew`."""
        self.states[name] = replace(self.states[name], mode="native")
        return "native"

    def listen(self, name: str) -> bool:
        """See :meth:`Dataplane.listen`."""
        self.listening.append(name)
        return True

    def verdicts(self) -> Mapping[str, Mapping[Reason, Count]]:
        """See :meth:`Dataplane.verdicts`."""
        return {name: dict(counts) for name, counts in self._counts.items()}

    def observed(self) -> Mapping[str, Mapping[Reason, Count]]:
        """See :meth:`Dataplane.observed`: all of what was counted with a reason that observes now."""
        observing = set(self.info.observed) if self.info.policy == "enforce" else set(PART_OF)
        return {
            name: {reason: count for reason, count in counts.items() if reason in observing}
            for name, counts in self._counts.items()
        }

    def sources(self) -> MeterSnapshot:
        """See :meth:`Dataplane.sources`."""
        return self._snapshot(self._sources, self.info.source_capacity)

    def prefixes(self) -> MeterSnapshot:
        """See :meth:`Dataplane.prefixes`."""
        return self._snapshot(self._prefixes, self.info.prefix_capacity)

    def watch_events(self) -> list[WatchEvent]:
        """See :meth:`Dataplane.watch_events`. Tests put events into ``watched``."""
        taken, self.watched = self.watched, []
        return taken

    def rest(self) -> None:
        """See :class:`Dataplane`: nothing is mapped."""

    def close(self) -> None:
        """See :meth:`Dataplane.close`."""
        self.closed = True

    def vanish(self, name: str = "eth9") -> None:
        """For tests: the interface goes away."""
        state = self.states[name]
        self.states[name] = replace(state, ifindex=0, mode=None, program_id=0)

    def come_back(self, ifindex: int, name: str = "eth9") -> None:
        """For tests: an interface of that name appears, with no program on it."""
        self.states[name] = replace(self.states[name], ifindex=ifindex, mode=None, program_id=0)

    def count(self, reason: Reason, packets: int, size: int = 0, name: str = "eth9") -> None:
        """For tests: packets that met this verdict."""
        before = self._counts[name].get(reason, Count())
        self._counts[name][reason] = Count(before.packets + packets, before.bytes + size)

    def feed(self, source: str, packets: int, *, size: int = 60, kind: str = "") -> None:
        """For tests: a source sends packets of ``size`` bytes; ``kind`` is ``syn``, ``udp``, ``icmp`` or nothing.

        Meters and the ``pass`` verdict count them, or the ban drops them, as in the kernel.
        """
        prefix = Prefix.parse_source(source)
        if self.bans.dropping(prefix):
            self.count(Reason.BANNED_SOURCE, packets, packets * size)
            return
        self.count(Reason.PASS, packets, packets * size)
        wide = Prefix.covering(prefix.packed, 24 if prefix.version == 4 else 48)
        tick = self._tick() & 0xFFFFFFFF
        for meters, key in ((self._sources, source_key(prefix)), (self._prefixes, meter_key(wide))):
            meter = meters.setdefault(key, _Meter(first=tick))
            meter.packets += packets
            meter.bytes += packets * size
            meter.last = tick
            if kind:
                setattr(meter, kind, (getattr(meter, kind) + packets) & 0xFFFFFFFF)  # 32 bits, as in C

    def forget_meters(self) -> None:
        """For tests: every slot is empty, as after a load that could not keep them."""
        self._sources.clear()
        self._prefixes.clear()

    def _tick(self) -> int:
        return self.clock.mono_ns() * TICK_HZ // 1_000_000_000

    def _snapshot(self, meters: Mapping[int, _Meter], slots: int) -> MeterSnapshot:
        import numpy as np

        from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

        self.snapshots += 1
        table = np.zeros(slots, METER_DTYPE)
        for slot, (key, meter) in zip(table, meters.items(), strict=False):
            slot["key"] = key
            for name in _Meter.__slots__:
                slot[name] = getattr(meter, name)
        return MeterSnapshot(table, self.clock.mono_ns(), self._tick(), TICK_HZ)
