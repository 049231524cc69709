# SPDX-License-Identifier: Apache-2.0
"""Instructions made ready for one interface: maps exchanged, constants filled in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.dataplane.instructions import patch_constant, patch_map_fds, point_to_values
from xdpwall.errors import LayoutError

PLACEHOLDER = 0x57A11001


def load64(register: int, pseudo: int, low: int, high: int = 0) -> bytes:
    """``lddw``: 16 bytes, the 64-bit immediate in two halves (kernel, Documentation/bpf/standardization)."""
    return struct.pack("<BBhI", 0x18, pseudo << 4 | register, 0, low) + struct.pack("<BBhI", 0, 0, 0, high)


def move(register: int, value: int) -> bytes:
    """``mov32``: an immediate that only looks like the others."""
    return struct.pack("<BBhI", 0xB4, register, 0, value)


EXIT = struct.pack("<BBhI", 0x95, 0, 0, 0)


def test_map_references_are_exchanged() -> None:
    code = load64(1, 1, 5) + load64(2, 1, 6) + load64(3, 1, 7) + EXIT
    assert patch_map_fds(code, {5: 6, 6: 5}) == load64(1, 1, 6) + load64(2, 1, 5) + load64(3, 1, 7) + EXIT


def test_only_map_references_are_exchanged() -> None:
    """A map, and the address of a map's value; not a plain constant or a move of the same number."""
    code = load64(1, 0, 5) + load64(1, 1, 5) + load64(1, 2, 5) + move(1, 5) + EXIT
    assert patch_map_fds(code, {5: 99}) == load64(1, 0, 5) + load64(1, 1, 99) + load64(1, 2, 99) + code[-16:]


def test_placeholders_of_tables_become_addresses_of_values() -> None:
    code = load64(1, 0, PLACEHOLDER) + load64(2, 0, PLACEHOLDER + 1) + load64(3, 0, PLACEHOLDER, 1) + EXIT
    assert point_to_values(code, {PLACEHOLDER: 7}) == load64(1, 2, 7) + code[16:]


def test_constants_are_filled_in_everywhere() -> None:
    code = load64(1, 0, PLACEHOLDER) + EXIT + load64(9, 0, PLACEHOLDER)
    assert patch_constant(code, PLACEHOLDER, 3) == load64(1, 0, 3) + EXIT + load64(9, 0, 3)
    assert patch_constant(code, PLACEHOLDER, 0xFFFFFFFF)[4:8] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "code",
    [
        EXIT,
        move(1, PLACEHOLDER),
        load64(1, 1, PLACEHOLDER),
        load64(1, 0, PLACEHOLDER, 1),
        load64(1, 0, PLACEHOLDER + 1),
        load64(1, 0, 0, PLACEHOLDER),
    ],
    ids=["nothing", "a move", "a map", "another 64-bit number", "another placeholder", "the upper half"],
)
def test_a_constant_that_is_not_there(code: bytes) -> None:
    """C and Python are of two versions: better refused than loaded with a placeholder in it."""
    with pytest.raises(LayoutError, match="0x57a11001"):
        patch_constant(code, PLACEHOLDER, 3)


@given(
    st.lists(st.integers(0, 2**31 - 1), max_size=8), st.dictionaries(st.integers(0, 40), st.integers(0, 40))
)
def test_exchanging_is_by_the_table(fds: list[int], table: dict[int, int]) -> None:
    """All at once: what was put in is not exchanged again."""
    code = b"".join(load64(1, 1, fd) for fd in fds)
    assert patch_map_fds(code, table) == b"".join(load64(1, 1, table.get(fd, fd)) for fd in fds)
