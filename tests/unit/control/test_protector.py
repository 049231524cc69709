# SPDX-License-Identifier: Apache-2.0
"""The keeper of protected addresses, in a controller on a wall in memory, and without one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.control.conftest import Rig, config
from xdpwall.clock import ManualClock
from xdpwall.control import offline, protect, views
from xdpwall.control.admin_sessions import Announced
from xdpwall.control.protect import Evidence, Wanted
from xdpwall.control.protection import Found, Kind
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.keys import source_key
from xdpwall.errors import ProtectedError
from xdpwall.model import Ban, Origin, Prefix
from xdpwall.paths import Paths

ADMIN = Prefix.parse("198.51.100.7")
SESSION = "198.51.100.7 50000 192.0.2.1 22"
GRACE_S = 900


def prefix(text: str) -> Prefix:
    return Prefix.parse(text)


def found(text: str, kind: Kind = Kind.ADMIN) -> Found:
    return Found(prefix(text), kind, f"the {kind.value} of a test", "a test")


@dataclass
class World:
    """What a look finds, and how often somebody looked."""

    found: list[Found] = field(default_factory=list)
    alive: bool = False
    wanted: list[Wanted] = field(default_factory=list)

    def collect(self, wanted: Wanted) -> Evidence:
        self.wanted.append(wanted)
        alive = frozenset(s.flow for s in wanted.announced) if self.alive else frozenset()
        pieces = [p for p in self.found if not any(wide.contains(p.prefix) for wide in wanted.never)]
        if not wanted.admins:
            pieces = [p for p in pieces if p.kind is not Kind.ADMIN]
        pieces += [Found(Prefix(flow.peer, 32), Kind.ADMIN, "said so", "SSH_CONNECTION") for flow in alive]
        return Evidence(pieces, ["a test"], [], alive)


Guarded = Callable[..., tuple[Rig, World]]


@pytest.fixture
def guarded(make_rig: Callable[..., Rig]) -> Guarded:
    def make(*pieces: Found, **sections: Any) -> tuple[Rig, World]:
        rig = make_rig(started=False, **sections)
        world = World(list(pieces))
        rig.engine.protector.collect = world.collect
        rig.engine.protector._submit = at_once
        rig.engine.start()
        return rig, world

    return make


def at_once(work: Callable[[], Evidence]) -> Future[Evidence]:
    future: Future[Evidence] = Future()
    future.set_result(work())
    return future


def seconds(rig: Rig, count: int) -> None:
    for _ in range(count):
        rig.clock.advance_ms(1_000)
        rig.engine.second()


def shown(rig: Rig) -> dict[str, str]:
    return {str(p): entry.kind.value for p, entry in rig.engine.guard.protected.items()}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("target", ["198.51.100.7", "198.51.100.0/24", "198.0.0.0/8"])
def test_no_kind_can_be_banned(guarded: Guarded, kind: Kind, target: str) -> None:
    rig, _ = guarded(found("198.51.100.7", kind))
    result = rig.ban(target)
    assert result["added"] == 0
    assert "198.51.100.7" in result["refused"][0]["message"]
    assert f"the {kind.value} of a test" in result["refused"][0]["message"]
    assert rig.wall is not None
    assert not len(rig.wall.bans)


@pytest.mark.parametrize("target", ["2001:db8:0:7::/64", "2001:db8::/32", "2001:db8:0:7::1"])
def test_the_64_of_a_host_is_the_host(guarded: Guarded, target: str) -> None:
    rig, _ = guarded(found("2001:db8:0:7::1"))
    assert rig.ban(target)["refused"]
    assert rig.ban("2001:db8:0:8::/64")["added"] == 1


def test_a_login_lifts_the_ban_on_its_address(guarded: Guarded, wall: FakeWall) -> None:
    rig, world = guarded()
    rig.ban("198.51.100.7", "198.51.100.8")
    world.found = [found("198.51.100.7")]
    seconds(rig, 6)
    assert {str(ban.prefix) for ban in wall.bans.entries()} == {"198.51.100.8"}
    assert rig.engine.book.get(ADMIN) is None
    rig.settle()
    assert ("unban", "198.51.100.7") in rig.history()
    assert ("protect", "198.51.100.7") in rig.history()


def test_a_login_cuts_a_wide_ban(guarded: Guarded, wall: FakeWall) -> None:
    rig, world = guarded()
    rig.ban("198.51.100.0/24", "198.51.0.0/16", reason="a botnet")
    world.found = [found("198.51.100.7")]
    seconds(rig, 6)
    bans = {ban.prefix: ban for ban in rig.engine.book.bans()}
    assert {held.prefix for held in wall.bans.entries()} == set(bans)
    assert not any(p.contains(ADMIN) for p in bans)
    covered = sum(1 << 32 - p.length for p in bans if prefix("198.51.100.0/24").contains(p))
    assert covered == 255  # each other address of the /24 is banned as before
    assert sum(1 << 32 - p.length for p in bans) == 65_535
    assert {ban.reason for ban in bans.values()} == {"a botnet"}
    assert {ban.origin for ban in bans.values()} == {Origin.OPERATOR}
    rig.settle()
    assert ("cut", "198.51.100.0/24") in rig.history()
    assert ("cut", "198.51.0.0/16") in rig.history()


def test_what_is_on_record_is_cut_at_start(guarded: Guarded, wall: FakeWall, clock: ManualClock) -> None:
    rig, _ = guarded()
    rig.ban("2001:db8::/48")
    rig.engine.close("over")
    rig, _ = guarded(found("2001:db8:0:7::1"))
    assert len(list(wall.bans.entries())) == 16
    assert not any(ban.prefix.contains(prefix("2001:db8:0:7::/64")) for ban in wall.bans.entries())


def test_after_the_last_session_a_while_is_left(guarded: Guarded) -> None:
    rig, world = guarded(found("198.51.100.7"))
    world.found = []
    seconds(rig, 6)
    until = rig.engine.guard.protected[ADMIN].until_ms
    assert until is not None
    assert abs(until - rig.clock.wall_ms() - GRACE_S * 1000) <= 6_000
    seconds(rig, 600)
    assert rig.ban("198.51.100.7")["refused"]
    seconds(rig, 310)
    assert rig.ban("198.51.100.7")["added"] == 1
    rig.settle()
    assert ("unprotect", "198.51.100.7") in rig.history()


def test_over_a_restart(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"))
    rig.engine.close("upgrade")
    rig, _ = guarded()
    assert rig.engine.guard.protected[ADMIN].until_ms == rig.clock.wall_ms() + GRACE_S * 1000
    assert rig.ban("198.51.100.7")["refused"]


def test_the_wall_is_told_of_them_again_and_again(guarded: Guarded, wall: FakeWall) -> None:
    rig, world = guarded(
        found("198.51.100.7"), found("2001:db8:0:7::1", Kind.GATEWAY), found("192.0.2.1", Kind.OWN)
    )
    seconds(rig, 1)
    expected = {source_key(ADMIN), source_key(prefix("2001:db8:0:7::/64"))}
    assert wall.vouched == expected
    wall.vouched = set()
    seconds(rig, 1)
    assert wall.vouched == expected
    world.found = world.found[1:]
    seconds(rig, GRACE_S + 10)
    assert wall.vouched == {source_key(prefix("2001:db8:0:7::/64"))}


def test_root_says_from_where_he_comes(guarded: Guarded, wall: FakeWall) -> None:
    rig, world = guarded()
    rig.ban("198.51.100.7")
    assert rig.engine.protector.announce(SESSION, rig.engine.wall)
    assert not len(wall.bans)
    assert rig.ban("198.51.100.7")["refused"]
    world.alive = True
    seconds(rig, 2)
    assert rig.engine.guard.protected[ADMIN].until_ms is None
    seconds(rig, GRACE_S + 60)  # as long as the connection stands
    assert rig.ban("198.51.100.7")["refused"]
    world.alive = False
    seconds(rig, 12)
    assert world.wanted[-1].announced == ()
    seconds(rig, GRACE_S + 10)
    assert rig.ban("198.51.100.7")["added"] == 1


def test_a_session_that_is_never_seen_gets_the_grace_time(guarded: Guarded) -> None:
    rig, _ = guarded()
    rig.engine.protector.announce(SESSION, rig.engine.wall)
    seconds(rig, GRACE_S - 10)
    assert rig.ban("198.51.100.7")["refused"]
    rig.engine.protector.announce(SESSION, rig.engine.wall)  # he is back
    seconds(rig, 100)
    assert rig.ban("198.51.100.7")["refused"]
    seconds(rig, GRACE_S)
    assert rig.ban("198.51.100.7")["added"] == 1


def test_announcements_are_bounded(guarded: Guarded) -> None:
    rig, world = guarded()
    for port in range(1, 200):
        rig.engine.protector.announce(f"198.51.100.7 {port} 192.0.2.1 22", None)
    seconds(rig, 6)
    assert len(world.wanted[-1].announced) == 64
    assert not rig.engine.protector.announce("rubbish", None)


def test_whom_the_config_never_protects(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"), protect={"never": ["198.51.100.0/28"]})
    rig.engine.protector.announce(SESSION, rig.engine.wall)
    assert shown(rig) == {}
    assert rig.ban("198.51.100.7")["added"] == 1


def test_switched_off(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"), protect={"admins": False})
    assert not rig.engine.protector.announce(SESSION, rig.engine.wall)
    assert shown(rig) == {}


def test_a_reload_takes_an_intruder_out(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"))
    rig.engine.configure(config(protect={"never": ["198.51.100.7"]}))
    assert rig.ban("198.51.100.7")["added"] == 1
    seconds(rig, 6)
    assert rig.engine.book.get(ADMIN) is not None


def test_netlink_counts_at_once(guarded: Guarded, wall: FakeWall) -> None:
    rig, _ = guarded()
    rig.ban("192.0.2.254")
    rig.engine.set_addresses([prefix("192.0.2.1")], ["192.0.2.254", "fe80::1"])
    assert shown(rig) == {"192.0.2.1": "own", "192.0.2.254": "gateway", "fe80::1": "gateway"}
    assert not len(wall.bans)


def test_without_a_controller(
    guarded: Guarded, paths: Paths, wall: FakeWall, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, world = guarded(found("198.51.100.7"), found("198.51.100.8"))
    world.found = [found("198.51.100.7")]
    seconds(rig, 6)
    rig.settle()
    rig.engine.close("killed")
    rig.store.close()
    monkeypatch.setattr(offline, "ssh_connection", lambda: "198.51.100.9 5 192.0.2.1 22")
    now = World([found("192.0.2.53", Kind.RESOLVER)])
    monkeypatch.setattr(protect, "collect", now.collect)

    def call(op: str, **args: Any) -> dict[str, Any]:
        return offline.call(paths, op, clock=clock, opener=lambda _: wall, **args)

    result = call("allow.list")
    assert {row["prefix"]: row["kind"] for row in result["protected"]} == {
        "192.0.2.53": "resolver",
        "198.51.100.8": "admin",  # in his grace time; whoever was logged in would be found again
        "198.51.100.9": "admin",
    }
    for target in ("192.0.2.53", "198.51.100.8", "198.51.100.9"):
        assert call("ban.add", items=[{"prefix": target}])["refused"]
    assert call("ban.add", items=[{"prefix": "198.51.100.7"}])["added"] == 1


def test_the_listing(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"), found("192.0.2.254", Kind.GATEWAY))
    evidence = rig.engine.protector.evidence
    result = views.allow_list(rig.engine.guard, evidence.used, evidence.lost)
    assert [row["prefix"] for row in result["protected"]] == ["192.0.2.254", "198.51.100.7"]
    assert result["evidence"] == ["a test"]
    assert result["protected"][1]["since_ms"] == rig.clock.wall_ms()


def test_words_for_the_operator(guarded: Guarded) -> None:
    rig, _ = guarded(found("198.51.100.7"), found("192.0.2.254", Kind.GATEWAY))
    with pytest.raises(ProtectedError) as raised:
        rig.engine.guard.check(prefix("198.51.100.7"))
    assert "protect.never" in str(raised.value.hint)
    with pytest.raises(ProtectedError) as raised:
        rig.engine.guard.check(prefix("198.51.100.0/24"))
    assert "around it" in str(raised.value.hint)
    assert raised.value.exit_code == 5


def test_parsing_keeps_bans_apart() -> None:
    ban = Ban(prefix("198.51.100.0/24"), 0, None)
    assert ban.prefix.without(prefix("203.0.113.1")) == [ban.prefix]
    assert ban.prefix.without(prefix("198.51.0.0/16")) == []
    assert Announced.parse(SESSION) is not None
