# SPDX-License-Identifier: Apache-2.0
"""What is measured: each program or wall on a link of its own make, in a lab of its own.

All links are alike: a veth pair between two namespaces, native XDP, one receive queue. The walls are loaded by the
product's own ``xdpwall load``. Where a wall lets packets pass, its program is compiled once more with
``BENCH_PASS_IS_DROP`` over the same pinned maps, by the loader's own functions, and swapped in: else the stack behind
it would be measured too.
"""

from __future__ import annotations

import functools
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from xdpwall import fingerprint
from xdpwall.bench.traffic import PORT, Family, flows, sources
from xdpwall.config import Config
from xdpwall.dataplane import attach, compiler, defines, layout, loader, source, sys_bpf, ticks
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.meta import read_meta
from xdpwall.dataplane.module import CompiledModule
from xdpwall.dataplane.pins import Pins
from xdpwall.dataplane.stages import Stages
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import LabError
from xdpwall.fingerprint import Pattern, Rule
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class WallPlan:
    """A wall to measure.

    Args:
        config: text of its config file.
        bans: how many sources of each family are banned, from the head of the list of sources.
        flows: with how many sources of each family this host has a TCP connection, likewise.
        rules: how many fingerprint rules stand in the lane of UDP; only the last of them matches what is sent.
        cookies: somebody listens, and requests over budget are answered with SYN cookies.
        pass_is_drop: packets that it lets pass are dropped right behind its last instruction.
    """

    config: str = ""
    bans: int = 0
    flows: int = 0
    rules: int = 0
    cookies: bool = False
    pass_is_drop: bool = False


class LoadedWall:
    """A wall on the first link of a lab of its own. A context manager."""

    def __init__(self, plan: WallPlan) -> None:
        self._stack = ExitStack()
        self._server: socket.socket | None = None
        self.lab = Lab(config=plan.config)
        try:
            self._stack.enter_context(self.lab)
            self.lab.load()
            self.ifname = self.lab.wall_links[0].host.ifname
            self.wall = Wall.open(self.lab.paths)
            self._stack.callback(self.wall.close)
            for family in (4, 6):
                self.ban(family, plan.bans)
                self.wall.note_flows(flows(self.lab.wall_links[0], family, plan.flows))
            self._make_rules(plan.rules)
            if plan.cookies:
                self._send_cookies()
            if plan.pass_is_drop:
                self._swap()
            self.program = self.wall.program_fd(self.ifname)
            self._stack.callback(os.close, self.program)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> LoadedWall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ban(self, family: Family, count: int) -> None:
        """Ban the first sources of the list for an hour."""
        if count:
            self.wall.bans.put_many((prefix, _HOUR_MS) for prefix in sources(family, count))

    def _send_cookies(self) -> None:
        """Let the stack of the wall's namespace send one of each family: from those the program learns its answers."""

        def listen() -> socket.socket:
            for name in ("tcp_syncookies", "tcp_timestamps"):
                Path("/proc/sys/net/ipv4", name).write_text("2", encoding="ascii")
            return socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)

        self._server = namespaces.inside(self.lab.namespace("wall"), listen)
        self._stack.callback(self._server.close)
        self.wall.set_ports({PORT}, ())
        if not self.wall.set_cookies(True):
            raise LabError(
                "this kernel makes no SYN cookies for XDP",
                hint="Linux 6.0 or later; leave the row out with --only",
            )
        self.get_ready()

    def get_ready(self) -> None:
        """Before each run: what was learned of the stack's cookies is good for a minute."""
        if self._server is None:
            return

        def ask() -> None:
            for address in (self.lab.server4, self.lab.server6):
                socket.create_connection((address, PORT), timeout=10).close()

        namespaces.inside(self.lab.namespace("net"), ask)
        for _ in range(2):
            self._server.accept()[0].close()

    def _make_rules(self, count: int) -> None:
        """Each compares all that a real one may: the target port, and 32 bytes of the tail that all packets share."""
        if not count:
            return
        self.wall.set_ports((), {PORT})
        mask = bytearray(fingerprint.SIZE)
        mask[fingerprint.TARGET_PORT : fingerprint.TARGET_PORT + 2] = b"\xff\xff"
        mask[fingerprint.TAIL :] = b"\xff" * (fingerprint.SIZE - fingerprint.TAIL)
        for number in range(count):
            value = bytearray(fingerprint.SIZE)
            port = PORT if number == count - 1 else PORT + 1 + number
            value[fingerprint.TARGET_PORT : fingerprint.TARGET_PORT + 2] = port.to_bytes(2, "big")
            pattern = Pattern(Lane.UDP, bytes(mask), bytes(value), ttl=(1, 255))
            self.wall.rules.put(Rule(self.wall.rules.next_id(), pattern), _HOUR_MS)

    def verdicts(self) -> dict[Reason, int]:
        """Packets by reason so far."""
        counts: dict[Reason, Count] = dict(self.wall.verdicts().get(self.ifname, {}))
        return {reason: count.packets for reason, count in counts.items()}

    def _swap(self) -> None:
        pins = Pins(self.lab.paths)
        meta = read_meta(pins)
        config = Config.load(self.lab.config_path)
        shape = defines.sizes(config, meta.cpus)
        constants = defines.defines(config, shape, meta.seed) | {"BENCH_PASS_IS_DROP": 1}
        module = compiler.compile_source(source.bpf_folder() / "wall.c", constants)
        with ExitStack() as used:
            used.callback(module.close)
            maps: dict[int, int] = {}
            for shaped in layout.MAPS:
                pinned = pins.open_map(shaped.name)
                used.callback(os.close, pinned)
                maps[module.map_fd(shaped.name)] = pinned
            slot = self.wall.interface_table.slot_for(self.ifname)
            fitting = Stages(module, maps, meta.hz).map_fds(jumbo=False)
            code = loader.ready_program(module, config, fitting, slot=slot, jumbo=False, hz=meta.hz)
            program = sys_bpf.prog_load(code, "bench_wall")
            used.callback(os.close, program)
            namespaces.inside(
                self.lab.namespace("wall"), lambda: attach.attach(pins, self.ifname, program, config.mode)
            )


class Yardstick:
    """Bare XDP_DROP, and the wall's parser with XDP_DROP behind it, each on a link of its own. A context manager.

    Attributes:
        programs: file descriptors by name, ``bare_drop`` and ``parse_drop``; owned by this object.
        labs: where each of them is attached, to the first link.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.programs: dict[str, int] = {}
        self.labs: dict[str, Lab] = {}
        try:
            config = Config()
            shape = defines.sizes(config, defines.possible_cpus())
            module = compiler.compile_source(
                source.bpf_folder() / "bench" / "yardstick.c", defines.defines(config, shape, seed=1)
            )
            self._stack.callback(module.close)
            self._clock = self._load(module, "wall_clock")
            for name in ("bare_drop", "parse_drop"):
                self.programs[name] = program = self._load(module, name)
                self.labs[name] = lab = self._stack.enter_context(Lab())
                link = namespaces.inside(lab.namespace("wall"), functools.partial(_attach, lab, program))
                self._stack.callback(os.close, link)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def home(self) -> Lab:
        """A lab that stands as long as this object."""
        return self.labs["bare_drop"]

    def facts(self) -> dict[str, int | str]:
        """What the links and the kernel are like, as keys of the result's ``machine``."""
        return {"tick_hz": ticks.measure_hz(self._clock), "xdp_mode": "native", "link": "veth"}

    def _load(self, module: CompiledModule, name: str) -> int:
        program = sys_bpf.prog_load(module.program(name), f"bench_{name}")
        self._stack.callback(os.close, program)
        return program


def _attach(lab: Lab, program: int) -> int:
    """Put a program on the first link; gives the BPF link."""
    index = attach.interface_index(lab.wall_links[0].host.ifname)
    return sys_bpf.link_create_xdp(program, index, sys_bpf.XDP_FLAGS_DRV_MODE)
