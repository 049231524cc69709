# SPDX-License-Identifier: Apache-2.0
"""A second wall that nobody's packets meet, to ask what would become of one.

It is compiled anew from the configuration that the standing wall was loaded with, and proven to be the same program by
the kernel's own tags (a digest over the instructions, in which maps do not count). Its maps are its own, filled with
what the wall's hold: a test run through the wall itself would count, take tokens and enter sources. Nothing of it is
pinned or attached, so it ends with the process, however that ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdpwall import observe
from xdpwall.dataplane import defines, layout, loaded, source, sys_bpf, ticks, twin_lanes
from xdpwall.dataplane.addresses import own_addresses
from xdpwall.dataplane.compiler import compile_source
from xdpwall.dataplane.instructions import patch_map_fds
from xdpwall.dataplane.loader import ready_program
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.meta import Meta, read_meta
from xdpwall.dataplane.module import CompiledModule
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.stages import STAGES, Stages
from xdpwall.dataplane.twin_maps import Opened, copy_array, copy_entries, stage_tags
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import InputError, LayoutError, NotFoundError
from xdpwall.model import Prefix
from xdpwall.paths import Paths
from xdpwall.reasons import Reason

if TYPE_CHECKING:
    from xdpwall.config import Config

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX = 0, 1, 2, 3
"""Of the kernel's ``uapi/linux/bpf.h``."""
SHORTEST, LONGEST = 14, 65_535
"""Bytes of a frame that can be tried."""
_ONE_BUFFER = 3_000
"""A longer frame is tried as a jumbo frame: past about 3,500 bytes the kernel puts it into several buffers."""
_PORTS, _LISTENS = 65_536, 0x80
_V4_MAPPED = bytes(10) + b"\xff\xff"
_NOT_COPIED = frozenset({"verdicts", "would_drop", "handovers", "samples"})
_BY_COPY = frozenset({layout.HASH, layout.LPM_TRIE})


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a frame: the XDP verdict, the reason, and the frame as the program left it."""

    verdict: int
    reason: Reason
    frame: bytes


class TwinPins(Pins):
    """Maps that are pinned nowhere, opened by name as if they were."""

    def __init__(self, paths: Paths, module: CompiledModule, clock: int) -> None:
        super().__init__(paths)
        self._module = module
        self._clock_fd = clock

    def open_map(self, name: str) -> int:
        """See :class:`Pins`."""
        return os.dup(self._module.map_fd(name))

    def open_clock(self) -> int:
        """See :class:`Pins`."""
        return os.dup(self._clock_fd)


class Twin:
    """Use :func:`copy_of` or :func:`fresh` to make one; close it, or use it as a context manager.

    Attributes:
        wall: a handle on the twin's maps.
        config: what it was compiled for.
        interface: which interface of the standing wall it stands for, None for no wall.
        differences: how its program differs from the standing wall's; empty when it is the same, or there is none.
    """

    def __init__(self, config: Config, meta: Meta, shape: defines.Sizes, *, slot: int) -> None:
        self.config = config
        self.interface: str | None = None
        self.differences: list[str] = []
        self._slot = slot
        self._jumbo = False
        self._programs: dict[bool, int] = {}
        self._egress: int | None = None
        self._fds: list[int] = []
        self._affinity = os.sched_getaffinity(0)
        self._module = compile_source(
            source.bpf_folder() / "wall.c", defines.defines(config, shape, meta.seed)
        )
        try:
            layout.check_compiled(self._module)
            clock = sys_bpf.prog_load(self._module.program("wall_clock"), "xdpwall_clock")
            self._fds.append(clock)
            if not meta.hz:
                meta = replace(meta, hz=ticks.measure_hz(clock))
            self._hz = meta.hz
            self._stages = Stages(self._module, {}, meta.hz) if config.lanes.enabled else None
            sys_bpf.map_update(self._module.map_fd("meta"), bytes(4), meta.pack())
            self._pins = TwinPins(Paths("twin"), self._module, clock)
            self.wall = Wall(Paths("twin"), self._pins)
            self._counts = [MappedArray(self._pins, name) for name in ("verdicts", "would_drop")]
            self.cpu = min(self._affinity)
            self.run_on(self.cpu)
        except BaseException:
            self.close()
            raise

    def run_on(self, cpu: int) -> None:
        """Try packets on this CPU from now on, if it is there: meters and gates are each CPU's own."""
        if cpu in self._affinity:
            self.cpu = cpu
            os.sched_setaffinity(0, {cpu})
        column = (self.cpu * layout.INTERFACES + self._slot) * layout.REASON_SLOTS * 2
        self._column = slice(column, column + layout.REASON_SLOTS * 2)

    def program(self, *, jumbo: bool) -> int:
        """The wall's program for frames of one buffer, or of several."""
        if jumbo not in self._programs:
            code = ready_program(
                self._module,
                self.config,
                self._stages.map_fds(jumbo) if self._stages else {},
                slot=self._slot,
                jumbo=jumbo,
                hz=self._hz,
            )
            flags = sys_bpf.BPF_F_XDP_HAS_FRAGS if jumbo else 0
            self._programs[jumbo] = sys_bpf.prog_load(code, "xdpwall_twin", flags=flags)
        return self._programs[jumbo]

    def run(self, frame: bytes) -> Judged:
        """What becomes of a frame that comes in. The twin's tables keep what it leaves there.

        Raises:
            InputError: it is too short or too long to be tried.
            KernelError: the kernel refuses.
        """
        if not SHORTEST <= len(frame) <= LONGEST:
            raise InputError(f"a frame of {len(frame)} bytes cannot be tried")
        result = sys_bpf.test_run(self.program(jumbo=self._jumbo or len(frame) > _ONE_BUFFER), frame)
        for counts in self._counts:
            found = counts.words[self._column].tolist()
            at = next((number for number, count in enumerate(found) if count), None)
            if at is not None:
                counts.words[self._column.start + at] = counts.words[self._column.start + (at | 1)] = 0
                return Judged(result.verdict, Reason(at // 2), result.data)
        raise LayoutError("the program counted no verdict", hint="this is a bug: please report it")

    def send(self, frame: bytes) -> None:
        """This host sends a frame: what the wall learns from that. Nothing where lanes are off."""
        if self._stages is None:
            return
        if self._egress is None:
            code = patch_map_fds(self._module.program("egress"), {})
            self._egress = sys_bpf.prog_load(code, "xdpwall_egress", prog_type=sys_bpf.PROG_TYPE_SCHED_CLS)
            self._fds.append(self._egress)
        sys_bpf.test_run(self._egress, frame)

    def open_ports(self) -> tuple[frozenset[int], frozenset[int]]:
        """TCP and UDP ports where somebody listens, as the twin was told."""
        with Opened(self._pins, "ports") as maps:
            table = maps["ports"].memory[: 2 * _PORTS]
        tcp, udp = (
            frozenset(port for port in range(_PORTS) if table[at + port] & _LISTENS) for at in (0, _PORTS)
        )
        return tcp, udp

    def own_addresses(self) -> frozenset[bytes]:
        """Addresses of this host as the twin was told, packed, with the broadcast addresses of its networks."""
        table = self._pins.open_map("own")
        try:
            keys = list(sys_bpf.map_keys(table, 16))
        finally:
            os.close(table)
        return frozenset(key[12:] if key.startswith(_V4_MAPPED) else key for key in keys)

    def spend_budgets(self) -> None:
        """Leave nothing of any lane's or port's budget, as in the middle of a flood."""
        twin_lanes.spend(self._pins, self._tick())

    def lane_states(self) -> list[twin_lanes.LaneState]:
        """How full each lane's budget is."""
        return twin_lanes.states(self._pins, self._hz, self._tick())

    def _tick(self) -> int:
        return ticks.read_clock(self._fds[0])[0]

    def take_state_of(self, pins: Pins) -> None:
        """Make the maps hold what a wall's do, and nothing else.

        Raises:
            LayoutError: they have another size.
        """
        for shape in layout.MAPS:
            if shape.name in _NOT_COPIED:
                continue
            if shape.mmap:
                copy_array(pins, self._pins, shape.name)
            elif shape.type in _BY_COPY:
                copy_entries(pins, self._pins, shape)

    def close(self) -> None:
        """Let go of everything: the twin is gone."""
        os.sched_setaffinity(0, self._affinity)
        for counts in getattr(self, "_counts", ()):
            counts.close()
        if hasattr(self, "wall"):
            self.wall.close()
        for fd in (*self._fds, *self._programs.values()):
            os.close(fd)
        self._fds.clear()
        self._programs.clear()
        self._module.close()

    def __enter__(self) -> Twin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def compare(self, pins: Pins, interface: str) -> None:
        """Find out how this program and those it calls differ from the standing wall's."""
        fd = sys_bpf.obj_get(pins.program(interface))
        try:
            standing = sys_bpf.prog_info(fd).tag
        finally:
            os.close(fd)
        # Its MTU when it was loaded decides, which nobody wrote down; and it may have vanished meanwhile.
        for jumbo in (False, True):
            if sys_bpf.prog_info(self.program(jumbo=jumbo)).tag == standing:
                self._jumbo = jumbo
                break
        else:
            self.differences.append("the program itself")
        if self._stages is None:
            return
        name = "stages_jumbo" if self._jumbo else "stages"
        there, here = stage_tags(pins, name), stage_tags(self._pins, name)
        self.differences += [
            f"its stage {stage!r}" for stage, at in STAGES.items() if there.get(at) != here.get(at)
        ]


def copy_of(paths: Paths, config: Config | None = None, interface: str | None = None) -> Twin:
    """A twin of a loaded wall, with all that it knows at this moment.

    Args:
        paths: the instance.
        config: what to compile for when the load is not on record; every default when None.
        interface: which interface's program; the first when None.

    Raises:
        NotLoadedError: there is no wall.
        NotFoundError: it does not stand on this interface.
        CompileError, VerifierError, KernelError, LayoutError: the twin cannot be made.
    """
    from xdpwall.config import Config

    pins = Pins(paths)
    meta = read_meta(pins)
    with Wall.open(paths) as wall:
        entries = [entry for entry in wall.interface_table.entries() if entry.wanted]
    chosen = next((entry for entry in entries if interface in (None, entry.name)), None)
    if chosen is None:
        names = ", ".join(entry.name for entry in entries)
        raise NotFoundError(
            f"the wall {paths.instance!r} does not stand on {interface or 'any interface'}",
            hint=f"it stands on: {names}" if names else None,
        )
    recorded = loaded.read(paths, meta)
    twin = Twin(recorded or config or Config(), meta, _sizes_of(pins, meta), slot=chosen.slot)
    try:
        twin.interface = chosen.name
        twin.take_state_of(pins)
        twin.compare(pins, chosen.name)
    except BaseException:
        twin.close()
        raise
    return twin


def fresh(config: Config, own: Iterable[Prefix] = ()) -> Twin:
    """A twin of a wall that was just loaded with this config: it has seen nothing yet.

    Args:
        config: what to compile for.
        own: addresses that count as this host's own, besides its real ones.
    """
    shape = defines.sizes(config, defines.possible_cpus())
    meta = Meta(
        seed=int.from_bytes(os.urandom(8), "little"),
        loaded_ms=time.time_ns() // 1_000_000,
        config_digest=int(config.dataplane_digest(), 16),
        hz=0,
        cpus=shape.cpus,
        ban_bits=shape.ban_bits,
        source_bits=shape.source_bits,
        prefix_bits=shape.prefix_bits,
        proof_bits=shape.proof_bits,
        observe=config.policy == "observe",
        observed=observe.in_force(config.policy, config.observe),
    )
    twin = Twin(config, meta, shape, slot=0)
    try:
        from xdpwall.dataplane.sockets import survey

        found = survey(config, config.interfaces)
        for prefix in config.allow.prefixes:
            twin.wall.allow.put(Prefix.parse(str(prefix)))
        twin.wall.set_own_addresses({*own_addresses(), *own})
        twin.wall.set_budgets(config.lanes, config.proof)
        twin.wall.set_ports(found.tcp, found.udp, found.admin)
        twin.wall.note_flows(found.flows)
    except BaseException:
        twin.close()
        raise
    return twin


def _sizes_of(pins: Pins, meta: Meta) -> defines.Sizes:
    """The sizes that the pinned maps have, whatever the config says of them."""

    def entries(name: str) -> int:
        fd = pins.open_map(name)
        try:
            return sys_bpf.map_info(fd).max_entries
        finally:
            os.close(fd)

    return defines.Sizes(
        cpus=meta.cpus,
        ban_bits=meta.ban_bits,
        ban_overflow=entries("ban_overflow"),
        ban_prefixes=entries("ban_prefix4"),
        source_bits=meta.source_bits,
        prefix_bits=meta.prefix_bits,
        proof_bits=meta.proof_bits,
        pending_bits=entries("pending").bit_length() - 1,
    )
