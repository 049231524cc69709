# SPDX-License-Identifier: Apache-2.0
"""The egress program on real interfaces: beside what others have there, swapped, and taken off again."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bpf.scene import Scene, lean, scene
from xdpwall.dataplane import egress, sys_bpf
from xdpwall.dataplane.loader import unload

_EGRESS, _INGRESS = 0xFFFFFFF3, 0xFFFFFFF2
_FOREIGN = 7
"""A handle that another tool took."""


@pytest.fixture
def place() -> Iterator[Scene]:
    """A scene with one interface and nothing loaded."""
    with scene() as made:
        yield made


def filters(place: Scene, parent: int = _EGRESS, name: str = "wt0") -> list[tuple[int, int]]:
    """Handle and priority of each bpf filter."""
    index = place.index(name)
    with place.netlink() as ipr:
        return [
            (m["handle"], m["info"] >> 16) for m in ipr.get_filters(index=index, parent=parent) if m["handle"]
        ]


def add_foreign(place: Scene, priority: int, verdict: int = 0) -> None:
    """Another tool's filter, which lets everything go on its way."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, verdict) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    program = sys_bpf.prog_load(code, "foreign", prog_type=sys_bpf.PROG_TYPE_SCHED_CLS)
    index = place.index("wt0")
    with place.netlink() as ipr:
        ipr.tc("add", "clsact", index)
        arguments: dict[str, Any] = {"fd": program, "name": "foreign", "direct_action": True, "protocol": 3}
        ipr.tc("add-filter", "bpf", index, _FOREIGN, parent=_EGRESS, prio=priority, **arguments)
        ipr.tc("add-filter", "bpf", index, _FOREIGN, parent=_INGRESS, prio=priority, **arguments)
    os.close(program)


def test_it_comes_and_goes_with_the_wall(place: Scene) -> None:
    place.load(lean())
    assert len(filters(place)) == 1
    with place.inside():
        assert egress.is_attached(place.pins, "wt0")
        unload(place.paths)
    assert filters(place) == []


@pytest.mark.parametrize("priority", [1, 2])
def test_others_filters_stay_as_they_are(place: Scene, priority: int) -> None:
    """Also one that would end the chain: ours comes before it, or beside it."""
    add_foreign(place, priority)
    place.load(lean())
    assert (_FOREIGN, priority) in filters(place)
    assert len(filters(place)) == 2
    place.load(lean())
    assert len(filters(place)) == 2
    with place.inside():
        unload(place.paths)
    assert filters(place) == [(_FOREIGN, priority)]
    assert filters(place, _INGRESS) == [(_FOREIGN, priority)]


def test_a_load_swaps_it(place: Scene) -> None:
    place.load(lean())
    with place.inside():
        first = egress.our_ids(place.pins)
    before = filters(place)
    place.load(lean())
    with place.inside():
        second = egress.our_ids(place.pins)
        assert first != second
        assert egress.is_attached(place.pins, "wt0")
    assert filters(place) == before


def test_a_load_swaps_it_on_every_interface() -> None:
    with scene(["wt0", "wt1"]) as place:
        place.load(lean())
        place.load(lean())
        for name in ("wt0", "wt1"):
            assert len(filters(place, name=name)) == 1
        with place.inside():
            unload(place.paths)
        assert [filters(place, name=name) for name in ("wt0", "wt1")] == [[], []]


def test_it_comes_back_with_its_interface(place: Scene) -> None:
    place.load(lean())
    place.delete_link("wt0")
    place.add_veth("wt0", "wp0")
    assert filters(place) == []
    with place.open() as wall, place.inside():
        assert wall.reattach("wt0")
        assert egress.is_attached(place.pins, "wt0")


def test_a_wall_without_lanes_needs_none(place: Scene) -> None:
    place.load(lean())
    place.load(lean(lanes={"enabled": False}))
    assert filters(place) == []
