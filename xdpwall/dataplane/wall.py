# SPDX-License-Identifier: Apache-2.0
"""A loaded wall, opened from its pins. Implements :class:`xdpwall.dataplane.interface.Dataplane`."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from xdpwall.dataplane import attach, budgets, bypass, egress, layout, switch, verdict_counts
from xdpwall.dataplane.ban_map import KernelBans
from xdpwall.dataplane.cookies import CookieState
from xdpwall.dataplane.exact_bans import ExactBans
from xdpwall.dataplane.gate import Gate, GateList
from xdpwall.dataplane.interface import Count, Flow, InterfaceState, LaneCount, OffState, WallInfo, WatchEvent
from xdpwall.dataplane.lane_map import LaneMap
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.meta import Meta, read_meta
from xdpwall.dataplane.peers import Peers
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.proofs import Proofs
from xdpwall.dataplane.rules import RuleTable
from xdpwall.dataplane.samples import SampleRing
from xdpwall.dataplane.table import InterfaceTable
from xdpwall.dataplane.ticks import TickClock
from xdpwall.dataplane.tries import AllowTrie, OwnAddresses, PrefixBans, PrefixTrie
from xdpwall.dataplane.wall_vitals import Parts, WallVitals
from xdpwall.dataplane.watch import WatchRings
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.paths import Paths
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

if TYPE_CHECKING:
    from xdpwall.config_lanes import LanesConfig, ProofConfig
    from xdpwall.dataplane.interface import Bools, Keys
    from xdpwall.snapshot import MeterSnapshot


_RESTING = frozenset(
    {"ban4", "ban4_gate", "ban6", "ban6_gate", "ban6_keys", "prefix_meters", "source_meters"}
)
"""Large tables that are not read all the time, and by one thread alone."""


class Wall:
    """Handles on everything pinned. Use as a context manager, or call :meth:`close`."""

    def __init__(self, paths: Paths, pins: Pins | None = None) -> None:
        self._paths = paths
        self._pins = pins or Pins(paths)
        self._arrays: dict[str, MappedArray] = {}
        self._fds: dict[str, int] = {}
        self._ring: SampleRing | None = None
        self._watch: WatchRings | None = None
        self._vitals: WallVitals | None = None
        self._meta = read_meta(self._pins)
        try:
            self._clock = TickClock(self._pins.open_clock(), self._meta.hz)
            self.interface_table = InterfaceTable(self._array("interfaces"))
            gate = self._array("gate")
            overflow = self._fd("ban_overflow")
            self._prefixes = PrefixBans(
                self._trie("ban_prefix", layout.BAN_VALUE.size), Gate(gate, GateList.BAN)
            )
            self._bans = KernelBans(
                self._exact_bans(4),
                self._exact_bans(6),
                self._prefixes,
                overflow,
                self._clock,
            )
            self._allow = AllowTrie(self._trie("allow", 4), Gate(gate, GateList.ALLOW))
            self._lanes = LaneMap(
                self._array("lane_cpus"),
                self._array("budgets"),
                self._array("ports"),
                self._meta.hz,
                self._meta.cpus,
            )
            self._peers = Peers(self._array("peers"), self._meta.seed, self._meta.hz)
            self._own = OwnAddresses(self._fd("own"), Gate(gate, GateList.OWN))
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, paths: Paths) -> Wall:
        """Open the wall of an instance.

        Raises:
            NotLoadedError: none is loaded.
            LayoutError: another version loaded it.
            KernelError: a pin cannot be opened (EPERM, EACCES: not root).
        """
        return cls(paths)

    def __enter__(self) -> Wall:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def info(self) -> WallInfo:
        """See :class:`Dataplane`."""
        meta = read_meta(self._pins)
        return WallInfo(
            instance=self._paths.instance,
            policy="observe" if meta.observe else "enforce",
            observed=tuple(reason for reason in Reason if meta.observed >> reason & 1),
            observed_since_ms=meta.observed_since_ms,
            layout=layout.LAYOUT,
            tick_hz=meta.hz,
            cpus=meta.cpus,
            ban_capacity=(1 << meta.ban_bits) * 2,
            ban_prefix_capacity=layout.check_map(
                layout.BY_NAME["ban_prefix4"], self._fd("ban_prefix4")
            ).max_entries,
            source_capacity=meta.cpus << meta.source_bits << 3,
            prefix_capacity=meta.cpus << meta.prefix_bits << 3,
            loaded_ms=meta.loaded_ms,
            config_digest=f"{meta.config_digest:016x}",
        )

    @property
    def bans(self) -> KernelBans:
        """See :class:`Dataplane`."""
        return self._bans

    @property
    def allow(self) -> AllowTrie:
        """See :class:`Dataplane`."""
        return self._allow

    def write_meta(self, meta: Meta) -> None:
        """Write down what a load did; for the loader alone."""
        self._array("meta").memory[: layout.META.size] = meta.pack()

    def set_own_addresses(self, addresses: Iterable[Prefix]) -> bool:
        """See :class:`Dataplane`."""
        return self._own.replace(addresses)

    def interfaces(self) -> list[InterfaceState]:
        """See :class:`Dataplane`."""
        return [
            attach.state(self._pins, entry.name, entry.mode)
            for entry in self.interface_table.entries()
            if entry.wanted
        ]

    def reattach(self, name: str) -> bool:
        """See :class:`Dataplane`."""
        entry = self.interface_table.find(name)
        if entry is None or not entry.wanted or attach.state(self._pins, name, entry.mode).attached:
            return False
        # Where the link still stood, and only its program was another, the mode is what it was.
        mode = attach.reattach(self._pins, name, entry.mode) or entry.mode
        egress.reattach(self._pins, name)
        self.interface_table.set(entry.slot, name, wanted=True, mode=mode)
        return True

    def renew(self, name: str) -> str | None:
        """See :class:`Dataplane`."""
        entry = self.interface_table.find(name)
        if entry is None or not entry.wanted:
            return None
        mode = attach.renew(self._pins, name, entry.mode)
        self.interface_table.set(entry.slot, name, wanted=True, mode=mode)
        return mode

    def listen(self, name: str) -> bool:
        """See :class:`Dataplane`."""
        return egress.reattach(self._pins, name)

    def off(self) -> OffState | None:
        """See :class:`Dataplane`."""
        return bypass.read(self._pins)

    def turn_on(self) -> bool:
        """See :class:`Dataplane`."""
        return switch.turn_on(self._pins)

    def verdicts(self) -> Mapping[str, Mapping[Reason, Count]]:
        """See :class:`Dataplane`."""
        would = self.observed()  # first: it is a part of the others
        counted = verdict_counts.read(self._array("verdicts"), self.interface_table.entries())
        return verdict_counts.merged(counted, would)

    def observed(self) -> verdict_counts.Totals:
        """See :class:`Dataplane`."""
        return verdict_counts.read(self._array("would_drop"), self.interface_table.entries())

    def begin_observing(self, mask: int) -> None:
        """Count what these reasons would drop from 0 on; for the loader alone."""
        verdict_counts.begin_anew(self._array("would_drop"), mask)

    def sources(self) -> MeterSnapshot:
        """See :class:`Dataplane`."""
        return self._snapshot("source_meters")

    def prefixes(self) -> MeterSnapshot:
        """See :class:`Dataplane`."""
        return self._snapshot("prefix_meters")

    @property
    def rules(self) -> RuleTable:
        """See :class:`Dataplane`."""
        return RuleTable(
            self._array("rules"), self._array("rule_counts"), self._array("budgets"), self._clock
        )

    def samples(self) -> list[Sample]:
        """See :class:`Dataplane`."""
        if self._ring is None:
            self._ring = SampleRing(self._pins)
        return self._ring.drain()

    def lanes(self) -> Mapping[Lane, LaneCount]:
        """See :class:`Dataplane`."""
        return self._lanes.counts()

    @property
    def vitals(self) -> WallVitals:
        """See :class:`Dataplane`."""
        if self._vitals is None:
            parts = Parts(
                self._paths, self._pins, self._meta, self.interface_table, self._bans, self._prefixes, self._allow,
                self._own, self._lanes, self._array, self._fd, lambda: self.rules, lambda: (self._ring, self._watch),
                lambda: self._clock.fd,
            )  # fmt: skip
            self._vitals = WallVitals(parts)
        return self._vitals

    @property
    def cookies(self) -> bool:
        """See :class:`Dataplane`."""
        return self.cookie_state.is_on

    @property
    def cookies_possible(self) -> bool:
        """See :class:`Dataplane`."""
        return self.cookie_state.is_possible

    def set_cookies(self, on: bool) -> bool:
        """See :class:`Dataplane`."""
        state = self.cookie_state
        if on and state.is_possible:
            self._lanes.shut_gate(Lane.TCP, True)
            state.turn_on(self._clock.now())
        else:
            state.turn_off()
            self._lanes.shut_gate(Lane.TCP, False)
        return state.is_on

    @property
    def cookie_state(self) -> CookieState:
        """What the program is told of SYN cookies."""
        return CookieState(self._array("cookie_state"), self._meta.hz)

    def set_budgets(self, lanes: LanesConfig, proof: ProofConfig) -> None:
        """See :class:`Dataplane`."""
        self._array("proof_ages").memory[: budgets.AGES.size] = budgets.pack_ages(proof, self._meta.hz)
        self._lanes.set_budgets(lanes)

    def set_ports(self, tcp: Collection[int], udp: Collection[int], admin: Collection[int] = ()) -> None:
        """See :class:`Dataplane`."""
        self._lanes.set_ports(tcp, udp, admin)

    def note_flows(self, flows: Iterable[Flow]) -> int:
        """See :class:`Dataplane`."""
        told, now = list(flows), self._clock.now()
        self._peers.note(told, now)
        return self._proofs().note(told, now)

    def proven(self, keys: Keys) -> Bools:
        """See :class:`Dataplane`."""
        return self._proofs().is_proven(keys, self._clock.now())

    def known(self, flows: Sequence[Flow]) -> list[bool]:
        """See :class:`Dataplane`."""
        return self._proofs().is_known(list(flows), self._clock.now())

    def vouch(self, keys: Iterable[int]) -> None:
        """See :class:`Dataplane`."""
        self._proofs().vouch(keys, self._clock.now())

    def bar(self, keys: Iterable[int]) -> None:
        """See :class:`Dataplane`."""
        self._proofs().bar(keys, self._clock.now())

    def watch_events(self) -> list[WatchEvent]:
        """See :class:`Dataplane`."""
        if self._watch is None:
            self._watch = WatchRings(
                self._array("watch_events"), self._array("watch_states"), self._meta.cpus
            )
        return self._watch.drain()

    def program_fd(self, interface: str) -> int:
        """Open the pinned program of an interface, for a test run. The caller closes it."""
        return attach.open_program(self._pins, interface)

    def close(self) -> None:
        """See :class:`Dataplane`."""
        clock = getattr(self, "_clock", None)
        if clock is not None:
            clock.close()
            del self._clock
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        for array in self._arrays.values():
            array.close()
        for fd in self._fds.values():
            os.close(fd)
        self._arrays.clear()
        self._fds.clear()

    def _snapshot(self, name: str) -> MeterSnapshot:
        import numpy as np

        from xdpwall.snapshot import METER_DTYPE, MeterSnapshot

        array = self._array(name)
        slots = np.frombuffer(array.memory, dtype=METER_DTYPE, count=array.entries)
        slots.flags.writeable = False
        return MeterSnapshot(slots, time.monotonic_ns(), self._clock.now(), self._meta.hz)

    def _proofs(self) -> Proofs:
        return Proofs.of(self._array, self._meta.seed)

    def rest(self) -> None:
        """See :class:`Dataplane`."""
        for array in self._arrays.values():
            array.rest()

    def _array(self, name: str) -> MappedArray:
        if name not in self._arrays:
            self._arrays[name] = MappedArray(self._pins, name, resting=name in _RESTING)
        return self._arrays[name]

    def _fd(self, name: str) -> int:
        if name not in self._fds:
            fd = self._pins.open_map(name)
            self._fds[name] = fd
            layout.check_map(layout.BY_NAME[name], fd)
        return self._fds[name]

    def _exact_bans(self, version: int) -> ExactBans:
        stem = f"ban{version}"
        return ExactBans(
            self._array(stem),
            self._array(f"{stem}_gate"),
            self._array(f"{stem}_full"),
            self._array(f"{stem}_keys") if version == 6 else None,
            self._fd("ban_overflow"),
            self._meta.seed,
        )

    def _trie(self, stem: str, value_size: int) -> PrefixTrie:
        return PrefixTrie(self._fd(f"{stem}4"), self._fd(f"{stem}6"), value_size)
