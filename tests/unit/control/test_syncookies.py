# SPDX-License-Identifier: Apache-2.0
"""SYN cookies on and off, and kernel settings as they were, whatever comes in between."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control.database import Changes
from xdpwall.control.health import Health
from xdpwall.control.syncookies import CALM_NS, COOKIES, SETTLE_NS, TIMESTAMPS, SynCookies
from xdpwall.control.sysctl import Change, Memory, Sysctls, put_back
from xdpwall.control.views import Counts
from xdpwall.dataplane.fake import FakeWall, default_info
from xdpwall.dataplane.interface import Count
from xdpwall.reasons import Reason

SECOND = 1_000_000_000


class Host:
    """A kernel's settings, a wall, and controllers that come and go."""

    def __init__(self, folder: Path, clock: ManualClock, **config: Any) -> None:
        self.clock = clock
        self.proc = folder / "sys" / "net" / "ipv4"
        self.proc.mkdir(parents=True)
        self.put(1, 1)
        self.memory = Memory(folder / "state", boot_id="boot", namespace=7)
        self.wall = FakeWall(clock)
        self.wall.cookies_possible = True
        self.health = Health()
        self.told: list[str] = []
        self.slept: list[float] = []
        self.config = Config.from_mapping(config)
        self.seen = 0
        self.cookies = self.start()

    def put(self, cookies: int, stamps: int) -> None:
        """Somebody sets them."""
        (self.proc / "tcp_syncookies").write_text(f"{cookies}\n")
        (self.proc / "tcp_timestamps").write_text(f"{stamps}\n")

    @property
    def settings(self) -> tuple[int, int]:
        """Cookies and timestamps."""
        return int((self.proc / "tcp_syncookies").read_text()), int(
            (self.proc / "tcp_timestamps").read_text()
        )

    def sending(self) -> bool:
        """Whether the wall sends cookies."""
        return self.wall.cookies

    def start(self) -> SynCookies:
        """A controller starts."""
        self.cookies = SynCookies(
            self.config,
            self.clock,
            self.health,
            record=self._take,
            memory=self.memory,
            sysctls=Sysctls(self.proc.parents[1]),
            sleep=self.slept.append,
        )
        self.cookies.start(self.wall)
        self.cookies.step(self.wall, self.counts())
        return self.cookies

    def counts(self) -> Counts:
        """Totals of the wall."""
        return {
            "eth9": {Reason.LANE_SYN: Count(self.seen, self.seen * 60), Reason.PASS: Count(5, 300)},
            "eth8": {Reason.COOKIE_SENT: Count(3, 180)},
        }

    def attack(self) -> None:
        """Some requests over budget, and the tick that sees them."""
        self.seen += 10
        self.cookies.step(self.wall, self.counts())

    def pass_time(self, nanoseconds: int) -> None:
        """Seconds go by."""
        for _ in range(nanoseconds // SECOND):
            self.clock.advance_ms(1_000)
            self.cookies.step(self.wall, self.counts())
            self.cookies.second(self.wall)

    def _take(self, changes: Changes) -> None:
        self.told += [event.detail for event in changes.events]


@pytest.fixture
def host(tmp_path: Path, clock: ManualClock) -> Host:
    return Host(tmp_path, clock)


def test_nothing_is_touched_in_quiet(host: Host) -> None:
    host.pass_time(60 * SECOND)
    assert host.settings == (1, 1)
    assert not host.sending()
    assert not host.memory.place.exists()
    assert host.told == []


def test_on_over_budget_and_off_when_calm(host: Host) -> None:
    host.attack()
    assert host.sending()
    assert host.settings == (2, 2)
    assert host.memory.read() == {COOKIES: Change(1, 2), TIMESTAMPS: Change(1, 2)}
    assert stat.S_IMODE(host.memory.place.stat().st_mode) == 0o600
    assert host.told == [f"on: {COOKIES} 1 -> 2, {TIMESTAMPS} 1 -> 2"]
    host.pass_time(CALM_NS - SECOND)
    assert host.cookies.on
    host.attack()
    host.pass_time(CALM_NS - SECOND)
    assert host.cookies.on
    host.pass_time(2 * SECOND)
    assert not host.sending()
    assert host.settings == (1, 2)  # acknowledgements of the last cookies may still come
    host.pass_time(SETTLE_NS)
    assert host.settings == (1, 1)
    assert not host.memory.place.exists()
    assert host.told[1:] == ["off: calm"]
    host.attack()
    assert host.settings == (2, 2)


def test_an_attack_while_it_ends(host: Host) -> None:
    host.put(0, 1)
    host.attack()
    host.pass_time(CALM_NS)
    assert host.settings == (1, 2)
    host.attack()
    assert host.sending()
    assert host.settings == (2, 2)
    host.pass_time(CALM_NS + SETTLE_NS + SECOND)
    assert host.settings == (0, 1)


@pytest.mark.parametrize(("before", "during"), [((2, 2), (2, 2)), ((1, 0), (2, 0)), ((0, 1), (2, 2))])
def test_what_stood_before_comes_back(host: Host, before: tuple[int, int], during: tuple[int, int]) -> None:
    host.put(*before)
    host.attack()
    assert host.settings == during
    host.cookies.close(host.wall)
    assert host.settings == before
    assert len(host.slept) == 1


def test_a_stop_in_quiet_waits_for_nothing(host: Host) -> None:
    host.cookies.close(host.wall)
    assert host.slept == []


def test_a_killed_controller_is_followed_by_the_next(host: Host) -> None:
    host.attack()
    host.start()
    assert host.cookies.on
    assert host.settings == (2, 2)
    host.pass_time(CALM_NS + SETTLE_NS + SECOND)
    assert host.settings == (1, 1)
    host.attack()
    host.wall.cookies = False  # killed between the two, or the wall was loaded anew
    host.start()
    host.pass_time(SETTLE_NS + SECOND)
    assert host.settings == (1, 1)


def test_a_note_of_an_earlier_boot_is_void(host: Host) -> None:
    Memory(host.memory.place.parent, boot_id="earlier", namespace=7).write({COOKIES: Change(0, 1)})
    host.start()
    assert host.settings == (1, 1)
    assert not host.memory.place.exists()


def test_a_note_that_cannot_be_read_is_told(host: Host) -> None:
    host.memory.place.parent.mkdir(exist_ok=True)
    host.memory.place.write_text('{"schema": 1, "boot_id": "boot", "changes": {"x": 1}}')
    host.start()
    assert "sysctl net.ipv4.tcp_syncookies" in host.health.problems[0]


def test_another_namespace_is_another_note(host: Host) -> None:
    other = Memory(host.memory.place.parent, boot_id="boot", namespace=8)
    other.write({COOKIES: Change(1, 2)})
    assert host.memory.read() is None
    assert host.memory.elsewhere() == [other.place]


def test_somebody_else_sets_them_meanwhile(host: Host) -> None:
    host.attack()
    host.put(0, 1)
    host.pass_time(SECOND)
    assert host.settings == (2, 2)
    host.cookies.close(host.wall)
    assert host.settings == (0, 1)


def test_another_wall_had_them_first(host: Host) -> None:
    host.put(2, 2)
    host.attack()
    host.put(1, 1)  # that one has ended
    host.pass_time(SECOND)
    assert host.settings == (2, 2)
    host.cookies.close(host.wall)
    assert host.settings == (1, 1)


def test_a_quarrel_is_given_up(host: Host) -> None:
    host.attack()
    for _ in range(4):
        host.put(0, 2)
        host.pass_time(SECOND)
    assert not host.sending()
    assert "again and again" in host.health.problems[0]
    host.pass_time(SETTLE_NS + SECOND)
    assert host.settings[0] == 0


def test_what_is_no_longer_ours_stays(tmp_path: Path) -> None:
    place = tmp_path / "net" / "ipv4" / "tcp_syncookies"
    place.parent.mkdir(parents=True)
    place.write_text("0\n")
    result = put_back(Sysctls(tmp_path), {COOKIES: Change(1, 2)})
    assert (result.kept, place.read_text()) == ([COOKIES], "0\n")


def test_the_wall_is_unloaded_under_it(host: Host) -> None:
    host.attack()
    host.cookies.second(None)
    host.pass_time(SETTLE_NS + SECOND)
    assert host.settings == (1, 1)


def test_the_wall_is_loaded_anew_under_it(host: Host) -> None:
    host.attack()
    host.wall.cookies = False
    host.seen = 0
    host.pass_time(SECOND)
    assert host.sending()


@pytest.mark.parametrize("how", ["config", "observe", "kernel"])
def test_where_cookies_are_not_wanted(tmp_path: Path, clock: ManualClock, how: str) -> None:
    host = Host(tmp_path, clock, **({"syncookies": {"enabled": False}} if how == "config" else {}))
    if how == "observe":
        host.wall.info = default_info(policy="observe")
    host.wall.cookies_possible = how != "kernel"
    host.attack()
    assert host.settings == (1, 1)
    assert not host.sending()
    assert host.health.problems == []


def test_turned_off_while_on(host: Host) -> None:
    host.attack()
    host.cookies.configure(Config.from_mapping({"syncookies": {"enabled": False}}))
    host.pass_time(SETTLE_NS + 2 * SECOND)
    assert host.settings == (1, 1)


def test_time_stamps_are_left_alone_when_asked(tmp_path: Path, clock: ManualClock) -> None:
    host = Host(tmp_path, clock, syncookies={"timestamps": False})
    host.attack()
    assert host.settings == (2, 1)


def test_a_setting_that_is_not_there(host: Host) -> None:
    (host.proc / "tcp_syncookies").unlink()
    host.attack()
    assert not host.sending()
    assert "no SYN cookies" in host.health.problems[0]


def test_a_setting_that_cannot_be_set(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Sysctls, name: str, value: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Sysctls, "write", refuse)
    host.attack()
    assert not host.sending()
    assert "cannot be set: Permission denied" in host.health.problems[0]
    assert not host.memory.place.exists()
    monkeypatch.undo()
    host.attack()
    assert not host.sending()  # not tried again at once
    host.pass_time(CALM_NS)
    assert host.health.problems == []  # told while it matters
    host.pass_time(61 * SECOND)
    host.attack()
    assert host.sending()
    assert host.health.problems == []
