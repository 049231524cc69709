# SPDX-License-Identifier: Apache-2.0
"""The panic button: the same answers with no controller."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.control.conftest import Rig, prefix
from xdpwall.clock import ManualClock
from xdpwall.control import lock, offline
from xdpwall.dataplane.fake import FakeWall
from xdpwall.errors import InputError, NoControllerError, NotFoundError, NotLoadedError
from xdpwall.paths import Paths

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(paths: Paths, clock: ManualClock, wall: FakeWall) -> Iterator[Call]:
    def call(op: str, **args: Any) -> dict[str, Any]:
        return offline.call(paths, op, clock=clock, opener=lambda _: wall, **args)

    yield call


def test_a_ban_without_a_controller_is_taken_over_by_the_next(
    ask: Call, wall: FakeWall, make_rig: Callable[..., Rig]
) -> None:
    result = ask("ban.add", items=["203.0.113.9", "198.51.100.0/24"], for_ms=60_000, reason="by hand")
    assert result == {"added": 2, "updated": 0, "refused": [], "warnings": []}
    assert wall.bans.dropping(prefix("203.0.113.9"))
    assert ask("ban.test", prefix="198.51.100.7")["banned"]
    assert {row["reason"] for row in ask("ban.list")["bans"]} == {"by hand"}
    rig = make_rig()
    ban = rig.engine.book.get(prefix("203.0.113.9"))
    assert ban is not None
    assert (ban.reason, ban.origin) == ("by hand", "operator")
    assert not any(event == "adopt" for event, _ in rig.history())


def test_what_the_controller_knew_holds_without_it(ask: Call, make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(bans={"time": "7m", "min_prefix_v4": 20}, allow={"prefixes": ["192.0.2.0/24"]})
    rig.engine.close("test")
    assert rig.store.close()
    result = ask("ban.add", items=["203.0.113.9", "192.0.2.5", "203.0.0.0/16"])
    assert result["added"] == 1
    assert len(result["refused"]) == 2
    assert ask("ban.list")["bans"][0]["remaining_ms"] == 420_000
    assert ask("allow.del", prefixes=["192.0.2.0/24"])["refused"]
    assert ask("history", limit=1)["history"][0]["event"] == "ban"


def test_lift_and_flush(ask: Call, wall: FakeWall) -> None:
    ask("ban.add", items=["203.0.113.1", "203.0.113.2", "203.0.113.3"])
    assert ask("ban.del", prefixes=["203.0.113.1", "203.0.113.9"])["missing"] == ["203.0.113.9"]
    assert ask("ban.flush")["removed"] == 2
    assert len(wall.bans) == 0
    assert ask("ban.list") == {"bans": []}


def test_allow_without_a_controller(ask: Call, wall: FakeWall) -> None:
    ask("ban.add", items=["203.0.113.1"])
    assert ask("allow.add", prefixes=["203.0.113.0/24"], reason="us")["lifted"] == ["203.0.113.1"]
    assert list(wall.allow.entries()) == [prefix("203.0.113.0/24")]
    assert ask("ban.add", items=["203.0.113.1"])["refused"]
    assert ask("allow.list")["allow"][0]["reason"] == "us"
    assert ask("allow.del", prefixes=["203.0.113.0/24"])["removed"] == 1


def test_a_broken_database_does_not_stop_the_panic_button(ask: Call, paths: Paths, wall: FakeWall) -> None:
    paths.state.parent.mkdir(parents=True, exist_ok=True)
    paths.state.write_text("in the way")
    result = ask("ban.add", items=["203.0.113.1"])
    assert result["added"] == 1
    assert wall.bans.dropping(prefix("203.0.113.1"))
    assert any("not on record" in warning for warning in result["warnings"])
    assert ask("ban.list")["bans"][0]["origin"] == "kernel"
    assert ask("ban.test", prefix="203.0.113.1")["banned"]
    assert ask("ban.del", prefixes=["203.0.113.1"])["removed"] == 1
    with pytest.raises(NotFoundError):
        ask("history")


def test_status_says_that_nobody_watches(ask: Call, paths: Paths, wall: FakeWall) -> None:
    ask("ban.add", items=["203.0.113.1"])
    wall.vanish()
    status = ask("status")
    assert status["controller"] == {"running": False}
    assert status["state"] == "DEGRADED"
    assert status["bans"]["exact"] == 1
    assert "rates" not in status
    assert "no controller runs" in status["problems"][0]
    assert "missing" in status["problems"][1]
    assert ask("verdicts")["verdicts"] == []


def test_nothing_is_loaded(paths: Paths, clock: ManualClock) -> None:
    def refuse(_: Paths) -> FakeWall:
        raise NotLoadedError("no wall")

    for op, args in (("ban.add", {"items": ["203.0.113.1"]}), ("status", {}), ("ban.list", {})):
        with pytest.raises(NotLoadedError):
            offline.call(paths, op, clock=clock, opener=refuse, **args)
    result = offline.call(paths, "allow.add", clock=clock, opener=refuse, prefixes=["192.0.2.0/24"])
    assert result["added"] == 1
    assert "no wall is loaded" in result["warnings"][0]


def test_what_needs_a_controller_says_so(ask: Call) -> None:
    for op in ("sources", "reload", "ping"):
        with pytest.raises(NoControllerError):
            ask(op)
    with pytest.raises(InputError):
        ask("ban.add", items=[])


def test_a_controller_that_hangs_is_named(
    ask: Call, paths: Paths, wall: FakeWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "_PATIENCE_SECONDS", 0.1)
    with lock.hold(paths, "a controller"):
        with pytest.raises(NoControllerError, match=r"a controller \(pid \d+\) holds"):
            ask("ban.add", items=["203.0.113.1"])
        assert "holds this instance" in ask("status")["problems"][0]
        assert ask("ban.list") == {"bans": []}
    assert ask("ban.add", items=["203.0.113.1"])["added"] == 1


def test_one_holder_at_a_time(paths: Paths) -> None:
    assert lock.holder(paths) is None
    with lock.hold(paths, "first"):
        with pytest.raises(lock.LockedError, match="first"), lock.hold(paths, "second"):
            pass
        assert "first" in (lock.holder(paths) or "")
    with lock.hold(paths, "second"):
        pass
    assert paths.runtime.stat().st_mode & 0o777 == 0o700


def test_a_lock_dies_with_its_holder(paths: Paths) -> None:
    paths.runtime.mkdir(parents=True)
    code = (
        "import fcntl, os, sys, time\n"
        f"fd = os.open({str(paths.lock)!r}, os.O_CREAT | os.O_RDWR, 0o600)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert lock.holder(paths) is not None
    child.kill()
    child.wait()
    child.stdout.close()
    with lock.hold(paths, "next"):
        pass


def test_the_light_path_imports_nothing_heavy() -> None:
    code = (
        "import sys, xdpwall.control.client, xdpwall.control.offline\n"
        "print([m for m in ('numpy', 'pydantic', 'pyroute2', 'bcc', 'psutil', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
