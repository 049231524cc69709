# SPDX-License-Identifier: Apache-2.0
"""A compiled C file with its maps in the kernel. Programs are loaded, pinned and attached by others."""

from __future__ import annotations

import os

from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.image import Field, Image
from xdpwall.dataplane.instructions import patch_constant, patch_map_fds
from xdpwall.errors import CompileError

_SEED = 0x57A11004
"""Placeholder of ``bpf/packet.h``."""


class CompiledModule:
    """What one compile gave: maps that exist in the kernel, programs that do not yet.

    The maps live as long as this object or a pin holds them.

    Args:
        image: what was compiled.
        seed: of the hash, 64 bits; None where the C has none. Each wall has its own, so it is no part of the image.

    Raises:
        KernelError: a map cannot be made.
    """

    def __init__(self, image: Image, seed: int | None = None) -> None:
        self._image = image
        self._seed = seed
        self._specs = {spec.name: spec for spec in image.maps}
        self._fds: dict[str, int] = {}
        try:
            for spec in image.maps:
                size, entries = spec.value_size, spec.max_entries
                if spec.whole:
                    size, entries = size * entries, 1
                self._fds[spec.name] = sys_bpf.map_create(
                    spec.type, spec.key_size, size, entries, spec.name, flags=spec.flags
                )
        except BaseException:
            self.close()
            raise

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; owned by this object."""
        return self._fds[name]

    def value_fields(self, name: str) -> list[Field]:
        """Members of a map's value struct as the compiler laid it out; empty for a plain number."""
        return list(self._specs[name].fields)

    def value_size(self, name: str) -> int:
        """Bytes of a map's value."""
        return self._specs[name].value_size

    def program(self, name: str) -> bytes:
        """Instructions of a function, 8 bytes each.

        Raises:
            CompileError: there is no such function.
        """
        code = self._image.programs.get(name)
        if code is None:
            raise CompileError(f"the C has no program {name!r}", "")
        code = patch_map_fds(code, dict(enumerate(self._fds.values())))
        return code if self._seed is None else patch_constant(code, _SEED, self._seed, needed=False)

    def close(self) -> None:
        """Let go of maps that nobody pinned."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
