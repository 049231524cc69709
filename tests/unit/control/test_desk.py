# SPDX-License-Identifier: Apache-2.0
"""What operators ask for, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.control.conftest import Rig, prefix
from xdpwall.clock import ManualClock
from xdpwall.control import views
from xdpwall.dataplane.fake import FakeWall, default_info
from xdpwall.errors import AddressError


def test_add_list_test_and_lift(rig: Rig, wall: FakeWall) -> None:
    result = rig.ban("203.0.113.9", "2001:db8::1", "198.51.100.0/24", for_ms=60_000, reason="scan")
    assert (result["added"], result["updated"], result["refused"]) == (3, 0, [])
    rows = {row["prefix"]: row for row in views.ban_results(wall, rig.engine.book, rig.clock.wall_ms())}
    assert set(rows) == {"203.0.113.9", "2001:db8::/64", "198.51.100.0/24"}
    assert rows["203.0.113.9"]["remaining_ms"] == 60_000
    assert rows["203.0.113.9"]["reason"] == "scan"
    desk = rig.engine.desk
    assert desk.ban_test("198.51.100.77")["banned"]
    assert desk.ban_test("2001:db8::ffff")["banned"]
    assert not desk.ban_test("203.0.113.10")["banned"]
    deleted, changes = desk.ban_del(["203.0.113.9", "203.0.113.10", "198.51.100.77"])
    rig.engine.commit(changes)
    assert deleted["removed"] == 1
    assert deleted["missing"] == ["203.0.113.10", "198.51.100.77"]
    assert deleted["covered_by"] == {"198.51.100.77": "198.51.100.0/24"}
    assert wall.bans.get(prefix("203.0.113.9")) is None


def test_an_operators_word_counts_even_when_shorter(rig: Rig, wall: FakeWall) -> None:
    rig.ban("203.0.113.9", for_ms=None)
    result = rig.ban("203.0.113.9", for_ms=1_000)
    assert (result["added"], result["updated"]) == (0, 1)
    held = wall.bans.get(prefix("203.0.113.9"))
    assert held is not None
    assert held.remaining_ms == 1_000


def test_an_item_may_have_its_own_time_and_reason(rig: Rig) -> None:
    items: list[dict[str, Any]] = [
        {"prefix": "203.0.113.1"},
        {"prefix": "203.0.113.2", "for_ms": None, "reason": "own"},
        {"prefix": "203.0.113.3", "for_ms": 5_000},
    ]
    rig.engine.desk.ban_add(items, defaults={"reason": "all"})
    bans = [rig.engine.book.get(prefix(item["prefix"])) for item in items]
    now = rig.clock.wall_ms()
    assert [ban and ban.remaining_ms(now) for ban in bans] == [rig.config.bans.time_ms, None, 5_000]
    assert [ban and ban.reason for ban in bans] == ["all", "own", "all"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.7", "it is 192.0.2.7, which is allowlisted in the configuration"),
        ("192.0.2.0/24", "it covers 192.0.2.7"),
        ("198.51.100.3", "it lies in 198.51.100.0/24, which is allowlisted by an operator"),
        ("10.0.0.1", "an address of this host"),
        ("10.0.0.0/24", "it covers 10.0.0.1"),
        ("11.0.0.0/7", "bits are set"),
        ("12.0.0.0/7", "too wide"),
        ("2000::/8", "too wide"),
        ("attacker.example.com", "not an IP address"),
    ],
)
def test_refusals_say_why(make_rig: Callable[..., Rig], text: str, words: str) -> None:
    rig = make_rig(allow={"prefixes": ["192.0.2.7"]})
    rig.engine.desk.allow_add(["198.51.100.0/24"], "")
    rig.engine.set_addresses([prefix("10.0.0.1")], [])
    result = rig.ban(text, "203.0.113.1")
    assert result["added"] == 1  # the good one is banned all the same
    assert len(result["refused"]) == 1
    assert result["refused"][0]["prefix"] == text
    assert words in result["refused"][0]["message"]


def test_allowing_lifts_what_lies_inside_and_wins_over_what_is_wider(rig: Rig, wall: FakeWall) -> None:
    rig.ban("198.51.100.5", "198.51.100.64/26", "198.51.0.0/16")
    result, changes = rig.engine.desk.allow_add(["198.51.100.0/24", "198.51.100.0/24"], "partner")
    rig.engine.commit(changes)
    assert result["added"] == 1
    assert set(result["lifted"]) == {"198.51.100.5", "198.51.100.64/26"}
    assert {ban.prefix for ban in wall.bans.entries()} == {prefix("198.51.0.0/16")}
    test = rig.engine.desk.ban_test("198.51.100.5")
    assert not test["banned"]
    assert test["ban"] is not None
    assert test["allowed_by"] == "198.51.100.0/24"
    again, _ = rig.engine.desk.allow_add(["198.51.100.0/24"], "")
    assert (again["added"], again["existing"]) == (0, 1)


def test_the_configs_allowlist_is_not_to_be_lifted_by_hand(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(allow={"prefixes": ["192.0.2.0/24"]})
    result, _ = rig.engine.desk.allow_del(["192.0.2.0/24", "192.0.2.0/25"])
    assert result["refused"][0]["prefix"] == "192.0.2.0/24"
    assert result["missing"] == ["192.0.2.0/25"]
    assert [row["origin"] for row in views.allow_list(rig.engine.guard)["allow"]] == ["config"]


def test_nothing_is_done_when_one_of_several_cannot_be_read(rig: Rig, wall: FakeWall) -> None:
    rig.ban("203.0.113.9")
    with pytest.raises(AddressError):
        rig.engine.desk.ban_del(["203.0.113.9", "nonsense"])
    assert wall.bans.get(prefix("203.0.113.9")) is not None


def test_flush_lifts_also_what_is_not_on_record(rig: Rig, wall: FakeWall) -> None:
    rig.ban("203.0.113.9")
    wall.bans.put(prefix("203.0.113.10"), None)
    result, changes = rig.engine.desk.ban_flush()
    rig.engine.commit(changes).result(10)
    assert result["removed"] == 2
    assert list(wall.bans.entries()) == []
    rig.ticks(10, each=lambda: wall.feed("203.0.113.9", 5_000, kind="udp"))
    assert rig.engine.book.get(prefix("203.0.113.9")) is not None  # detection knows that it is free again


def test_a_full_table_refuses_the_rest_by_name(make_rig: Callable[..., Rig], clock: ManualClock) -> None:
    rig = make_rig(started=False)
    rig.wall = FakeWall(clock, default_info(ban_capacity=3))
    rig.engine.start()
    result = rig.ban(*(f"203.0.113.{n}" for n in range(200)))
    assert result["added"] == 3
    assert len(result["refused"]) == 197
    assert "table of bans of single sources is full" in result["refused"][0]["message"]
    assert len(rig.engine.book) == 3


def test_a_lifted_source_starts_with_a_clean_sheet(rig: Rig, wall: FakeWall) -> None:
    def attack() -> None:
        wall.feed("203.0.113.9", 5_000, kind="udp")

    rig.ticks(10, each=attack)
    _, changes = rig.engine.desk.ban_del(["203.0.113.9"])
    rig.engine.commit(changes)
    rig.ticks(10, each=attack)
    ban = rig.engine.book.get(prefix("203.0.113.9"))
    assert ban is not None
    assert ban.strikes == 1
