# SPDX-License-Identifier: Apache-2.0
"""Who waits for the deadline of a configuration on trial: a process of its own, and the controller should that one die.

The process is in a session of its own, so a terminal that goes away does not take it along. Where systemd runs it is a
transient unit: the end of a login may end everything that the login started (``KillUserProcesses=``, logind.conf(5)).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from xdpwall.clock import Clock
from xdpwall.control import apply, trial
from xdpwall.control.health import Health
from xdpwall.control.live import command
from xdpwall.control.trial import Trial
from xdpwall.errors import NotFoundError, XdpwallError
from xdpwall.paths import Paths

log = logging.getLogger(__name__)

_START_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_TRIES = 5
_AGAIN_SECONDS = 3.0
_GRACE_NS = 3_000_000_000
_ALONE_NS = 15_000_000_000


def start(paths: Paths, begun: Trial) -> str:
    """Start the process, and wait until it watches. Gives what it is, for people.

    Raises:
        XdpwallError: it did not start.
    """
    target = Path(begun.target)
    argv = [*command(paths), "config", "rollback", "--when-due", "-c", str(target)]
    unit = f"xdpwall-trial-{paths.instance}-{os.getpid()}"
    if _by_systemd(unit, argv):
        what = f"unit {unit}"
    else:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        what = f"process {child.pid}"
    for _ in range(round(_START_SECONDS / _LOOK_SECONDS)):
        if is_watched(target):
            return what
        time.sleep(_LOOK_SECONDS)
    raise XdpwallError(
        "nobody could be made to watch the deadline, so nothing was changed",
        hint=f"try by hand: {' '.join(argv)}",
    )


def wait(paths: Paths, target: Path) -> apply.Done | None:
    """Be that process: wait until the trial is over, one way or the other. Gives what was done at its deadline.

    Raises:
        XdpwallError: it could not be rolled back, tried several times.
    """
    # The lock tells others that somebody watches. It is on a file of its own, which goes when the watch ends.
    handle = _watch_lock(target, os.O_CREAT)
    if handle is None:
        return None  # somebody watches already
    try:
        while (found := trial.read(target)) is not None:
            if (found.is_due() or found.putting) and (done := _end(paths, target, found)) is not None:
                return done
            time.sleep(_LOOK_SECONDS)
    finally:
        _lock_place(target).unlink(missing_ok=True)
        os.close(handle)
    return None


def is_watched(target: Path) -> bool:
    """Whether somebody waits for the deadline of this file's trial."""
    handle = _watch_lock(target, 0, missing=-1)
    if handle is None:
        return True
    if handle >= 0:
        os.close(handle)
    return False


def _end(paths: Paths, target: Path, found: Trial) -> apply.Done | None:
    """Roll back, unless it is only being put in force: then its applier holds the lock."""
    if found.putting and not found.is_due():
        try:
            with trial.held(target, wait_seconds=0):
                pass
        except trial.BusyError:
            return None
    for attempt in range(_TRIES):
        try:
            return apply.roll_back(paths, target, only_due=True)
        except NotFoundError:
            return None
        except XdpwallError as error:
            log.error("the configuration on trial could not be rolled back: %s", error.message)
            if attempt == _TRIES - 1:
                raise
            time.sleep(_AGAIN_SECONDS)
    return None


def _by_systemd(unit: str, argv: list[str]) -> bool:
    """Have systemd start it, where that one runs and sees the same network as we do."""
    systemd_run = shutil.which("systemd-run")
    if systemd_run is None or not Path("/run/systemd/system").is_dir():
        return False
    try:
        ours, its = (Path(f"/proc/{who}/ns/net").stat().st_ino for who in ("self", "1"))
        if ours != its:
            return False
        run = [systemd_run, "--quiet", "--collect", f"--unit={unit}", "--service-type=exec", *argv]
        done = subprocess.run(run, check=False, timeout=30, capture_output=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _lock_place(target: Path) -> Path:
    place = trial.place(target)
    return place.with_name(f"{place.name}.watched")


def _watch_lock(target: Path, flags: int, *, missing: int | None = None) -> int | None:
    """The locked file's descriptor; None when another holds it, ``missing`` when there is none."""
    try:
        handle = os.open(_lock_place(target), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except FileNotFoundError:
        return missing
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


class TrialWatch:
    """The controller's part, once a second: say that a trial is on, and end it should nobody else do so.

    Args:
        paths: the instance.
        target: the configuration file.
        clock: monotonic time.
        health: where it is said.
        reload: reads the configuration in force (:func:`xdpwall.control.trial.in_force`) again.
    """

    def __init__(
        self, paths: Paths, target: Path, clock: Clock, health: Health, reload: Callable[[], object]
    ) -> None:
        self._paths = paths
        self._target = target
        self._clock = clock
        self._health = health
        self._reload = reload
        self._seen_ns: int | None = None
        self._overdue_ns: int | None = None
        self._next_ns = 0
        self._helper: subprocess.Popen[bytes] | None = None
        self._taken_back: int | None = None

    def second(self) -> None:
        """Look."""
        if self._helper is not None and self._helper.poll() is not None:
            self._helper = None
        try:
            found = trial.read(self._target)
        except (OSError, XdpwallError) as error:
            self._health.set("trial", str(error))
            return
        if found is None or (found.putting and not found.is_due()):
            self._overdue_ns = None
            self._health.clear("trial")
            return
        now = self._clock.mono_ns()
        if not found.is_due():
            self._overdue_ns = None
            if self._seen_ns != found.deadline_ns:
                self._seen_ns = found.deadline_ns
                log.warning("a configuration is on trial until %s: %s", found.until, ", ".join(found.changed))
            self._health.set(
                "trial",
                f"the configuration is on trial and goes at {found.until} unless `xdpwall config confirm` keeps it",
            )
            return
        if self._overdue_ns is None:
            self._overdue_ns = now
            log.warning("nobody confirmed the configuration on trial until %s: it goes", found.until)
        if self._taken_back != found.deadline_ns:
            self._health.set(
                "trial", "the configuration on trial was not confirmed, and is being rolled back"
            )
        if now - self._overdue_ns < _GRACE_NS or now < self._next_ns or is_watched(self._target):
            return
        self._next_ns = now + _ALONE_NS
        if os.geteuid() == 0:
            self._start_helper()
        else:
            self._take_back(found)

    def _start_helper(self) -> None:
        log.warning("whoever watched the configuration on trial is gone: rolling it back from here")
        argv = [*command(self._paths), "config", "rollback", "--when-due", "-c", str(self._target)]
        self._helper = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, start_new_session=True, stdout=subprocess.DEVNULL
        )

    def _take_back(self, found: Trial) -> None:
        """Not root: the file is not ours to write. What can be undone in here is."""
        if self._taken_back != found.deadline_ns:
            self._taken_back = found.deadline_ns
            try:
                self._reload()
            except XdpwallError as error:
                log.error("what was in force before the trial cannot be read: %s", error.message)
        rest = " and the loaded program" if found.needs_load else ""
        self._health.set(
            "trial",
            f"the configuration on trial was not confirmed: the controller goes by the one before, "
            f"{self._target}{rest} must be put back by root: `xdpwall config rollback`",
        )
