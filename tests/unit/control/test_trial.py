# SPDX-License-Identifier: Apache-2.0
"""A configuration on trial, with no wall and no controller: the file, the way back, the deadline, who may do what."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from xdpwall.clock import ManualClock, this_boot
from xdpwall.config import Config
from xdpwall.control import apply, live, settings, trial, trial_watch
from xdpwall.control.health import Health
from xdpwall.control.trial import Trial
from xdpwall.control.trial_watch import TrialWatch
from xdpwall.errors import ConfigError, NotFoundError, RefusedError, XdpwallError
from xdpwall.paths import Paths

OLD, NEW = "[limits.source]\nsyn = 100 # was 50\n", "[limits.source]\nsyn = 70\n"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No wall and no controller; what would be asked of them is noted."""
    asked: list[str] = []
    monkeypatch.setattr(live, "stands_on", lambda _: [])

    def note(what: str, answer: bool) -> Callable[..., bool]:
        def ask(*_: object) -> bool:
            asked.append(what)
            return answer

        return ask

    monkeypatch.setattr(live, "load", note("load", True))
    monkeypatch.setattr(live, "reload", note("reload", False))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return asked


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "wall.toml"
    path.parent.mkdir()
    path.write_text(OLD)
    path.chmod(0o640)
    return path


def put(target: Path, text: str = NEW, confirm_ms: int | None = 60_000) -> apply.Done:
    change = apply.plan(target, text, "new.toml")
    return apply.put(Paths("t"), change, confirm_ms, lambda _, begun: f"watching {begun.instance}")


def let_it_pass(target: Path) -> None:
    """The deadline is over."""
    found = trial.read(target)
    assert found is not None
    trial.write(replace(found, deadline_ns=1))


def test_a_plan_says_what_differs_and_what_it_takes(target: Path) -> None:
    change = apply.plan(target, NEW + '[bans]\ntime = "5m"\n', "new.toml")
    assert [(d.key, d.old, d.new, d.effect) for d in change.differences] == [
        ("bans.time", "10m", "5m", "at once"),
        ("limits.source.syn", 100, 70, "program"),
    ]
    assert change.needs_load


def test_a_faulty_text_changes_nothing(target: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        put(target, "[limits.source]\nsyn = -1\nsin = 5\n")
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_confirmed_it_stays(target: Path) -> None:
    done = put(target)
    assert target.read_text() == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert done.kept is not None
    assert done.kept.read_text() == OLD
    assert done.watched == "watching t"
    assert apply.confirm(target).changed == ("limits.source.syn",)
    assert trial.read(target) is None
    assert target.read_text() == NEW
    with pytest.raises(NotFoundError) as caught:
        apply.confirm(target)
    assert done.kept.name in (caught.value.hint or "")


def test_rolled_back_it_is_as_before(target: Path, alone: list[str]) -> None:
    put(target)
    alone.clear()
    done = apply.roll_back(Paths("t"), target)
    assert done is not None
    assert done.kept is not None
    assert done.kept.read_text() == NEW
    assert target.read_text() == OLD
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert alone == ["reload", "load"]
    with pytest.raises(NotFoundError):
        apply.roll_back(Paths("t"), target)


def test_where_no_file_was_none_is_left(tmp_path: Path) -> None:
    target = tmp_path / "wall.toml"
    put(target)
    let_it_pass(target)
    assert settings.load_in_force(target) == Config()
    apply.roll_back(Paths("t"), target)
    assert not target.exists()


def test_an_edit_during_the_trial_is_kept_aside(target: Path) -> None:
    put(target)
    target.write_text("# by hand\n" + NEW)
    done = apply.roll_back(Paths("t"), target)
    assert done is not None
    assert done.kept is not None
    assert done.kept.read_text() == "# by hand\n" + NEW
    assert target.read_text() == OLD


def test_a_second_one_waits_for_the_first(target: Path) -> None:
    put(target)
    with pytest.raises(RefusedError, match="another configuration waits to be confirmed") as caught:
        put(target, NEW + "[bans]\ngrowth = 3.0\n")
    assert "config rollback" in (caught.value.hint or "")
    with pytest.raises(RefusedError):
        put(target, OLD, None)
    assert target.read_text() == NEW


def test_too_late_is_told(target: Path) -> None:
    put(target)
    let_it_pass(target)
    with pytest.raises(RefusedError, match="too late"):
        apply.confirm(target)
    assert trial.read(target) is not None  # whoever watches still has to go back
    with pytest.raises(RefusedError, match="its time was over"):
        put(target)


def test_another_boot_is_past_the_deadline(target: Path) -> None:
    put(target)
    found = trial.read(target)
    assert found is not None
    assert not found.is_due()
    assert found.is_due(lambda: ("another", this_boot()[1]))
    assert found.left_ms(lambda: (found.boot, found.deadline_ns - 5_000_000_000)) == 5_000
    trial.write(replace(found, boot="another"))
    assert settings.load_in_force(target).limits.source.syn == 100
    ended = apply.settle(target)
    assert ended is not None
    assert target.read_text() == OLD
    assert trial.read(target) is None


def test_who_is_not_root_reads_what_was_before(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(target)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    let_it_pass(target)
    assert apply.settle(target) is None
    assert target.read_text() == NEW
    assert settings.load_in_force(target).limits.source.syn == 100


def test_a_trial_that_runs_is_in_force(target: Path) -> None:
    put(target)
    assert settings.load_in_force(target).limits.source.syn == 70
    assert apply.settle(target) is None


def test_a_load_that_fails_undoes_it(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def fail_once(_: Paths, path: Path) -> bool:
        loads.append(path.read_text())
        if len(loads) == 1:
            raise XdpwallError("the program could not be swapped: no", hint="because")
        return True

    monkeypatch.setattr(live, "load", fail_once)
    with pytest.raises(XdpwallError, match="could not be swapped"):
        put(target)
    assert loads == [NEW, OLD]
    assert target.read_text() == OLD
    assert trial.read(target) is None


def test_nobody_watches_and_nothing_changes(target: Path) -> None:
    def nobody(*_: object) -> str:
        raise XdpwallError("nobody could be made to watch")

    change = apply.plan(target, NEW, "new.toml")
    with pytest.raises(XdpwallError, match="nobody"):
        apply.put(Paths("t"), change, 60_000, nobody)
    assert target.read_text() == OLD
    assert trial.read(target) is None


def test_an_applier_that_died_half_way(target: Path) -> None:
    """Nobody holds the lock, and the trial says that it is only being put in force."""
    put(target)
    found = trial.read(target)
    assert found is not None
    trial.write(replace(found, putting=True))
    with trial.held(target):
        assert trial_watch._end(Paths("t"), target, replace(found, putting=True)) is None
    assert target.read_text() == NEW
    done = trial_watch.wait(Paths("t"), target)
    assert done is not None
    assert target.read_text() == OLD


def test_the_watch_ends_with_the_trial(target: Path) -> None:
    put(target)
    apply.confirm(target)
    assert trial_watch.wait(Paths("t"), target) is None
    assert not trial_watch.is_watched(target)
    assert sorted(p.name for p in target.parent.iterdir() if p.name.startswith(".")) == []


def test_no_way_back_to_a_faulty_file(target: Path) -> None:
    target.write_text("[limits.source]\nsyn = 'many'\n")
    with pytest.raises(RefusedError, match="no way back"):
        put(target)
    done = put(target, NEW, None)
    assert done.trial is None
    assert target.read_text() == NEW


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"schema": 1}', '{"schema": 2}', "\0\0", '{"schema": 1, "target": "/etc/passwd"}'],
)
def test_what_is_no_trial_stops_nobody(target: Path, text: str) -> None:
    trial.place(target).write_text(text)
    with pytest.raises(XdpwallError, match="not what"):
        trial.read(target)
    assert settings.load_in_force(target).limits.source.syn == 100


def test_a_trial_of_another_file_or_folder_is_refused(target: Path) -> None:
    put(target)
    found = trial.read(target)
    assert found is not None
    for changed in ({"target": str(target.with_name("other.toml"))}, {"kept": "../../shadow"}):
        wrong: Trial = replace(found, **changed)  # type: ignore[arg-type]
        trial.write(replace(wrong, target=str(target)) if "kept" in changed else wrong)
        if "target" in changed:
            trial.place(Path(wrong.target)).rename(trial.place(target))
        with pytest.raises(XdpwallError, match="not what"):
            trial.read(target)


def test_what_others_may_write_is_not_believed(target: Path) -> None:
    put(target)
    trial.place(target).chmod(0o666)
    with pytest.raises(XdpwallError, match="others than root"):
        trial.read(target)
    trial.place(target).unlink()
    trial.place(target).symlink_to("/etc/hostname")
    with pytest.raises(XdpwallError, match="not what"):
        trial.read(target)


class Helper:
    """Stands for the controller's process: counts reloads and processes started."""

    def __init__(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.health = ManualClock(), Health()
        self.reloads = self.started = 0
        self.watch = TrialWatch(Paths("t"), target, self.clock, self.health, self.reload)
        monkeypatch.setattr(self.watch, "_start_helper", self.start)

    def reload(self) -> None:
        self.reloads += 1

    def start(self) -> None:
        self.started += 1

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance_ms(1_000)
            self.watch.second()


def test_the_controller_says_that_a_trial_is_on(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = Helper(target, monkeypatch)
    helper.seconds(2)
    assert helper.health.problems == []
    put(target)
    helper.seconds(30)
    assert "config confirm" in helper.health.problems[0]
    apply.confirm(target)
    helper.seconds(1)
    assert helper.health.problems == []
    assert (helper.started, helper.reloads) == (0, 0)


def test_the_controller_goes_back_when_nobody_else_does(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = Helper(target, monkeypatch)
    put(target)
    let_it_pass(target)
    helper.seconds(3)
    assert helper.started == 0  # whoever watches has a moment to do so
    helper.seconds(2)
    assert helper.started == 1
    helper.seconds(10)
    assert helper.started == 1
    helper.seconds(10)
    assert helper.started == 2


def test_a_controller_without_rights_goes_back_in_itself(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = Helper(target, monkeypatch)
    put(target)
    let_it_pass(target)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = trial.read(target)
    monkeypatch.setattr(trial, "read", lambda _: found)
    helper.seconds(60)
    assert helper.reloads == 1
    assert helper.started == 0
    assert "must be put back by root" in helper.health.problems[0]
