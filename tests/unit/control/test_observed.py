# SPDX-License-Identifier: Apache-2.0
"""What is on trial: parts and their names, what would have been dropped, whom it would have hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.control.conftest import Rig
from xdpwall.config import Config
from xdpwall.control import observed, views
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Count, Flow
from xdpwall.dataplane.keys import source_key
from xdpwall.errors import ConfigError
from xdpwall.incident.observed import ObservedUse
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.observe import ALL, PARTS, bits, compiled, covers_rules_of, in_force, parts_of
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

USER, STRANGER, HOST = bytes([198, 51, 100, 7]), bytes([203, 0, 113, 9]), bytes([192, 0, 2, 1])
BANNED = (Reason.BANNED_SOURCE,)


def sample(source: bytes, *, would_drop: bool = True, reason: Reason = Reason.BANNED_SOURCE) -> Sample:
    """A UDP packet to port 53."""
    ip = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0]) + source + HOST
    head = bytes(14) + ip + (4000).to_bytes(2, "big") + (53).to_bytes(2, "big") + bytes(8)
    return Sample(
        tick=1, length=60, reason=reason, lane=Lane.UDP, slot=0, version=4, protocol=17, fragment=0, l3=14, l4=34,
        captured=len(head), head=head.ljust(HEAD_BYTES, b"\0"), would_drop=would_drop,
    )  # fmt: skip


@pytest.fixture
def rig(make_rig: Callable[..., Rig], wall: FakeWall) -> Rig:
    wall.info = replace(wall.info, observed=BANNED, observed_since_ms=5)
    return make_rig()


def test_names() -> None:
    assert compiled("enforce", ["lanes.udp"]) == bits(["lanes.udp"]) == 1 << Reason.LANE_UDP
    assert compiled("observe", ["lanes.udp"]) == 0
    assert in_force("observe", []) == ALL
    assert in_force("enforce", []) == 0
    assert parts_of(bits(["bans.source", "lanes.syn"])) == ("bans.source", "lanes.syn")
    assert covers_rules_of(Lane.UDP, ["lanes.udp"])
    assert covers_rules_of(Lane.TCP, ["fingerprints"])
    assert not covers_rules_of(Lane.TCP, ["lanes.udp", "bans.source"])


def test_config_names_what_was_meant() -> None:
    assert Config.from_mapping({"observe": list(PARTS)}).observe == tuple(PARTS)
    with pytest.raises(ConfigError) as refused:
        Config.from_mapping({"observe": ["lane.udp"]})
    assert 'did you mean "lanes.udp"?' in refused.value.problems[0].message
    with pytest.raises(ConfigError):
        Config.from_mapping({"observe": "lanes.udp"})


def test_a_proven_source_is_found(rig: Rig, wall: FakeWall) -> None:
    wall.proven_keys = {source_key(Prefix(USER, 32))}
    wall.sampled = [sample(USER), sample(USER), sample(STRANGER), sample(USER, would_drop=False)]
    rig.ticks()
    assert rig.engine.observed.count == 1
    (good,) = rig.engine.observed.good(10)
    assert (good["source"], good["proof"], good["samples"]) == ("198.51.100.7", "handshake", 2)
    assert good["reasons"] == ["banned_source"]
    assert rig.engine.observed.good_of("bans.source") == 1
    assert rig.engine.observed.good_of("lanes.udp") == 0


def test_so_is_one_whose_packet_belongs_to_a_flow(rig: Rig, wall: FakeWall) -> None:
    wall.note_flows([Flow(17, HOST, 53, STRANGER, 4000)])
    wall.sampled = [sample(STRANGER), sample(USER)]
    rig.ticks()
    assert [entry["proof"] for entry in rig.engine.observed.good(10)] == ["flow"]


def test_another_trial_begins_with_nobody(rig: Rig, wall: FakeWall) -> None:
    wall.proven_keys = {source_key(Prefix(USER, 32)), source_key(Prefix(STRANGER, 32))}
    wall.sampled = [sample(USER)]
    rig.ticks()
    wall.info = replace(wall.info, observed_since_ms=6)
    wall.sampled = [sample(STRANGER)]
    rig.ticks()
    assert [entry["source"] for entry in rig.engine.observed.good(10)] == ["203.0.113.9"]


def test_what_was_only_observed_has_passed(rig: Rig, wall: FakeWall) -> None:
    rig.ticks()
    wall.count(Reason.BANNED_SOURCE, 100, 6_000)
    wall.count(Reason.LANE_UDP, 10, 600)
    wall.count(Reason.PASS, 5, 300)
    rig.ticks(10)
    rates = rig.engine.traffic.rates("enforce")
    assert (rates["dropped_pps"], rates["would_drop_pps"], rates["passed_pps"]) == (10, 100, 105)
    totals = views.totals(wall.verdicts(), "enforce", wall.observed())
    assert (totals["dropped_packets"], totals["passed_packets"], totals["would_drop_packets"]) == (
        10,
        105,
        100,
    )
    assert {r: c.packets for r, c in observed.enforced(wall).items() if c.packets} == {
        Reason.LANE_UDP: 10,
        Reason.PASS: 105,
    }


def test_real_and_would_be_drops_are_rows_of_their_own() -> None:
    rows = views.verdicts(
        {"eth9": {Reason.BANNED_SOURCE: Count(30, 300)}},
        "enforce",
        {("eth9", Reason.BANNED_SOURCE): 7},
        {"eth9": {Reason.BANNED_SOURCE: Count(20, 200)}},
    )["verdicts"]
    assert [(row["action"], row["packets"], row["bytes"], row["pps"]) for row in rows] == [
        ("would_drop", 20, 200, 7),
        ("drop", 10, 100, 0),
    ]


def test_an_incident_keeps_what_would_have_been_dropped(rig: Rig, wall: FakeWall) -> None:
    watched = rig.engine.observed
    assert watched.during_incident(wall) is None, "it opened before this controller came"
    wall.count(Reason.BANNED_SOURCE, 100)
    watched.incident_opened(wall)
    wall.count(Reason.BANNED_SOURCE, 40)
    use = watched.during_incident(wall)
    assert use == ObservedUse(("bans.source",), 40, {"banned_source": 40}, 0, ())
    assert "40 packets passed" in use.sentence()
    assert "no source that is known to be good" in use.sentence()
    assert ObservedUse().sentence() == ""


def test_the_answer_lists_parts_of_before(rig: Rig, wall: FakeWall) -> None:
    wall.count(Reason.BANNED_SOURCE, 7, 70)
    answer = observed.result(wall.info, wall.observed(), [], rig.engine.observed)
    assert [(part["part"], part["observes"], part["packets"]) for part in answer["parts"]] == [
        ("bans.source", True, 7)
    ]
    over = replace(wall.info, observed=())
    answer = observed.result(over, {"eth9": {Reason.BANNED_SOURCE: Count(7, 70)}}, [])
    assert [(part["part"], part["observes"]) for part in answer["parts"]] == [("bans.source", False)]
    assert answer["good_source_count"] is None
