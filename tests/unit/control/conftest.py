# SPDX-License-Identifier: Apache-2.0
"""A controller's parts, ready to use, with every path in the test's own folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control import record, settings
from xdpwall.control.database import Changes
from xdpwall.control.engine import Engine
from xdpwall.control.store import Store
from xdpwall.dataplane.fake import FakeWall
from xdpwall.errors import NotLoadedError
from xdpwall.model import Prefix
from xdpwall.paths import Paths


@dataclass(frozen=True)
class TestPaths(Paths):
    """Paths below one folder. The socket's path must be short: Unix allows 107 bytes."""

    __test__ = False
    root: Path = Path("/nonexistent")

    @property
    def runtime(self) -> Path:
        return self.root / "run"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def pins(self) -> Path:
        return self.root / "pins"


LIMITS: dict[str, Any] = {
    "source": {"pps": 20_000, "bps": 400_000_000, "syn": 100, "udp": 10_000, "icmp": 200},
    "prefix": {"pps": 100_000, "bps": 2_000_000_000, "syn": 1_000, "udp": 50_000, "icmp": 1_000},
}


def config(**sections: Any) -> Config:
    """A config with these sections set. The limits are the tests' own: the defaults may change."""
    return Config.from_mapping({"limits": LIMITS, **sections})


@dataclass
class Rig:
    """An engine on a fake wall. ``generation`` stands for the pins' inodes."""

    paths: Paths
    clock: ManualClock
    wall: FakeWall | None
    config: Config
    generation: int = 1
    opened: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.paths.database, self.clock)
        self.known = record.read(self.store.open(), settings.rules(self.config), self.clock.wall_ms())
        self.store.start()
        self.engine = Engine(
            self.config,
            self.known,
            self.store,
            opener=self.open,
            fingerprint=self.fingerprint,
            clock=self.clock,
        )

    def open(self) -> FakeWall:
        if self.wall is None:
            raise NotLoadedError("no wall is loaded")
        self.opened += 1
        return self.wall

    def fingerprint(self) -> Hashable:
        return self.generation

    def ticks(self, count: int = 1, *, each: Callable[[], None] | None = None) -> None:
        """Live through so many ticks; ``each`` is called before each one."""
        for _ in range(count):
            self.clock.advance_ms(100)
            if each is not None:
                each()
            self.engine.tick()

    def ban(self, *texts: str, for_ms: int | None = 600_000, reason: str = "") -> dict[str, Any]:
        """What an operator does."""
        result, changes = self.engine.desk.ban_add(
            [{"prefix": text} for text in texts], defaults={"for_ms": for_ms, "reason": reason}
        )
        self.engine.commit(changes).result(10)
        return dict(result)

    def settle(self) -> None:
        """Wait until all that was submitted is on disk."""
        self.store.submit(Changes()).result(10)

    def history(self) -> list[tuple[str, str | None]]:
        """Events with their prefixes, oldest first."""
        rows = self.store.read(lambda database: database.history(100_000)).result(10)
        return [(row[1], row[2]) for row in reversed(rows)]


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="xw") as folder:
        yield TestPaths("test", Path(folder))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wall(clock: ManualClock) -> FakeWall:
    return FakeWall(clock)


@pytest.fixture
def make_rig(paths: Paths, clock: ManualClock, wall: FakeWall) -> Iterator[Callable[..., Rig]]:
    """Makes rigs over the same paths, clock and wall; a second one is what a restart is."""
    rigs: list[Rig] = []

    def make(*, started: bool = True, **sections: Any) -> Rig:
        for rig in rigs:
            assert rig.store.close()
        rig = Rig(paths, clock, wall, config(**sections))
        rigs.append(rig)
        if started:
            rig.engine.start()
        return rig

    yield make
    for rig in rigs:
        rig.store.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


def prefix(text: str) -> Prefix:
    return Prefix.parse(text)
