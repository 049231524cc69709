# SPDX-License-Identifier: Apache-2.0
"""Floods of random sources with heavy ones among them, shown to the real program by ``spoof.c``."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bpf.packets import frame4, frame6
from tests.bpf.scene import Probe
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.compiler import compile_source
from xdpwall.model import Prefix


class Flood:
    """Each ``every``-th packet comes from one of ``heavy`` sources in turn, all others from random ones."""

    def __init__(self, program: int, heavy: int, every: int, version: int) -> None:
        self._program = program
        self.heavy = heavy
        self.every = every
        self.version = version
        self.packet = frame4() if version == 4 else frame6()

    def run(self, rounds: int) -> None:
        """Let each heavy source send this many packets. Must not be called twice with a part of a round."""
        sys_bpf.test_run(self._program, self.packet, repeat=rounds * self.heavy * self.every)

    def sources(self) -> list[Prefix]:
        """The heavy ones."""
        return [heavy_source(self.version, n) for n in range(self.heavy)]


def heavy_source(version: int, number: int) -> Prefix:
    """Number ``number`` of the heavy ones."""
    if version == 4:
        return Prefix((0x0A000000 + number).to_bytes(4, "big"), 32)
    return Prefix((0x20010DB8 << 32 | number).to_bytes(8, "big") + bytes(8), 64)


@contextmanager
def flood(probe: Probe, *, heavy: int, every: int, version: int = 4) -> Iterator[Flood]:
    """A flood against the program of a probe."""
    module = compile_source(Path(__file__).with_name("spoof.c"), {"HEAVY": heavy, "EVERY": every})
    try:
        sys_bpf.map_update(module.map_fd("wall"), bytes(4), struct.pack("=I", probe.fd))
        program = sys_bpf.prog_load(module.program("spoof"), "spoof")
        try:
            yield Flood(program, heavy, every, version)
        finally:
            os.close(program)
    finally:
        module.close()
