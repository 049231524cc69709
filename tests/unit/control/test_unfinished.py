# SPDX-License-Identifier: Apache-2.0
"""A load that is at work is none that was cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdpwall.clock import ManualClock
from xdpwall.control.health import Health
from xdpwall.control.unfinished import Unfinished
from xdpwall.dataplane.pins import Pins
from xdpwall.errors import RefusedError
from xdpwall.paths import Paths


class Places(Paths):
    """Below a folder of the test's."""

    root = Path()

    @property
    def pins(self) -> Path:
        return self.root / "pins"

    @property
    def runtime(self) -> Path:
        return self.root / "run"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(Places, "root", tmp_path)
    return Places("unit")


def test_only_what_nobody_works_at_is_told(paths: Paths) -> None:
    pins, health = Pins(paths), Health(ManualClock())
    watch = Unfinished(paths, health)
    pins.unfinished.mkdir(parents=True)
    with pins.exclusive():
        assert pins.is_busy()
        for _ in range(5):
            watch.second()
        assert not health.problems
    assert not pins.is_busy()
    watch.second()
    assert not health.problems
    watch.second()
    assert any("cut short" in text for text in health.problems)
    pins.unfinished.rmdir()
    watch.second()
    assert not health.problems


def test_two_loads_do_not_run_at_once(paths: Paths) -> None:
    with Pins(paths).exclusive(), pytest.raises(RefusedError, match="another load"), Pins(paths).exclusive():
        pytest.fail("two at once")


def test_nobody_ever_loaded_here(paths: Paths) -> None:
    assert not Pins(paths).is_busy()
