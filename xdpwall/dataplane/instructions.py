# SPDX-License-Identifier: Apache-2.0
"""Compiled instructions, and what is put into them before they are loaded: maps and load-time constants."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from xdpwall.errors import LayoutError

_LD_IMM64 = 0x18
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2


def patch_map_fds(instructions: bytes, replacement: Mapping[int, int]) -> bytes:
    """Instructions with every reference to a map, or to its value, exchanged for one to another map.

    Args:
        instructions: 8 bytes each.
        replacement: old file descriptor to new.
    """
    code = bytearray(instructions)
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 in (_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE):
            (fd,) = struct.unpack_from("<i", code, at + 4)
            if fd in replacement:
                struct.pack_into("<i", code, at + 4, replacement[fd])
    return bytes(code)


def point_to_values(instructions: bytes, places: Mapping[int, int]) -> bytes:
    """Instructions with placeholders of tables (C: ``WHOLE``) made references to the value of a map.

    Args:
        instructions: 8 bytes each.
        places: placeholder to file descriptor, or to what :func:`patch_map_fds` will make one of.
    """
    code = bytearray(instructions)
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 == 0:
            low, high = struct.unpack_from("<I", code, at + 4)[0], struct.unpack_from("<I", code, at + 12)[0]
            if not high and low in places:
                code[at + 1] |= _PSEUDO_MAP_VALUE << 4
                struct.pack_into("<i", code, at + 4, places[low])
    return bytes(code)


def patch_constant(instructions: bytes, placeholder: int, value: int, *, needed: bool = True) -> bytes:
    """Instructions with a load-time constant filled in (C: ``LOAD_TIME_CONSTANT(placeholder)``, and ``SEED``).

    Args:
        instructions: 8 bytes each.
        placeholder: a 32-bit number that stands in the C.
        value: 64 bits, of which ``LOAD_TIME_CONSTANT`` takes the lower half; put in place of each.
        needed: it must be there.

    Raises:
        LayoutError: the placeholder is not there; C and Python are of two versions.
    """
    code = bytearray(instructions)
    found = False
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 == 0:
            low, high = struct.unpack_from("<I", code, at + 4)[0], struct.unpack_from("<I", code, at + 12)[0]
            if (low, high) == (placeholder, 0):
                struct.pack_into("<I", code, at + 4, value & 0xFFFFFFFF)
                struct.pack_into("<I", code, at + 12, value >> 32)
                found = True
    if needed and not found:
        raise LayoutError(
            f"the compiled program has no load-time constant {placeholder:#x}",
            hint="the installation mixes two versions: install xdpwall again",
        )
    return bytes(code)
