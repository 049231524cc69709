# SPDX-License-Identifier: Apache-2.0
"""C and Python agree on what lies in the maps, and a disagreement is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from xdpwall.dataplane import layout
from xdpwall.dataplane.image import Field
from xdpwall.dataplane.module import CompiledModule
from xdpwall.errors import LayoutError
from xdpwall.snapshot import METER_DTYPE


class Compiled:
    """What a compile says of its maps: right, until a test changes it."""

    def __init__(self) -> None:
        self.sizes = {shape.name: shape.value_size for shape in layout.MAPS}
        self.fields: dict[str, list[Field]] = {}
        for shape in layout.MAPS:
            offset = 0
            self.fields[shape.name] = []
            for name, size in shape.fields:
                self.fields[shape.name].append(Field(name, offset, size))
                offset += size

    def value_size(self, name: str) -> int:
        return self.sizes[name]

    def value_fields(self, name: str) -> list[Field]:
        return self.fields[name]


def check(compiled: Compiled) -> None:
    layout.check_compiled(cast(CompiledModule, compiled))


def test_agreement() -> None:
    check(Compiled())


@pytest.mark.parametrize("name", [shape.name for shape in layout.MAPS if shape.type != layout.RINGBUF])
def test_another_size_is_found(name: str) -> None:
    compiled = Compiled()
    compiled.sizes[name] += 8
    with pytest.raises(LayoutError, match=rf"{name}: C says \d+ bytes"):
        check(compiled)


CHANGES: dict[str, Callable[[list[Field]], list[Field]]] = {
    "name": lambda fields: [replace(fields[0], name="other"), *fields[1:]],
    "offset": lambda fields: [replace(fields[0], offset=4), *fields[1:]],
    "size": lambda fields: [replace(fields[0], size=fields[0].size + 4), *fields[1:]],
    "one less": lambda fields: fields[1:],
    "one more": lambda fields: [*fields, fields[0]],
    "order": lambda fields: [*fields[1:], replace(fields[0], name="moved")],
}


@pytest.mark.parametrize("name", [shape.name for shape in layout.MAPS if shape.fields])
@pytest.mark.parametrize("change", CHANGES)
def test_another_member_is_found(name: str, change: str) -> None:
    compiled = Compiled()
    compiled.fields[name] = CHANGES[change](compiled.fields[name])
    with pytest.raises(LayoutError, match=f"{name}: C has"):
        check(compiled)


def test_every_fault_is_named_at_once() -> None:
    compiled = Compiled()
    compiled.sizes["ban4"] = compiled.sizes["verdicts"] = 1
    with pytest.raises(LayoutError, match=r"ban4.*verdicts") as caught:
        check(compiled)
    assert caught.value.hint


@pytest.mark.parametrize("shape", [s for s in layout.MAPS if s.fields], ids=lambda shape: shape.name)
def test_members_fill_the_value(shape: layout.MapLayout) -> None:
    """No gap and nothing beyond: the structs of bpf/types.h are padded by hand."""
    assert sum(size for _, size in shape.fields) == shape.value_size


def test_every_map_of_the_c_is_known(checkout: Path) -> None:
    """A map that were not listed would not be pinned, and a reload would lose it."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((checkout / "bpf").glob("*.h")))
    declared = re.findall(r'^BPF_F_TABLE\("(\w+)", [^,]+, [^,]+, (\w+), .*, (\w+)\);$', text, re.MULTILINE)
    kinds = {"array": layout.ARRAY, "hash": layout.HASH, "lpm_trie": layout.LPM_TRIE}
    assert {name: (kinds[kind], flag == "MMAP") for kind, name, flag in declared} == {
        shape.name: (shape.type, shape.mmap)
        for shape in layout.MAPS
        if shape.type not in (layout.PROG_ARRAY, layout.RINGBUF)
    }
    assert text.count("BPF_F_TABLE(") == len(declared)


def test_tables_of_one_value_are_the_same_in_both(checkout: Path) -> None:
    """Each has its placeholder; and nobody looks in one by an entry's number, for the kernel's map has one entry."""
    maps = (checkout / "bpf" / "maps.h").read_text(encoding="utf-8")
    declared = {
        name.lower(): int(at, 16) for name, at in re.findall(r"#define AT_(\w+) (0x57a120\w\w)", maps)
    }
    assert declared == {shape.name: shape.place for shape in layout.MAPS if shape.place}
    assert len(set(declared.values())) == len(declared)
    files = [*(checkout / "bpf").glob("*.h"), checkout / "bpf" / "wall.c"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    looked_in = set(re.findall(r"\b(\w+)\.(?:lookup|update|delete)\(", text))
    assert not looked_in & set(declared)
    assert all(f"AT_{name.upper()})" in text for name in declared)


def test_structs_are_as_long_as_the_maps_say() -> None:
    assert layout.META.size == layout.BY_NAME["meta"].value_size
    assert layout.INTERFACE.size == layout.BY_NAME["interfaces"].value_size
    assert layout.BAN_VALUE.size == layout.BY_NAME["ban_prefix4"].value_size
    assert METER_DTYPE.itemsize == layout.BY_NAME["source_meters"].value_size


def test_the_record_of_a_meter_has_the_members_of_the_struct() -> None:
    """numpy's view of a meter, member by member; the rest of the 64 bytes is the kernel's own."""
    assert METER_DTYPE.fields is not None and METER_DTYPE.names is not None
    offset = 0
    expected = {}
    for name, size in layout.BY_NAME["source_meters"].fields:
        expected[name] = (offset, size)
        offset += size
    shared = [name for name in METER_DTYPE.names if name in expected]
    assert shared[:10] == [
        "key",
        "packets",
        "bytes",
        "syn",
        "udp",
        "icmp",
        "fragments",
        "drops",
        "first",
        "last",
    ]
    for name in shared:
        member = METER_DTYPE.fields[name]
        assert (member[1], member[0].itemsize) == expected[name]


def test_numbers_that_stand_in_both(checkout: Path) -> None:
    maps = (checkout / "bpf" / "maps.h").read_text(encoding="utf-8")
    types = (checkout / "bpf" / "types.h").read_text(encoding="utf-8")
    assert f"#define INTERFACES {layout.INTERFACES}\n" in maps
    assert f"#define BAN_WAYS {layout.BAN_WAYS}\n" in types
