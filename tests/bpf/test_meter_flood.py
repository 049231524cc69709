# SPDX-License-Identifier: Apache-2.0
"""Meters and bans in a flood of random sources: heavy sources stay in sight, no ban is pushed out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.flood import Flood, flood
from tests.bpf.scene import Probe, config, loaded
from tests.bpf.test_meters import source
from xdpwall.dataplane.keys import source_key
from xdpwall.reasons import Reason

HEAVY, EVERY, ROUNDS = 1_000, 10, 200


@pytest.fixture(scope="module", params=[4, 6], ids=["v4", "v6"])
def attacked(request: pytest.FixtureRequest) -> Iterator[tuple[Probe, Flood]]:
    """A wall after 2,000,000 packets, nine of ten from a random source, the tenth from 1,000 heavy ones in turn."""
    with loaded() as probe, flood(probe, heavy=HEAVY, every=EVERY, version=request.param) as attack:
        probe.wall.bans.put_many((p, None) for p in attack.sources()[: HEAVY // 10])
        attack.run(ROUNDS)
        yield probe, attack


def heavy_counts(probe: Probe, attack: Flood) -> list[int]:
    """Packets that the meters saw of each heavy source that is not banned."""
    snapshot = probe.wall.sources()
    found: dict[int, int] = {}
    for key, packets in zip(snapshot.slots["key"].tolist(), snapshot.slots["packets"].tolist(), strict=True):
        found[key] = found.get(key, 0) + packets
    return [found.get(source_key(one), 0) for one in attack.sources()[HEAVY // 10 :]]


def test_every_packet_of_the_flood_met_its_verdict(attacked: tuple[Probe, Flood]) -> None:
    counts = attacked[0].wall.verdicts()["wt0"]
    banned = ROUNDS * HEAVY // 10
    assert counts[Reason.BANNED_SOURCE].packets == banned
    assert counts[Reason.PASS].packets == ROUNDS * HEAVY * EVERY - banned
    assert set(counts) == {Reason.PASS, Reason.BANNED_SOURCE}


def test_heavy_sources_are_counted_within_a_hundredth(attacked: tuple[Probe, Flood]) -> None:
    """None is counted beyond what it sent, 99 of 100 to within 1 % and all together too."""
    counts = heavy_counts(*attacked)
    assert max(counts) <= ROUNDS
    close = sum(1 for count in counts if count >= ROUNDS * 0.99)
    assert close >= len(counts) * 0.99
    assert sum(counts) >= len(counts) * ROUNDS * 0.99


def test_the_flood_moved_no_ban(attacked: tuple[Probe, Flood]) -> None:
    """Every ban stands and counted exactly what its source sent."""
    entries = list(attacked[0].wall.bans.entries())
    assert len(entries) == HEAVY // 10
    assert {entry.packets for entry in entries} == {ROUNDS}


def test_meters_of_the_least_size_stay_right() -> None:
    """Few slots and many sources: whatever is counted is never too much."""
    with loaded(config(meters={"sources": 1024, "prefixes": 256})) as probe:
        with flood(probe, heavy=50, every=4) as attack:
            attack.run(500)
        counts = [source(probe, f"10.0.0.{n}").packets for n in range(50)]
        assert max(counts) <= 500
        assert sum(counts) >= 50 * 500 * 0.9
