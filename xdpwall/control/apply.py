# SPDX-License-Identifier: Apache-2.0
"""Puts another configuration in force, and goes back: the file, the loaded program, the controller.

The order is what makes a crash harmless at every step: the way back is on disk, and somebody watches the deadline,
before the first thing changes; going back can be done twice; the trial is forgotten last of all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdpwall import config_edit
from xdpwall.clock import this_boot
from xdpwall.control import live, trial
from xdpwall.control.trial import Trial
from xdpwall.errors import (
    ConfigError,
    InputError,
    NotFoundError,
    RefusedError,
    XdpwallError,
)
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.config import Config


@dataclass(frozen=True, slots=True)
class Difference:
    """One key. ``effect``: ``at once``, or ``program``: with a new program, which is swapped in without a gap."""

    key: str
    old: Any
    new: Any
    effect: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a file would do. ``before`` and ``after`` are texts; ``before`` is None where no file is yet.

    ``faulty``: the file in place has faults, so its values are not known (the defaults stand for them), and there is no
    going back to it.
    """

    target: Path
    before: str | None
    after: str
    config: Config
    differences: tuple[Difference, ...]
    faulty: bool = False

    @property
    def needs_load(self) -> bool:
        """Whether the program must be compiled anew."""
        return any(entry.effect == "program" for entry in self.differences)


@dataclass(slots=True)
class Done:
    """What was done.

    Args:
        kept: the copy of what was there.
        loaded: the program was swapped. ``reloaded``: a controller has taken the file over.
        trial: the trial that was begun or ended.
        watched: who waits for the deadline.
        notes: what else people should know.
    """

    kept: Path | None = None
    loaded: bool = False
    reloaded: bool = False
    trial: Trial | None = None
    watched: str | None = None
    notes: list[str] = field(default_factory=list)


def plan(target: Path, text: str, name: str) -> Plan:
    """Check a new text whole, and say how it differs from the file in place.

    Args:
        target: the file in place.
        text: the new one.
        name: what that one is called in errors.

    Raises:
        ConfigError: the new text has faults.
    """
    from xdpwall.config import Config  # noqa: PLC0415  (brings pydantic)
    from xdpwall.control.settings import differences  # noqa: PLC0415

    new = Config.parse(text, name)
    faulty = False
    try:
        before = config_edit.read_text(target)
        old = Config() if before is None else Config.parse(before, str(target))
    except (ConfigError, UnicodeDecodeError):
        old, faulty = Config(), True
        before = target.read_bytes().decode("utf-8-sig", "replace")
    changed, needs_load = differences(old, new)
    rows = tuple(
        Difference(key, _value(old, key), _value(new, key), "program" if key in needs_load else "at once")
        for key in changed
    )
    return Plan(target, before, text, new, rows, faulty)


def put(
    paths: Paths, change: Plan, confirm_ms: int | None, watch: Callable[[Paths, Trial], str] | None = None
) -> Done:
    """Put it in force. When that fails half-way, what was there is put back, and the error raised.

    Args:
        paths: the instance.
        change: from :func:`plan`.
        confirm_ms: it is gone again after this time unless it is confirmed; None: it stays.
        watch: starts who waits for the deadline and gives what it is; only asked with ``confirm_ms``.

    Raises:
        RefusedError: another one is on trial; or there is no way back to what is in place.
        XdpwallError: it could not be put in force; nothing has changed.
    """
    with trial.held(change.target), live.undisturbed():
        refuse_second(change.target)
        if confirm_ms is not None and change.faulty:
            raise RefusedError(
                f"{change.target} has faults: there would be no way back to it",
                hint="`xdpwall config check` names them; without --confirm it is replaced all the same",
            )
        done = Done()
        if change.before is not None:
            done.kept = config_edit.keep_copy(change.target)
        if confirm_ms is not None:
            assert watch is not None
            done.trial = _begin(paths, change, confirm_ms, done.kept)
            try:
                done.watched = watch(paths, done.trial)
            except BaseException:
                trial.remove(change.target)
                raise
        try:
            _replace(change.target, change.before, change.after, keep=False)
            done.loaded = change.needs_load and live.load(paths, change.target)
            done.reloaded = live.reload(paths)
            if done.trial is not None:
                assert confirm_ms is not None
                done.trial = _with_deadline(done.trial, confirm_ms)
        except XdpwallError as error:
            _undo(paths, change, error)
            trial.remove(change.target)
            raise
    return done


def confirm(target: Path) -> Trial:
    """What is on trial stays.

    Raises:
        NotFoundError: nothing is on trial.
        RefusedError: its time is over.
    """
    with trial.held(target):
        found = _on_trial(target)
        if found.is_due():
            raise RefusedError(
                f"too late: the time to confirm was over at {found.until}, and what was there before is put back",
                hint="apply it again",
            )
        trial.remove(target)
    return found


def roll_back(paths: Paths, target: Path, *, only_due: bool = False) -> Done | None:
    """Go back to what was in force before the trial. Gives None when there is nothing to do.

    Args:
        paths: the instance.
        target: the configuration file.
        only_due: only if its time is over; for who waits for the deadline.

    Raises:
        NotFoundError: nothing is on trial (not with ``only_due``).
        XdpwallError: it could not be done wholly; it can be tried again.
    """
    with trial.held(target), live.undisturbed():
        found = trial.read(target)
        if only_due and (found is None or not (found.is_due() or found.putting)):
            return None
        found = _on_trial(target)
        done = Done(trial=found, kept=restore(found))
        done.reloaded = live.reload(paths)  # takes no time; compiling does
        if found.needs_load:
            done.loaded = live.load(paths, target)
            done.notes += live.stand_only_on(paths, found.interfaces)
        trial.remove(target)
    return done


def restore(found: Trial) -> Path | None:
    """Put the file back that was there before a trial. Gives the copy of the one that was on trial.

    Raises:
        XdpwallError: the copy is gone, or the file cannot be written.
    """
    target = Path(found.target)
    now = config_edit.read_text(target)
    kept = found.kept_path
    if kept is None:
        copy = config_edit.keep_copy(target) if now is not None else None
        target.unlink(missing_ok=True)
        return copy
    try:
        old = config_edit.read_text(kept)
    except (OSError, UnicodeDecodeError) as error:
        raise XdpwallError(f"{kept}: the copy of what was there cannot be read: {error}") from None
    if old is None:
        raise XdpwallError(
            f"{kept}: the copy of what was there is gone",
            hint="put another in place: xdpwall config apply FILE",
        )
    return _replace(target, now, old) if now != old else None


def settle(target: Path) -> Trial | None:
    """For who is about to read the file: after a trial that nobody confirmed, put back what was there before.

    Gives the trial that was ended. Only where we may write; who may not reads :func:`xdpwall.control.trial.in_force`.

    Raises:
        XdpwallError: what was there cannot be put back.
    """
    found = trial.read(target)
    if found is None or not found.is_due() or os.geteuid() != 0:
        return None
    try:
        with trial.held(target, wait_seconds=0):
            found = trial.read(target)
            if found is None or not found.is_due():
                return None
            restore(found)
            trial.remove(target)
    except trial.BusyError:
        return None  # somebody is at it: perhaps the one who started us
    return found


def refuse_second(target: Path) -> None:
    """Do nothing, unless a trial is on.

    Raises:
        RefusedError: a configuration is on trial, and the file is not to be changed meanwhile.
    """
    found = trial.read(target)
    if found is None:
        return
    seconds = -(-found.left_ms() // 1000)
    when = f"until {found.until}, {seconds} s from now" if seconds else f"its time was over at {found.until}"
    raise RefusedError(
        f"{target}: another configuration waits to be confirmed ({when})",
        hint="`xdpwall config confirm` keeps it, `xdpwall config rollback` ends it at once",
    )


def _begin(paths: Paths, change: Plan, confirm_ms: int, kept: Path | None) -> Trial:
    import hashlib  # noqa: PLC0415  (brings OpenSSL, and the controller imports this module)

    begun = Trial(
        instance=paths.instance,
        target=str(change.target),
        kept=None if kept is None else kept.name,
        digest=hashlib.sha256(change.after.encode()).hexdigest(),
        until_ms=0,
        boot="",
        deadline_ns=0,
        changed=tuple(entry.key for entry in change.differences),
        needs_load=change.needs_load,
        interfaces=tuple(live.stands_on(paths)),
        putting=True,
    )
    return _with_deadline(begun, confirm_ms + round(live.LOAD_SECONDS * 1000), putting=True)


def _with_deadline(begun: Trial, from_now_ms: int, *, putting: bool = False) -> Trial:
    boot, now = this_boot()
    begun = replace(
        begun,
        until_ms=time.time_ns() // 1_000_000 + from_now_ms,
        boot=boot,
        deadline_ns=now + from_now_ms * 1_000_000,
        putting=putting,
    )
    try:
        trial.write(begun)
    except OSError as error:
        place = trial.place(Path(begun.target))
        raise XdpwallError(f"{place}: cannot be written: {error.strerror}") from None
    return begun


def _undo(paths: Paths, change: Plan, error: XdpwallError) -> None:
    """It could not be put in force: put the old file back, and let everybody read it."""
    now = config_edit.read_text(change.target)
    if now == change.before:
        return
    if change.before is None:
        change.target.unlink(missing_ok=True)
    else:
        _replace(change.target, now, change.before, keep=False)
    try:
        if change.needs_load and not change.faulty:
            live.load(paths, change.target)
        live.reload(paths)
    except XdpwallError as second:
        error.hint = f"{error.hint or ''} (and the old one: {second.message})".strip()
        return
    error.hint = error.hint or "what was in force before is in force again"


def _replace(target: Path, before: str | None, after: str, *, keep: bool = True) -> Path | None:
    return config_edit.replace_file(target, before, after, keep=keep)


def _on_trial(target: Path) -> Trial:
    found = trial.read(target)
    if found is None:
        older = sorted(target.resolve().parent.glob(f"{target.name}.*.bak"))
        raise NotFoundError(
            f"{target}: nothing is on trial: it was confirmed, or rolled back when its time was over",
            hint=f"the newest copy of another one is {older[-1]}: `xdpwall config apply` puts it in force"
            if older
            else "`xdpwall config apply FILE --confirm 60s` begins a trial",
        )
    return found


def _value(config: Config, key: str) -> Any:
    try:
        return config.value(key)
    except KeyError:
        return None


def text_of(source: Path) -> str:
    """The text of a file that is to be put in force.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{source}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read: {error}", hint="a TOML file is wanted") from None
