# SPDX-License-Identifier: Apache-2.0
"""What would have been, against what is: the same traffic to a controller that has the other settings in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.control.conftest import Rig, config
from xdpwall.config import Config
from xdpwall.control import past_record, past_tables, simulate, simulate_ask, simulate_lanes
from xdpwall.control.simulate import Outcome
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.keys import source_key
from xdpwall.detection.limits import KINDS
from xdpwall.detection.past import BANNED, PROVEN, Part
from xdpwall.errors import ConfigError, InputError, NotFoundError, StoreError
from xdpwall.lanes import Lane
from xdpwall.model import Prefix

QUIET = {"collapse_sources": 0}
NOW = 1_795_000_000_000


def test_limits_that_are_off_are_taken_for_the_defaults() -> None:
    limits = Config().limits
    for scope, known in zip((limits.source, limits.prefix), past_record.DEFAULTS, strict=True):
        assert {kind: getattr(scope, kind.value) for kind in KINDS} == known


@dataclass(frozen=True)
class Sender:
    """Sends ``each`` packets in a tick of every ``every``-th tick, from one to another."""

    source: str
    each: int
    kind: str = "udp"
    start: int = 20
    stop: int = 560
    every: int = 1

    def at(self, tick: int) -> int:
        return self.each if self.start <= tick < self.stop and tick % self.every == 0 else 0


SENDERS = (
    Sender("203.0.113.1", 30),  # 300 a second
    Sender("203.0.113.2", 90),
    Sender("203.0.113.3", 250, start=100),
    Sender("198.51.100.1", 700, every=10),  # all of a second's in one tick
    Sender("198.51.100.2", 9, kind="syn", start=300),
    Sender("198.51.100.3", 60, kind="icmp", stop=40),
    Sender("2001:db8:1:2::", 120, start=200, stop=260),
)


def limits(**source: int) -> dict[str, dict[str, int]]:
    off = {"pps": 0, "bps": 0, "syn": 0, "udp": 0, "icmp": 0}
    return {"source": {**off, **source}, "prefix": off}


def live(rig: Rig, wall: FakeWall, senders: tuple[Sender, ...], ticks: int = 600) -> None:
    """One minute by default, a look each tenth of a second."""
    for tick in range(ticks):
        rig.clock.advance_ms(100)
        for sender in senders:
            packets = sender.at(tick)
            if packets:
                prefix = Prefix.parse_source(sender.source)
                if wall.bans.dropping(prefix):
                    wall.bans.count_drop(prefix, packets, packets * 60)
                wall.feed(sender.source, packets, kind=sender.kind)
        rig.engine.tick()
        if tick % 10 == 9:
            rig.engine.second()


def parts(rig: Rig) -> list[Part]:
    bodies = rig.store.read(
        lambda database: database.work(lambda db: list(past_tables.parts(db, 0, 1 << 62)))
    ).result(10)
    return [Part.unpack(body) for body in bodies]


def played(rig: Rig, other: Config) -> Outcome:
    (outcome,) = simulate.play(parts(rig), [other], [], (1_000, 1_000))
    return outcome


def banned(rig: Rig) -> dict[str, int]:
    return {str(ban.prefix): ban.created_ms for ban in rig.engine.book.bans()}


RECORDED = {"limits": limits(udp=5_000, syn=500, icmp=5_000), "bans": QUIET}


@pytest.mark.parametrize(
    "tried",
    [
        limits(udp=5_000, syn=500, icmp=5_000),
        limits(udp=400, syn=500, icmp=5_000),
        limits(udp=1_000),
        limits(pps=2_000, syn=60),
        limits(bps=600_000, icmp=300),
        limits(),
    ],
    ids=["as it was", "udp 400", "udp 1000", "pps and syn", "bits and icmp", "none"],
)
def test_it_says_what_a_controller_with_these_limits_does(
    make_rig: Callable[..., Rig], tried: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    past = make_rig(**RECORDED)
    assert past.wall is not None
    began_ms = past.clock.wall_ms()
    live(past, past.wall, SENDERS)
    past.engine.close("test")
    said = played(past, config(limits=tried, bans=QUIET))
    assert past.store.close()
    past.paths.database.unlink()

    past.wall = FakeWall(past.clock)
    truth = Rig(past.paths, past.clock, past.wall, config(limits=tried, bans=QUIET))
    truth.engine.start()
    passed_ms = truth.clock.wall_ms() - began_ms
    live(truth, past.wall, SENDERS)
    real = banned(truth)
    assert {str(hit.prefix) for hit in said.banned} == set(real)
    for hit in said.banned:
        assert hit.banned_ms is not None
        # Seconds are what is on record, a hundredth off: who is a little above a limit takes a little more or less.
        assert abs(hit.banned_ms + passed_ms - real[str(hit.prefix)]) <= 2_000
    dropped = sum(ban.packets for ban in past.wall.bans.entries())
    assert said.dropped >= 0.9 * dropped  # the limits' own drops come on top: the wall in memory has none
    truth.store.close()


def test_what_a_ban_dropped_is_on_record(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(limits=limits(udp=1_000), bans=QUIET)
    live(rig, wall, (Sender("203.0.113.3", 250, start=100),))
    rig.engine.close("test")
    (part,) = parts(rig)
    assert part.sources.keys.tolist() == [source_key(Prefix.parse("203.0.113.3"))]
    assert part.sources.flags.tolist() == [BANNED]
    total = part.sources.total[:, 0].sum(axis=1)
    assert total[0] == pytest.approx(250 * 460, rel=0.03)
    assert total[3] == pytest.approx(total[0], rel=0.01)  # as before the ban, all of it UDP
    assert part.sources.total[0, 0, 30] == pytest.approx(2_500, rel=0.03)
    loose = played(rig, config(limits=limits(udp=3_000), bans=QUIET))
    assert loose.dropped == 0
    assert loose.over == []


def test_quiet_leaves_a_span_and_no_part(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    began_ms = rig.clock.wall_ms()
    live(rig, wall, (Sender("203.0.113.1", 1),), 1_300)
    rig.engine.close("test")
    assert parts(rig) == []
    spans = rig.store.read(lambda d: d.work(lambda db: past_tables.spans(db, 0, 1 << 62))).result(10)
    ((start, stop),) = spans
    assert (start, stop) == (began_ms, began_ms + 130_000)


def test_good_sources_are_named(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    wall.proven_keys = {source_key(Prefix.parse("203.0.113.2"))}
    live(rig, wall, SENDERS)
    rig.engine.close("test")
    (part,) = parts(rig)
    assert (part.sources.flags & PROVEN).astype(bool).sum() == 1
    outcome = played(rig, config(limits=limits(udp=400, pps=500), bans=QUIET))
    (good,) = outcome.good
    assert str(good.prefix) == "203.0.113.2"
    assert good.over_ms is not None
    assert good.banned_ms is None  # whoever is known is not banned for what may be forged ...
    assert good.dropped > 100  # ... but pps is a limit that the program itself holds to
    assert outcome.dropped_good == pytest.approx(good.dropped)


def test_allowlisted_sources_pass(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    live(rig, wall, SENDERS)
    rig.engine.close("test")
    tried = {"limits": limits(udp=400), "bans": QUIET}
    before = {str(hit.prefix) for hit in played(rig, config(**tried)).banned}
    after = played(rig, config(**tried, allow={"prefixes": ["203.0.113.0/24"]}))
    assert before - {str(hit.prefix) for hit in after.banned} == {"203.0.113.2", "203.0.113.3"}


def test_many_sources_become_a_prefix(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(limits=limits(udp=50_000), bans={"collapse_sources": 8})
    crowd = tuple(Sender(f"203.0.113.{n}", 200, start=100 + n) for n in range(1, 21))
    live(rig, wall, crowd)
    rig.engine.close("test")
    outcome = played(rig, config(limits=limits(udp=1_000), bans={"collapse_sources": 8}))
    assert outcome.bans == (8, 1)
    assert [str(prefix) for prefix in outcome.prefixes] == ["203.0.113.0/24"]
    assert len(outcome.banned) == 20  # the rest with its prefix


def test_the_record_is_bounded(
    make_rig: Callable[..., Rig], wall: FakeWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_record, "MOST_SOURCES", 500)
    rig = make_rig(**RECORDED)
    crowd = [Sender(f"10.{n >> 8}.{n & 255}.7", 20 + n % 7, start=5, stop=25) for n in range(800)]
    loud = Sender("203.0.113.3", 400, start=20, stop=60)
    live(rig, wall, (*crowd, loud), 80)
    rig.engine.close("test")
    (part,) = parts(rig)
    assert len(part.sources) <= 500
    assert part.sources.left_out >= 300
    assert source_key(Prefix.parse("203.0.113.3")) in part.sources.keys.tolist()
    assert len(part.pack()) < 200 * 500


def test_a_bug_in_the_record_stops_nobody(
    make_rig: Callable[..., Rig], wall: FakeWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("xdpwall.detection.near.Near.look", broken)
    rig = make_rig(limits=limits(udp=1_000), bans=QUIET)
    live(rig, wall, (Sender("203.0.113.3", 250),), 100)
    assert set(banned(rig)) == {"203.0.113.3"}


def test_lanes_of_a_lower_budget(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    for second in range(50):
        wall.count_lane(Lane.UDP, 9_000 if second >= 40 else 10, size=100)
        rig.clock.advance_ms(1_000)
        rig.engine.tick()
        rig.engine.second()
    rig.engine.close("test")
    found = parts(rig)
    (label,) = found[0].lanes
    assert label == Lane.UDP.label

    def beyond(**lanes: Any) -> dict[str, simulate_lanes.LaneOutcome]:
        outcome: dict[str, simulate_lanes.LaneOutcome] = {}
        for part in found:
            simulate_lanes.play(outcome, part, config(lanes=lanes).lanes)
        return outcome

    now, tried = beyond()[label], beyond(udp={"pps": 4_000})[label]
    assert now.least == 0
    assert tried.least == pytest.approx(10 * (9_000 - 4_400), rel=0.02)
    assert tried.most == pytest.approx(10 * (9_000 - 2_200), rel=0.02)
    assert tried.seconds == 10
    assert tried.first_ms is not None
    assert beyond(enabled=False) == {}


# --- what is asked of it ---


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "base.toml"
    path.write_text("[limits.source]\nudp = 7000\n")
    yield path


def test_settings_on_top_of_a_file(base: Path) -> None:
    now, other = simulate_ask.other_config(
        base, None, ["limits.source.pps=5000", "bans.time = 5m", 'policy="observe"']
    )
    assert now.limits.source.udp == other.limits.source.udp == 7_000
    assert (other.limits.source.pps, other.bans.time_ms, other.policy) == (5_000, 300_000, "observe")
    assert simulate_ask.not_simulated(now, other) == []
    _, other = simulate_ask.other_config(base, None, ["tick.interval=50ms"])
    assert simulate_ask.not_simulated(now, other) == ["tick.interval"]


def test_another_file(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[limits.source]\npps = 9000\n")
    now, other = simulate_ask.other_config(base, file, ["limits.source.syn=50"])
    assert (other.limits.source.pps, other.limits.source.syn) == (9_000, 50)
    assert other.limits.source.udp == Config().limits.source.udp
    missing, _ = simulate_ask.other_config(tmp_path / "none.toml", file, [])
    assert missing == Config()
    assert now != missing


@pytest.mark.parametrize("bad", ["limits.source.pps", "=5", "limits..pps=5", "limits.source.udp.deep=1"])
def test_a_bad_form(base: Path, bad: str) -> None:
    with pytest.raises(InputError, match="--set"):
        simulate_ask.other_config(base, None, [bad])


@pytest.mark.parametrize(
    ("bad", "key"),
    [("limits.source.ppps=5", "limits.source.ppps"), ("limits.source.pps=-1", "limits.source.pps"),
     ("bans.time=soon", "bans.time")],
)  # fmt: skip
def test_a_bad_key_or_value(base: Path, bad: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        simulate_ask.other_config(base, None, [bad])
    assert [problem.key for problem in caught.value.problems] == [key]


def test_moments() -> None:
    assert simulate_ask.when("7d", NOW, "--since") == NOW - 7 * 86_400_000
    assert simulate_ask.when("2026-11-23T20:15", NOW, "--since") == 1_795_464_900_000
    assert simulate_ask.when("2026-11-23T21:15+01:00", NOW, "--since") == 1_795_464_900_000
    with pytest.raises(InputError, match="neither a time ago nor a moment"):
        simulate_ask.when("yesterday", NOW, "--since")


def test_from_when_to_when_there_is_any(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    began_ms = rig.clock.wall_ms()
    with pytest.raises(NotFoundError, match="no traffic is on record"):
        simulate_ask.on_record(rig.paths, 0, 1 << 50)
    live(rig, wall, SENDERS)
    rig.engine.close("test")
    rig.settle()
    record = simulate_ask.on_record(rig.paths, began_ms - 1_000, began_ms + 3_600_000)
    assert record.seen_ms == 60_000
    assert record.real_bans == 0
    (part,) = record.parts()
    assert record.size() == (len(part.sources), len(part.prefixes))
    floors = simulate_ask.Floors()
    floors.take(part)
    with pytest.raises(NotFoundError) as caught:
        simulate_ask.on_record(rig.paths, began_ms + 3_600_000, began_ms + 7_200_000)
    assert simulate_ask.at(began_ms) in (caught.value.hint or "")
    assert simulate_ask.below_floor(floors, config(limits=limits(udp=50))) == [("limits.source.udp", 50, 100)]


def test_old_parts_go(make_rig: Callable[..., Rig], wall: FakeWall, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig(**RECORDED)
    live(rig, wall, (Sender("203.0.113.1", 30, stop=1_800),), 1_800)
    rig.engine.close("test")
    kept = parts(rig)
    assert len(kept) >= 2
    monkeypatch.setattr(past_tables, "MOST_BYTES", len(kept[-1].pack()) + 10)
    rig.store.read(lambda d: d.work(lambda db: past_tables.prune(db, 0))).result(10)
    assert [part.at_ms for part in parts(rig)] == [kept[-1].at_ms]
    ((start, _),) = rig.store.read(lambda d: d.work(lambda db: past_tables.spans(db, 0, 1 << 62))).result(10)
    assert kept[-2].at_ms < start <= kept[-1].at_ms
    rig.store.read(lambda d: d.work(lambda db: past_tables.prune(db, 1 << 60))).result(10)
    assert parts(rig) == []
    assert rig.store.read(lambda d: d.work(past_tables.whole)).result(10) is None


def test_a_damaged_part_is_left_out(make_rig: Callable[..., Rig], wall: FakeWall) -> None:
    rig = make_rig(**RECORDED)
    live(rig, wall, SENDERS)
    rig.engine.close("test")
    rig.store.read(
        lambda d: d.work(
            lambda db: db.execute("INSERT INTO traffic_parts VALUES (5, ?)", (b"xwp1 no",)).rowcount
        )
    ).result(10)
    record = simulate_ask.on_record(rig.paths, 0, 1 << 50)
    assert (len(list(record.parts())), record.unreadable) == (1, 1)
    assert record.size()[0] > 0


def test_no_state_file(tmp_path: Path, make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(**RECORDED)
    rig.store.close()
    rig.paths.database.unlink()
    with pytest.raises((NotFoundError, StoreError)):
        simulate_ask.on_record(rig.paths, 0, 1 << 50)


def test_nothing_to_play() -> None:
    (outcome,) = simulate.play([], [Config()], [], (0, 0))
    assert outcome.over == []
    assert np.isclose(outcome.dropped, 0)
