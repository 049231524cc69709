# SPDX-License-Identifier: Apache-2.0
"""SYN cookies as the kernel program is told of them (``bpf/answers.h``), and whether this kernel can make any."""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path

from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.errors import KernelError, VerifierError

HOLDS_MS = 30_000
"""A listener that sent no cookie of its own for this long is not answered for. The kernel takes cookies for 120 s."""
KEEPS_MS = 600_000
"""Window scale, SACK and ECN are taken to be what they were this long ago."""
PROBE_MS = 250
"""Of each listener's requests over budget, one in this time goes to the stack."""

_HELPER_MAKE4 = 204
_SINCE, _HOLDS, _KEEPS, _PROBE, _POSSIBLE = range(5)


class CookieState:
    """``struct cookie_state``.

    Args:
        array: the map.
        hz: ticks per second.
    """

    def __init__(self, array: MappedArray, hz: int) -> None:
        self._words = array.words
        self._hz = hz

    def turn_on(self, now: int) -> None:
        """From this tick on the stack sends cookies itself, so what it sends tells which listeners are ready."""
        self._words[_HOLDS] = self._ticks(HOLDS_MS)
        self._words[_KEEPS] = self._ticks(KEEPS_MS)
        self._words[_PROBE] = self._ticks(PROBE_MS)
        self._words[_SINCE] = max(1, now)

    def turn_off(self) -> None:
        """No more cookies; acknowledgements of those that were sent are no proof any more."""
        self._words[_SINCE] = 0

    @property
    def is_on(self) -> bool:
        """Whether requests over budget are answered."""
        return self._words[_SINCE] != 0

    @property
    def is_possible(self) -> bool:
        """Whether the loaded program can send any: the config wants them, and the kernel has them."""
        return self._words[_POSSIBLE] != 0

    def set_possible(self, possible: bool) -> None:
        """Write down what was loaded; for the loader alone."""
        self._words[_POSSIBLE] = int(possible)
        if not possible:
            self.turn_off()

    def _ticks(self, milliseconds: int) -> int:
        return max(1, milliseconds * self._hz // 1000)


@functools.cache
def are_possible() -> bool:
    """Whether this kernel makes SYN cookies for XDP programs: 6.0 or later, with CONFIG_SYN_COOKIES.

    Asked by loading a program that calls the helper, as the verifier alone knows.
    """
    if not Path("/proc/sys/net/ipv4/tcp_syncookies").exists():
        return False

    def instruction(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
        return struct.pack("<BBhi", code, registers, offset, immediate)

    program = [instruction(0x7A, 10, at) for at in range(-40, 0, 8)]  # *(u64 *)(r10 + at) = 0
    program += [
        instruction(0xBF, 0xA1),  # r1 = r10: an IP header of zeros
        instruction(0x07, 1, 0, -20),
        instruction(0xBF, 0xA2),  # r2 = r10: a TCP header
        instruction(0x07, 2, 0, -40),
        instruction(0xB7, 3, 0, 20),
        instruction(0x85, 0, 0, _HELPER_MAKE4),
        instruction(0xB7, 0, 0, 2),
        instruction(0x95),
    ]
    try:
        os.close(sys_bpf.prog_load(b"".join(program), "probe"))
    except (VerifierError, KernelError):
        return False
    return True
