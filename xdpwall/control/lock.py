# SPDX-License-Identifier: Apache-2.0
"""One writer per instance: the controller for its life, a verb without a controller for a moment.

An advisory lock (flock) on a file in the runtime folder. The kernel lets go of it when its holder dies, however it
dies, so there is no stale lock. The file says who holds it, for the error message only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from xdpwall import owner
from xdpwall.clock import SystemClock
from xdpwall.errors import PrivilegeError, XdpwallError
from xdpwall.paths import Paths


class LockedError(XdpwallError):
    """Somebody else holds the instance. ``holder`` is who, for people."""

    def __init__(self, message: str, holder: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.holder = holder


def runtime_folder(paths: Paths) -> Path:
    """Make the runtime folder (0700) where it is missing, and give it.

    Raises:
        PrivilegeError: not ours to make.
    """
    try:
        owner.private_folder(paths.runtime, owner.of_instance(paths))
    except PermissionError:
        raise PrivilegeError(f"{paths.runtime}: only root may use it", hint="run it with sudo") from None
    return paths.runtime


@contextlib.contextmanager
def hold(paths: Paths, who: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the instance while the block runs.

    Args:
        paths: the instance.
        who: what we are, for others' error messages, for example ``"controller"``.
        wait_seconds: how long to wait for another holder.

    Raises:
        LockedError: another one holds it.
        PrivilegeError: not root.
    """
    runtime_folder(paths)
    try:
        fd = os.open(paths.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise PrivilegeError(f"{paths.lock}: only root may use it", hint="run it with sudo") from None
    try:
        _take(fd, paths, _now() + wait_seconds)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{who} (pid {os.getpid()})\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def holder(paths: Paths) -> str | None:
    """Who holds the instance now, for people; None when nobody does or nobody can tell."""
    try:
        fd = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(fd)
    finally:
        os.close(fd)
    return None


def _take(fd: int, paths: Paths, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _now() < deadline:
                time.sleep(0.02)
                continue
            name = _name(fd)
            raise LockedError(
                f"instance {paths.instance!r} is already held by {name}",
                name,
                hint="stop that one first, or choose another --instance",
            ) from None
        else:
            return


def _name(fd: int) -> str:
    return os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another xdpwall"


def _now() -> float:
    return SystemClock().mono_ns() / 1e9
