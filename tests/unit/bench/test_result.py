# SPDX-License-Identifier: Apache-2.0
"""The result object: bars, what was missed, rows that did not measure what they say."""

from __future__ import annotations

from typing import Any, cast

import pytest

from xdpwall.bench import bars, live, result
from xdpwall.bench.gun import Gun, Shot
from xdpwall.bench.live import Series
from xdpwall.bench.peers import PEERS
from xdpwall.bench.rows import ROWS
from xdpwall.errors import LabError


def series(ns: list[float], dry: list[float] | None = None) -> Series:
    return Series(ns=ns, dry_ns=dry or [30.0] * len(ns), in_kind=[1.0] * len(ns), received=10, packets=10)


def row(name: str, measured: dict[str, Series]) -> dict[str, Any]:
    chosen = [one for one in ROWS if one.name == name]
    return result.row_objects(chosen, measured)[0]


def test_a_row_beside_its_bar() -> None:
    found = row("blocked-1k", {"bare": series([80, 160]), "blocked-1k": series([100, 200], [40, 44])})
    assert (found["ratio"], found["ratio_bar"], found["ratio_met"]) == (1.25, 1.3, True)
    assert found["added_ns"] == 12
    assert found["pps"] == round(1e9 / 150)
    assert "ratio_to_v4" not in found


def test_ipv6_is_held_against_ipv4_of_the_same_round() -> None:
    measured = {
        "bare": series([80, 160]),
        "bare-v6": series([80, 160]),
        "flood": series([100, 200]),
        "flood-v6": series([120, 240]),
    }
    found = row("flood-v6", measured)
    assert (found["ratio"], found["ratio_met"]) == (1.5, True)
    assert (found["ratio_to_v4"], found["ratio_to_v4_met"]) == (1.2, False)
    assert result.missed({"rows": [found]}) == ["flood-v6: ratio_to_v4 1.2 > 1.15"]


def test_rounds_that_lie_far_apart_are_told() -> None:
    calm = row("flood", {"bare": series([80, 160, 80]), "flood": series([120, 240, 121])})
    wild = row("flood", {"bare": series([80, 160, 80]), "flood": series([120, 140, 200])})
    assert result.wide({"rows": [calm]}) == []
    assert result.wide({"rows": [wild]}) == ["flood"]


def test_a_peer_beside_ours() -> None:
    measured = {"bare": series([80]), "blocked-1k": series([100]), "nft-set-1k": series([500])}
    found = result.peer_ratios("nft-set-1k", measured)
    assert (found["ours_to_peer"], found["ours_to_peer_met"], found["ratio"]) == (0.2, True, 6.25)
    assert result.peer_ratios("nft-meter", {"nft-meter": series([500])}) == {}


def test_figures_of_the_control_side() -> None:
    good = result.figure("insert_100k_ms", "bans", 49.5, "ms")
    bad = result.figure("insert_100k_ms", "bans", 50.5, "ms")
    free = result.figure("help_ms", "help", 9.0, "ms")
    assert [one["met"] for one in (good, bad, free)] == [True, False, None]
    assert result.missed({"control": [good, bad, free]}) == ["insert_100k_ms: 50.5 ms > 50.0"]


def test_every_bar_belongs_to_a_row() -> None:
    jobs = {one.job for one in ROWS}
    assert bars.RATIO_TO_BARE.keys() <= jobs
    assert bars.RATIO_TO_PEER.keys() == {peer.name for peer in PEERS}
    for peer in PEERS:
        assert bars.RATIO_TO_PEER[peer.name][0] == peer.job
    names = [one.name for one in ROWS] + [one.name for one in PEERS]
    assert len(names) == len(set(names))


class _Stray:
    """A target whose packets mostly meet another fate."""

    name = "stray"

    def __init__(self, share: float) -> None:
        self.share = share
        self.fired: list[int] = []

    def fire(self, gun: Gun, packets: int) -> tuple[Shot, float]:
        self.fired.append(packets)
        return Shot(ns=packets * 100, received=packets, lost=0, dropped=0), self.share

    def dry(self, gun: Gun, repeat: int) -> int | None:
        return None


def test_a_row_that_measures_something_else_is_an_error() -> None:
    with pytest.raises(LabError, match=r"row stray: only 40\.0%"):
        live.measure(cast(Gun, None), [_Stray(0.4)], rounds=1, shot_ms=1, heard=lambda *_: None)


def test_shots_last_as_long_as_asked_for() -> None:
    target = _Stray(1.0)
    heard: list[tuple[str, int]] = []
    measured = live.measure(
        cast(Gun, None),
        [target],
        rounds=2,
        shot_ms=50,
        heard=lambda name, number: heard.append((name, number)),
    )
    assert target.fired[-1] == pytest.approx(500_000, abs=64)
    assert measured["stray"].ns == [100, 100]
    assert measured["stray"].dry_ns == []
    assert heard == [("stray", 0), ("stray", 1), ("stray", 2)]
