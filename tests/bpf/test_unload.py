# SPDX-License-Identifier: Apache-2.0
"""Unload: nothing is left, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.scene import Scene, lean, scene
from xdpwall.dataplane.loader import unload
from xdpwall.errors import NotFoundError, NotLoadedError


@pytest.fixture
def place() -> Iterator[Scene]:
    """A scene with two interfaces and nothing loaded."""
    with scene(["wt0", "wt1"]) as made:
        yield made


def test_unload_leaves_nothing(place: Scene) -> None:
    place.load(lean())
    assert place.on("wt0")[1]
    report = unload(place.paths)
    assert report.removed
    assert report.interfaces == ["wt0", "wt1"]
    assert not place.paths.pins.exists()
    assert not place.pins.staging.exists()
    assert place.on("wt0") == place.on("wt1") == (0, 0)
    with pytest.raises(NotLoadedError):
        unload(place.paths)
    with pytest.raises(NotLoadedError):
        place.open()


def test_unload_of_one_interface(place: Scene) -> None:
    """The wall goes on on the other; the last one takes the wall with it."""
    place.load(lean())
    with pytest.raises(NotFoundError) as caught:
        unload(place.paths, ["wt0", "nonesuch"])
    assert "wt0, wt1" in (caught.value.hint or "")
    assert place.on("wt0")[1]
    assert not unload(place.paths, ["wt0"]).removed
    assert place.on("wt0") == (0, 0)
    assert place.on("wt1")[1]
    with place.open() as wall:
        assert [state.name for state in wall.interfaces()] == ["wt1"]
    assert place.load(lean(), interfaces=["wt0"]).interfaces[0].swapped is False
    assert not unload(place.paths, ["wt1"]).removed
    assert unload(place.paths, ["wt0"]).removed
    assert not place.paths.pins.exists()


def test_unload_when_an_interface_has_gone(place: Scene) -> None:
    place.load(lean())
    place.delete_link("wt0")
    assert unload(place.paths).removed
    assert place.on("wt1") == (0, 0)
    assert not place.paths.pins.exists()
