# SPDX-License-Identifier: Apache-2.0
"""The vitals of a real wall, over its pins and maps."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpwall.dataplane import budgets, layout, loaded, standing, sys_bpf, ticks
from xdpwall.dataplane.audit import ExactAudit, Soundness
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.layout import INTERFACES, PROOF_WAYS, REASON_SLOTS
from xdpwall.dataplane.rules import PLACES
from xdpwall.dataplane.vitals import Counted, Fill, Moment, Rings
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

if TYPE_CHECKING:
    from xdpwall.dataplane.ban_map import KernelBans
    from xdpwall.dataplane.lane_map import LaneMap
    from xdpwall.dataplane.mapped import MappedArray
    from xdpwall.dataplane.meta import Meta
    from xdpwall.dataplane.pins import Pins
    from xdpwall.dataplane.rules import RuleTable
    from xdpwall.dataplane.samples import SampleRing
    from xdpwall.dataplane.standing import Standing
    from xdpwall.dataplane.table import InterfaceTable
    from xdpwall.dataplane.tries import AllowTrie, OwnAddresses, PrefixBans
    from xdpwall.dataplane.watch import WatchRings
    from xdpwall.paths import Paths

_ALLOW_SIZES = (8, 20)
_FIXED = (0, 1, 4, 5, 6, 7, 8, 9, 11)
"""Members of ``struct wall_meta`` that stay as they are for the life of a wall: magic, seed, layout, rate, sizes."""
_STAMP_MASK = (1 << 26) - 1
_KIND, _STAMP_SHIFT = 29, 6


@dataclass(frozen=True, slots=True)
class Parts:
    """What :class:`WallVitals` looks into; all of it belongs to the wall. ``array`` and ``fd`` open maps by name."""

    paths: Paths
    pins: Pins
    meta: Meta
    table: InterfaceTable
    bans: KernelBans
    prefixes: PrefixBans
    allow: AllowTrie
    own: OwnAddresses
    lanes: LaneMap
    array: Callable[[str], MappedArray]
    fd: Callable[[str], int]
    rules: Callable[[], RuleTable]
    rings: Callable[[], tuple[SampleRing | None, WatchRings | None]]
    clock_fd: Callable[[], int]


class WallVitals:
    """Implements :class:`xdpwall.dataplane.vitals.Vitals`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._audits = tuple(self._audit(version) for version in (4, 6))
        self._gate_sum = 0
        self._ages_sum: int | None = None
        self._notes: Mapping[str, standing.Loaded] = {}
        self._noted_ms = 0

    def _audit(self, version: int) -> ExactAudit:
        array, stem = self._parts.array, f"ban{version}"
        keys = array(f"{stem}_keys") if version == 6 else None
        return ExactAudit(
            array(stem), array(f"{stem}_gate"), array(f"{stem}_full"), keys, self._parts.meta.seed
        )

    @property
    def _listens(self) -> bool:
        return self._parts.pins.egress.exists()

    def standings(self) -> list[Standing]:
        """See :class:`Vitals`."""
        parts, notes = self._parts, self._loaded()
        return standing.standings(parts.pins, parts.table.entries(), notes, listens=self._listens)

    def _loaded(self) -> Mapping[str, standing.Loaded]:
        """What the last load put where. Nothing while one is at work: it writes that down at its end."""
        parts = self._parts
        if self.loading():
            return {}
        loaded_ms = layout.META.unpack_from(parts.array("meta").memory)[2]
        if not self._notes or loaded_ms != self._noted_ms:
            self._notes, self._noted_ms = loaded.programs(parts.paths, loaded_ms), loaded_ms
        return self._notes

    def loading(self) -> bool:
        """See :class:`Vitals`."""
        return self._parts.pins.unfinished.exists()

    def stages(self) -> Mapping[str, int]:
        """See :class:`Vitals`."""
        found = {}
        for name in ("stages", "stages_jumbo"):
            held = standing.stage_ids(self._parts.fd(name))
            if any(held.values()):
                found.update({f"{stage} ({name})": ident for stage, ident in held.items()})
        return found

    def unlisted(self) -> list[str]:
        """See :class:`Vitals`."""
        known = {entry.name for entry in self._parts.table.entries() if entry.wanted}
        return [name for name in self._parts.pins.interfaces() if name not in known]

    def ban_digest(self) -> int:
        """See :class:`Vitals`."""
        found = 0
        for audit in self._audits:
            found = found << 32 | audit.digest()
        return found << 32 | zlib.crc32(b"".join(sys_bpf.map_keys(self._parts.fd("ban_overflow"), 8)))

    def mend_bans(self) -> Soundness:
        """See :class:`Vitals`. The gate of the lists is looked at when it changed since the last time."""
        raw = sys_bpf.map_keys(self._parts.fd("ban_overflow"), 8)
        overflow = [int.from_bytes(key, "little") for key in raw]
        found = Soundness()
        for audit in self._audits:
            found += audit.mend(overflow)
        gate = self._parts.array("gate")
        if zlib.crc32(gate.words) != self._gate_sum:
            lists = (self._parts.prefixes, self._parts.allow, self._parts.own)
            found += Soundness(0, sum(each.mend_gate() for each in lists))
            self._gate_sum = zlib.crc32(gate.words)
        return found

    def trie_repairs(self) -> int:
        """See :class:`Vitals`."""
        return self._parts.prefixes.mended

    def tampered(self) -> list[str]:
        """See :class:`Vitals`."""
        return self._parts.lanes.tampered()

    def mend_rules(self) -> int:
        """See :class:`Vitals`."""
        return self._parts.rules().mend()

    def mend_meta(self) -> bool:
        """See :class:`Vitals`. A load writes other values: then whoever holds this wall opens it anew."""
        memory, meta = self._parts.array("meta").memory, self._parts.meta
        held, wanted = list(layout.META.unpack_from(memory)), layout.META.unpack(meta.pack())
        if (held[2], held[3]) != (meta.loaded_ms, meta.config_digest):
            return False
        differ = [at for at in _FIXED if held[at] != wanted[at]]
        for at in differ:
            held[at] = wanted[at]
        if differ:
            layout.META.pack_into(memory, 0, *held)
        return bool(differ)

    def counted(self) -> Counted:
        """See :class:`Vitals`."""
        import numpy as np

        shape = (self._parts.meta.cpus, INTERFACES, REASON_SLOTS, 2)
        packets = np.zeros(shape[:3], dtype=np.uint64)
        for name in ("verdicts", "would_drop"):
            words = np.frombuffer(self._parts.array(name).memory, dtype=np.uint64)
            packets += words[: int(np.prod(shape))].reshape(shape)[..., 0]
        names = {entry.slot: entry.name for entry in self._parts.table.entries()}
        by_slot = packets.sum(axis=(0, 2))
        known = np.zeros((INTERFACES, REASON_SLOTS), dtype=bool)
        known[np.ix_(list(names), [int(reason) for reason in Reason])] = True
        counts: Iterable[Count] = (lane.seen for lane in self._parts.lanes.counts().values())
        return Counted(
            by_interface={name: int(by_slot[slot]) for slot, name in names.items()},
            by_cpu=tuple(int(number) for number in packets.sum(axis=(1, 2))),
            stray=int(packets.sum(axis=0)[~known].sum()),
            lanes=sum(count.packets for count in counts),
        )

    def moment(self) -> Moment:
        """See :class:`Vitals`."""
        tick, kernel_ns = ticks.read_clock(self._parts.clock_fd())
        return Moment(tick, kernel_ns, time.monotonic_ns())

    def fill(self) -> list[Fill]:
        """See :class:`Vitals`."""
        parts = self._parts
        exact = (1 << parts.meta.ban_bits) * 2
        found = [
            Fill("bans", sum(audit.count() for audit in self._audits), exact, "bans.capacity"),
            Fill("prefix_bans", parts.prefixes.count(), self._room("ban_prefix4"), "bans.prefix_capacity"),
        ]
        for name, table, size in (("ban_overflow", "ban_overflow", 8), ("own_addresses", "own", 16)):
            taken = sum(1 for _ in sys_bpf.map_keys(parts.fd(table), size))
            found.append(Fill(name, taken, self._room(table), "bans.capacity" if table != "own" else ""))
        allowed = max(
            sum(1 for _ in sys_bpf.map_keys(parts.fd(f"allow{version}"), size))
            for version, size in zip((4, 6), _ALLOW_SIZES, strict=True)
        )
        found.append(Fill("allowlist", allowed, self._room("allow4")))
        by_lane = dict.fromkeys(Lane, 0)
        for held in parts.rules().entries():
            by_lane[held.rule.pattern.lane] += 1
        found.append(Fill("rules", max(by_lane.values()), PLACES))
        found.append(Fill("proofs", self._fresh_proofs(), *self._proof_room()))
        return found

    def rings(self) -> Rings:
        """See :class:`Vitals`."""
        samples, watch = self._parts.rings()
        return Rings(
            samples=0 if samples is None else samples.overruns,
            watch_held_back=0 if watch is None else watch.missed(),
            watch_overwritten=0 if watch is None else watch.overwritten,
        )

    def _room(self, name: str) -> int:
        return layout.check_map(layout.BY_NAME[name], self._parts.fd(name)).max_entries

    def _proof_room(self) -> tuple[int, str]:
        return self._parts.array("proofs").entries * PROOF_WAYS, "proof.capacity"

    def _fresh_proofs(self) -> int:
        """Places of the table of proofs that still hold; old ones are there to be taken."""
        import numpy as np

        table = self._parts.array("proofs")
        words = np.frombuffer(table.memory, dtype=np.uint64, count=table.entries * PROOF_WAYS)
        words = words[words != 0]
        held = budgets.AGES.unpack_from(self._parts.array("proof_ages").memory)[:8]
        ages = np.array(held, dtype=np.uint64)[(words >> np.uint64(_KIND)) & np.uint64(7)]
        now = np.uint64((ticks.read_clock(self._parts.clock_fd())[0] >> _STAMP_SHIFT) & _STAMP_MASK)
        return int(np.count_nonzero(((now - words) & np.uint64(_STAMP_MASK)) <= ages))
