# SPDX-License-Identifier: Apache-2.0
"""Floods of random sources with heavy ones among them, shown to the real program by ``spoof.c``."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bpf.packets import frame4
from tests.bpf.scene import Probe
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.compiler import compile_source
from xdpwall.model import Prefix


class Flood:
    """Each ``every``-th packet comes from one of ``heavy`` sources in turn, all others from random ones."""

    def __init__(self, program: int, heavy: int, every: int) -> None:
        self._program = program
        self.heavy = heavy
        self.every = every
        self.packet = frame4()

    def run(self, rounds: int) -> None:
        """Let each heavy source send this many packets. Must not be called twice with a part of a round."""
        sys_bpf.test_run(self._program, self.packet, repeat=rounds * self.heavy * self.every)

    def sources(self) -> list[Prefix]:
        """The heavy ones."""
        return [Prefix((0x0A000000 + n).to_bytes(4, "big"), 32) for n in range(self.heavy)]


@contextmanager
def flood(probe: Probe, *, heavy: int, every: int) -> Iterator[Flood]:
    """A flood against the program of a probe."""
    module = compile_source(Path(__file__).with_name("spoof.c"), {"HEAVY": heavy, "EVERY": every})
    try:
        sys_bpf.map_update(module.map_fd("wall"), bytes(4), struct.pack("=I", probe.fd))
        program = sys_bpf.prog_load(module.program("spoof"), "spoof")
        try:
            yield Flood(program, heavy, every)
        finally:
            os.close(program)
    finally:
        module.close()
