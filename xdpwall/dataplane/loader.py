# SPDX-License-Identifier: Apache-2.0
"""Load and unload: compile for the config, pin, attach; swap on a wall that stands; take down.

A wall is pinned whole or not at all: a first load fills a folder beside the real one and renames it. A load on a loaded
wall compiles against the pinned maps and swaps each interface's program through its link, so that every packet meets
the old program or the new one and all counters and bans stay.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xdpwall import observe
from xdpwall.config import Config
from xdpwall.dataplane import (
    attach,
    buckets,
    defines,
    egress,
    layout,
    loaded,
    sockets,
    source,
    sys_bpf,
    ticks,
)
from xdpwall.dataplane.addresses import own_addresses
from xdpwall.dataplane.compiler import compile_source
from xdpwall.dataplane.instructions import patch_constant, patch_map_fds
from xdpwall.dataplane.meta import Meta, read_meta
from xdpwall.dataplane.module import CompiledModule
from xdpwall.dataplane.pins import Pins, ensure_bpffs, not_loaded
from xdpwall.dataplane.stages import Stages
from xdpwall.dataplane.standing import notes
from xdpwall.dataplane.table import InterfaceTable
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import InputError, KernelError, NotFoundError, PrivilegeError, XdpwallError
from xdpwall.model import Prefix
from xdpwall.paths import Paths

_SLOT, _JUMBO, _EPOCH_SHIFT = 0x57A11001, 0x57A11002, 0x57A11003
_SOURCE_RATES, _PREFIX_RATES = 0x57A11010, 0x57A11020
"""Placeholders of ``bpf/constants.h`` and ``bpf/limits.h``."""
PROGRAM_NAME = "xdpwall"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. ``fresh``: no wall stood before. ``ms``: how long it took in all."""

    instance: str
    policy: str
    fresh: bool
    interfaces: list[attach.Attachment]
    warnings: list[str]
    instructions: int
    compile_ms: int
    ms: int


@dataclass(frozen=True, slots=True)
class UnloadReport:
    """What an unload did. ``removed``: nothing of the wall is left."""

    instance: str
    interfaces: list[str] = field(default_factory=list)
    removed: bool = False


def load(config: Config, paths: Paths, interfaces: Iterable[str] = ()) -> LoadReport:
    """Put a wall up, or swap the program of one that stands.

    Args:
        config: what to compile for.
        paths: of the instance.
        interfaces: besides those that the wall already stands on; none means those of the config.

    Raises:
        InputError: no interface is named anywhere.
        NotFoundError: an interface does not exist.
        ForeignProgramError: an interface runs somebody else's program.
        LayoutError: the maps that stand have another shape.
        CompileError, VerifierError, KernelError, MissingDependencyError, PrivilegeError: as they say.
    """
    started = time.monotonic_ns()
    if os.geteuid() != 0:
        raise PrivilegeError("loading the data path needs root", hint="run it with sudo")
    wanted = list(dict.fromkeys(interfaces)) or list(config.interfaces)
    for name in wanted:
        attach.interface_index(name)
    ensure_bpffs()
    pins = Pins(paths)
    with pins.exclusive():
        meta = read_meta(pins) if pins.exist() else None
        if not wanted and (meta is None or not _standing(paths)):
            raise InputError(
                "no interface is named",
                hint='name it with -i, or in the config: interfaces = ["eth0"]',
            )
        builder = _Builder(config, pins, meta)
        try:
            compiled = time.monotonic_ns()
            warnings: list[str] = []
            try:
                attachments = builder.put_up(paths, wanted, warnings)
            except BaseException:  # Ctrl-C too: a first load leaves a whole wall or nothing
                if meta is None:
                    _take_down(pins, list(wanted))
                raise
            finally:
                pins.hand_over()
        finally:
            builder.close()
    return LoadReport(
        instance=paths.instance,
        policy=config.policy,
        fresh=meta is None,
        interfaces=attachments,
        warnings=warnings,
        instructions=builder.instructions,
        compile_ms=(compiled - started) // 1_000_000,
        ms=(time.monotonic_ns() - started) // 1_000_000,
    )


def ready_program(
    module: CompiledModule,
    config: Config,
    map_fds: Mapping[int, int],
    *,
    slot: int,
    jumbo: bool,
    hz: int,
) -> bytes:
    """The wall's instructions, made ready for one interface.

    Args:
        module: compiled for ``config``.
        config: says which load-time constants are in the program at all.
        map_fds: file descriptors of the module's maps to exchange for pinned ones.
        slot: column of the verdict counters.
        jumbo: frames can span buffers.
        hz: ticks per second.
    """
    code = patch_map_fds(module.program("wall"), map_fds)
    code = patch_constant(code, _SLOT, slot)
    code = patch_constant(code, _JUMBO, int(jumbo))
    if config.meters.enabled:
        code = patch_constant(code, _EPOCH_SHIFT, ticks.epoch_shift(hz))
        source_buckets, prefix_buckets = buckets.of_config(config)
        rates = source_buckets.rates(_SOURCE_RATES, hz) | prefix_buckets.rates(_PREFIX_RATES, hz)
        for placeholder, rate in rates.items():
            code = patch_constant(code, placeholder, rate)
    return code


class _Builder:
    """One load: the compiled module, and how its instructions are made ready for one interface."""

    def __init__(self, config: Config, pins: Pins, meta: Meta | None) -> None:
        self._config = config
        self._pins = pins
        self._fresh = meta is None
        self._shape = defines.sizes(config, defines.possible_cpus())
        seed = meta.seed if meta is not None else secrets.randbits(64)
        self._module: CompiledModule = compile_source(
            source.bpf_folder() / "wall.c", defines.defines(config, self._shape, seed)
        )
        self._own_fds: list[int] = []
        self._map_fds: dict[int, int] = {}
        self._egress: int | None = None
        try:
            layout.check_compiled(self._module)
            if meta is not None:
                self._use_pinned_maps()
            self._clock = sys_bpf.prog_load(self._module.program("wall_clock"), "xdpwall_clock")
            self._own_fds.append(self._clock)
            hz = meta.hz if meta is not None else ticks.measure_hz(self._clock)
            self._stages = Stages(self._module, self._map_fds, hz) if config.lanes.enabled else None
        except BaseException:
            self.close()
            raise
        loaded_ms, observed = time.time_ns() // 1_000_000, observe.in_force(config.policy, config.observe)
        self._meta = Meta(
            seed=seed,
            loaded_ms=loaded_ms,
            config_digest=int(config.dataplane_digest(), 16),
            hz=hz,
            cpus=self._shape.cpus,
            ban_bits=self._shape.ban_bits,
            source_bits=self._shape.source_bits,
            prefix_bits=self._shape.prefix_bits,
            proof_bits=self._shape.proof_bits,
            observe=config.policy == "observe",
            observed=observed,
            observed_since_ms=meta.observed_since_ms if meta and meta.observed == observed else loaded_ms,
        )
        self.instructions = len(self._module.program("wall")) // 8

    def put_up(self, paths: Paths, wanted: list[str], warnings: list[str]) -> list[attach.Attachment]:
        """Pin what is new and attach everywhere."""
        if self._fresh:
            self._pin_all()
        with Wall.open(paths) as wall:
            for prefix in self._config.allow.prefixes:
                wall.allow.put(Prefix.parse(str(prefix)))
            wall.set_own_addresses(own_addresses())
            wall.set_budgets(self._config.lanes, self._config.proof)
            if self._meta.observed_since_ms == self._meta.loaded_ms:
                wall.begin_observing(self._meta.observed)
            self._tell_sockets(wall, wanted, warnings)
            table = wall.interface_table
            others = [entry.name for entry in table.entries() if entry.wanted and entry.name not in wanted]
            attachments = []
            whole = not self._pins.unfinished.exists()
            self._pins.begin()
            try:
                for name in [*wanted, *others]:
                    done = self._guard(table, name, name in wanted, warnings)
                    if done is not None:
                        attachments.append(done)
            except XdpwallError:
                if whole and not attachments:  # refused at the first one: nothing was changed
                    self._pins.finish()
                raise
            # Last: a load that was refused midway has not changed what the wall is.
            wall.write_meta(self._meta)
            wall.cookie_state.set_possible(defines.sends_cookies(self._config))
        self._pins.finish()
        self._write_down(paths, [entry.name for entry in attachments], warnings)
        return attachments

    def _guard(
        self, table: InterfaceTable, name: str, asked: bool, warnings: list[str]
    ) -> attach.Attachment | None:
        """Put the programs on one interface; None when it is away and was not ``asked`` for."""
        slot = table.slot_for(name)
        known = table.find(name)
        new = known is None or not known.wanted
        if new:  # in the table first: were we killed after attaching, nobody would know of it
            table.set(slot, name, wanted=True, mode=None)
        try:
            done = self._attach(name, slot)
        except XdpwallError as error:
            if isinstance(error, NotFoundError) and not asked:
                warnings.append(
                    f"{name} is not there now; the controller attaches the old program when it comes back"
                )
                return None
            if new:
                table.set(slot, name, wanted=False, mode=None)
            raise
        mode = done.mode
        if done.swapped:
            mode = (known.mode if known else None) or attach.attached_mode(name)
        table.set(slot, name, wanted=True, mode=mode)
        self._listen(name, warnings)
        if done.warning:
            warnings.append(done.warning)
        return attach.Attachment(name, mode, done.swapped, done.warning)

    def _attach(self, name: str, slot: int) -> attach.Attachment:
        jumbo = attach.needs_fragments(name)
        code = ready_program(
            self._module,
            self._config,
            self._stages.map_fds(jumbo) if self._stages else self._map_fds,
            slot=slot,
            jumbo=jumbo,
            hz=self._meta.hz,
        )
        program = sys_bpf.prog_load(code, PROGRAM_NAME, flags=sys_bpf.BPF_F_XDP_HAS_FRAGS if jumbo else 0)
        try:
            return attach.attach(self._pins, name, program, self._config.mode)
        finally:
            os.close(program)

    def _write_down(self, paths: Paths, names: list[str], warnings: list[str]) -> None:
        try:
            loaded.write(paths, self._config, self._meta.loaded_ms, notes(self._pins, names))
        except OSError as error:
            warnings.append(
                f"{loaded.place(paths)}: {error.strerror}; `xdpwall explain` will have to guess the config"
            )

    def _tell_sockets(self, wall: Wall, wanted: list[str], warnings: list[str]) -> None:
        """Open ports and connections of this host, before the first packet is judged."""
        try:
            found = sockets.survey(self._config, wanted)
        except KernelError as error:
            warnings.append(f"{error.message}: every port counts as open")
            wall.set_ports(sockets.ALL_PORTS, sockets.ALL_PORTS, self._config.incident.admin_ports)
            return
        wall.set_ports(found.tcp, found.udp, found.admin)
        wall.note_flows(found.flows)

    def _listen(self, name: str, warnings: list[str]) -> None:
        """Put up the egress program, without which the wall works, but knows only flows that it is told of."""
        if not self._config.lanes.enabled:
            egress.detach(self._pins, name)
            return
        if self._egress is None:
            code = patch_map_fds(self._module.program("egress"), self._map_fds)
            self._egress = sys_bpf.prog_load(code, "xdpwall_egress", prog_type=sys_bpf.PROG_TYPE_SCHED_CLS)
            self._own_fds.append(self._egress)
        try:
            egress.attach(self._pins, name, self._egress)
        except KernelError as error:
            warnings.append(
                f"{name}: what this host sends cannot be watched ({error.message}): above a lane's budget, only flows"
                " that have a socket are known"
            )

    def _pin_all(self) -> None:
        staged = self._pins.stage()
        for shape in layout.MAPS:
            sys_bpf.obj_pin(self._module.map_fd(shape.name), staged.maps / shape.name)
        sys_bpf.obj_pin(self._clock, staged.clock)
        # The meta must be right before anybody can open the folder.
        meta_fd = self._module.map_fd("meta")
        sys_bpf.map_update(meta_fd, bytes(4), self._meta.pack())
        self._pins.commit()

    def _use_pinned_maps(self) -> None:
        """Exchange the maps of this compile for those that stand.

        Raises:
            LayoutError: one has another shape or size.
        """
        for shape in layout.MAPS:
            pinned = self._pins.open_map(shape.name)
            self._own_fds.append(pinned)
            fresh = self._module.map_fd(shape.name)
            layout.check_map(shape, pinned, layout.map_shape(shape, fresh).max_entries)
            self._map_fds[fresh] = pinned

    def close(self) -> None:
        for fd in self._own_fds:
            os.close(fd)
        self._own_fds.clear()
        self._module.close()


def unload(paths: Paths, interfaces: Iterable[str] | None = None) -> UnloadReport:
    """Take the wall down, or off some interfaces. Works with no controller, no bcc and no config.

    Taking it down whole does not look into the maps, so it works on a wall that another version loaded.

    Args:
        paths: of the instance.
        interfaces: only these; None, or all that it stands on, removes every pin.

    Raises:
        NotLoadedError: no wall is loaded.
        NotFoundError: the wall does not stand on one of ``interfaces``.
    """
    pins = Pins(paths)
    if os.geteuid() != 0:
        raise PrivilegeError("unloading the data path needs root", hint="run it with sudo")
    with pins.exclusive():
        if not pins.exist():
            pins.remove()
            raise not_loaded(paths.instance)
        names = list(dict.fromkeys(interfaces or ()))
        standing = pins.interfaces()
        for name in names:
            if name not in standing:
                raise NotFoundError(
                    f"the wall {paths.instance!r} does not stand on {name}",
                    hint=f"it stands on: {', '.join(standing) or 'no interface'}",
                )
        if names and set(names) != set(standing):
            with Wall.open(paths) as wall:
                for name in names:
                    egress.detach(pins, name)
                    attach.detach(pins, name)
                    wall.interface_table.set(
                        wall.interface_table.slot_for(name), name, wanted=False, mode=None
                    )
            return UnloadReport(paths.instance, names)
        _take_down(pins, standing)
        return UnloadReport(paths.instance, standing, removed=True)


def _take_down(pins: Pins, names: list[str]) -> None:
    for name in names:
        # The link's pin last: by it the next unload knows where to look, should this one be killed.
        egress.detach(pins, name)
        attach.detach(pins, name)
    pins.remove()


def _standing(paths: Paths) -> bool:
    """Whether the wall is meant to stand on any interface. A first load that was killed may have left it on none."""
    with Wall.open(paths) as wall:
        return any(entry.wanted for entry in wall.interface_table.entries())
