# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds over the data path: each row once a round, by live frames and by test run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xdpwall.bench.figures import rotated
from xdpwall.bench.gun import Gun, Shot
from xdpwall.bench.rows import Row
from xdpwall.bench.stand import LoadedWall, Yardstick
from xdpwall.errors import LabError

SMALLEST_SHOT = 1 << 17
_BATCH = 64
_SURE_SHARE = 0.9
"""A row whose packets met another fate than this share of them did not measure what it says."""


class Target(Protocol):
    """Something that packets can be fired at."""

    @property
    def name(self) -> str:
        """Unique within a bench."""

    def fire(self, gun: Gun, packets: int) -> tuple[Shot, float]:
        """One run; gives it and the share of packets that met the fate that the row is about."""

    def dry(self, gun: Gun, repeat: int) -> int | None:
        """One test run, ns a packet; None where there is no program to run."""


@dataclass(frozen=True, slots=True)
class YardTarget:
    """A program of the yardstick."""

    name: str
    row: Row
    yard: Yardstick

    def fire(self, gun: Gun, packets: int) -> tuple[Shot, float]:
        """See :class:`Target`."""
        shot = gun.live(self.yard.labs[self.row.program], self.row.traffic, packets)
        return shot, shot.dropped / max(1, shot.received)

    def dry(self, gun: Gun, repeat: int) -> int | None:
        """See :class:`Target`."""
        program = self.yard.programs[self.row.program]
        return gun.dry(self.yard.home.wall_links[0], program, self.row.traffic, repeat)


@dataclass(frozen=True, slots=True)
class WallTarget:
    """A loaded wall."""

    name: str
    row: Row
    wall: LoadedWall

    def fire(self, gun: Gun, packets: int) -> tuple[Shot, float]:
        """See :class:`Target`."""
        fate = self.row.fate
        assert fate is not None, "every row of a wall has a fate"
        self.wall.get_ready()
        before = self.wall.verdicts().get(fate, 0)
        shot = gun.live(self.wall.lab, self.row.traffic, packets)
        return shot, (self.wall.verdicts().get(fate, 0) - before) / max(1, shot.received)

    def dry(self, gun: Gun, repeat: int) -> int | None:
        """See :class:`Target`."""
        return gun.dry(self.wall.lab.wall_links[0], self.wall.program, self.row.traffic, repeat)


@dataclass(slots=True)
class Series:
    """What the rounds gave for one row, one value a round."""

    ns: list[float] = field(default_factory=list)
    dry_ns: list[float] = field(default_factory=list)
    in_kind: list[float] = field(default_factory=list)
    received: int = 0
    lost: int = 0
    packets: int = 0
    """In each round."""


def targets(rows: Sequence[Row], walls: Mapping[str, LoadedWall], yard: Yardstick) -> list[Target]:
    """What each row fires at."""
    found: list[Target] = []
    for row in rows:
        if row.wall is None:
            found.append(YardTarget(row.name, row, yard))
        else:
            found.append(WallTarget(row.name, row, walls[row.wall]))
    return found


def measure(
    gun: Gun,
    aims: Sequence[Target],
    *,
    rounds: int,
    shot_ms: float,
    heard: Callable[[str, int], None],
) -> dict[str, Series]:
    """Fire at every target once a round.

    Args:
        gun: the generator.
        aims: the targets, with unique names.
        rounds: how many.
        shot_ms: about how long one run is to take.
        heard: told the row and the round, for the person who waits.

    Returns:
        By target's name.

    Raises:
        LabError: a row's packets met another fate than the row is about.
    """
    series = {aim.name: Series() for aim in aims}
    by_name = {aim.name: aim for aim in aims}
    for aim in aims:
        heard(aim.name, 0)
        _warm_up(gun, aim, series[aim.name], shot_ms)
    for number in range(rounds):
        for name in rotated(list(by_name), number):
            heard(name, number + 1)
            one = series[name]
            shot, share = by_name[name].fire(gun, one.packets)
            one.ns.append(shot.ns_a_packet)
            one.in_kind.append(share)
            one.received += shot.received
            one.lost += shot.lost
            dry = by_name[name].dry(gun, one.packets)
            if dry is not None:
                one.dry_ns.append(float(dry))
    for name, one in series.items():
        if min(one.in_kind) < _SURE_SHARE:
            raise LabError(
                f"row {name}: only {min(one.in_kind):.1%} of the packets met the fate that the row is about",
                hint="a wall of another version? see `xdpwall doctor`; else this is a bug of the bench",
            )
    return series


def _warm_up(gun: Gun, aim: Target, one: Series, shot_ms: float) -> None:
    """Fill tables and caches as a long run has them, and find how many packets make a shot of the wanted length."""
    shot, _ = aim.fire(gun, SMALLEST_SHOT)
    wanted = int(shot_ms * 1e6 / max(20.0, shot.ns_a_packet))
    one.packets = max(SMALLEST_SHOT, wanted // _BATCH * _BATCH)
    shot, _ = aim.fire(gun, one.packets)
