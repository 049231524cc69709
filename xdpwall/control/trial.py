# SPDX-License-Identifier: Apache-2.0
"""A configuration on trial: in force, and gone again when nobody confirms it in time.

What must be known to go back stands in a small file beside the configuration, not in the state folder: that one belongs
to the service's user, and root must not write files because a less trusted user's file says so. Whoever can write the
folder of the configuration can change the configuration anyway.

The deadline is counted from the boot, so setting the clock does not move it. After a reboot it counts as passed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from xdpwall.clock import this_boot
from xdpwall.errors import PrivilegeError, XdpwallError

_SCHEMA = 1
_MOST_BYTES = 1 << 20
Boot = Callable[[], tuple[str, int]]


class BusyError(XdpwallError):
    """Somebody else is changing a configuration in the same folder."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration on trial.

    Args:
        instance: whose.
        target: the configuration file, absolute.
        kept: name of the copy of what was there, in the same folder; None: there was no file.
        digest: SHA-256 of the text on trial, in hex.
        until_ms: Unix milliseconds of the deadline, for people.
        boot: the boot that the deadline counts in. ``deadline_ns``: of CLOCK_BOOTTIME.
        changed: keys that differ. ``needs_load``: whether one of them is compiled into the program.
        interfaces: where the wall stood before.
        putting: it is being put in force by who holds the lock (:func:`held`). When nobody does, that one died, and
            there is nothing to wait for. The deadline is the latest then, and set anew once it is in force.
    """

    instance: str
    target: str
    kept: str | None
    digest: str
    until_ms: int
    boot: str
    deadline_ns: int
    changed: tuple[str, ...] = ()
    needs_load: bool = False
    interfaces: tuple[str, ...] = ()
    putting: bool = False

    def left_ms(self, boot: Boot = this_boot) -> int:
        """Milliseconds to the deadline; 0 when it is past, and in another boot."""
        name, now = boot()
        return max(0, (self.deadline_ns - now) // 1_000_000) if name == self.boot else 0

    def is_due(self, boot: Boot = this_boot) -> bool:
        """Whether its time is over."""
        return self.left_ms(boot) == 0

    @property
    def kept_path(self) -> Path | None:
        """The copy of what was there."""
        return None if self.kept is None else Path(self.target).with_name(self.kept)

    @property
    def until(self) -> str:
        """The deadline for people, UTC."""
        return time.strftime("%H:%M:%S UTC", time.gmtime(self.until_ms / 1000))


def place(target: Path) -> Path:
    """The file that holds the trial of a configuration file."""
    target = target.resolve()
    return target.with_name(f".{target.name}.trial")


def write(trial: Trial) -> None:
    """Put it on disk, in one step. Whoever calls holds :func:`held`.

    Raises:
        OSError: it cannot be written.
    """
    path = place(Path(trial.target))
    fresh = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    # Readable for the service's user, who must know of the deadline; nothing in it is secret.
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, 0o644)
        json.dump({"schema": _SCHEMA, **asdict(trial)}, file)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)
    _sync_folder(path.parent)


def read(target: Path) -> Trial | None:
    """The trial of a configuration file; None when there is none.

    Raises:
        XdpwallError: there is a file, but not one that we wrote.
        PrivilegeError: it may not be read.
    """
    path = place(target)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PrivilegeError(f"{path}: may not be read by this user", hint="run it with sudo") from None
    except OSError as error:
        raise _foreign(path, error.strerror or str(error)) from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise _foreign(path, "it is no regular file")
        if about.st_uid not in {0, os.geteuid()} or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _foreign(path, "others than root may write it")
        raw = file.read(_MOST_BYTES)
    try:
        return _parse(raw, path)
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(path, f"it cannot be read ({error})") from None


def remove(target: Path) -> None:
    """The trial is over. Whoever calls holds :func:`held`."""
    path = place(target)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    _sync_folder(path.parent)


@contextlib.contextmanager
def held(target: Path, *, wait_seconds: float = 60.0) -> Iterator[None]:
    """Be the only one who changes a configuration file, or its trial, while the block runs.

    The lock is on the file's folder, so it leaves no file behind, and the kernel lets go of it when its holder dies.

    Raises:
        BusyError: another one is at it and does not end.
    """
    folder = target.resolve().parent
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(max(1, round(wait_seconds / 0.05))):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        else:
            raise BusyError(
                f"{folder}: another xdpwall is changing a configuration here", hint="try again in a moment"
            )
        yield
    finally:
        os.close(handle)


def in_force(target: Path, boot: Boot = this_boot) -> Path | None:
    """The file that holds what is to be in force: the target, or after a trial that is over what was there before it.

    None: there was no file before.
    """
    trial = read(target)
    if trial is None or not trial.is_due(boot):
        return target
    return trial.kept_path


def _parse(raw: bytes, path: Path) -> Trial:
    data = json.loads(raw)
    if data.pop("schema") != _SCHEMA:
        raise ValueError("another version wrote it")
    trial = Trial(
        instance=str(data["instance"]),
        target=str(data["target"]),
        kept=None if data["kept"] is None else str(data["kept"]),
        digest=str(data["digest"]),
        until_ms=int(data["until_ms"]),
        boot=str(data["boot"]),
        deadline_ns=int(data["deadline_ns"]),
        changed=tuple(map(str, data["changed"])),
        needs_load=bool(data["needs_load"]),
        interfaces=tuple(map(str, data["interfaces"])),
        putting=bool(data["putting"]),
    )
    if place(Path(trial.target)) != path:
        raise ValueError(f"it speaks of {trial.target}")
    if trial.kept is not None and trial.kept != Path(trial.kept).name:
        raise ValueError("the copy is not in the same folder")
    return trial


def _foreign(path: Path, why: str) -> XdpwallError:
    return XdpwallError(
        f"{path}: this is not what `xdpwall config apply` left there: {why}",
        hint="look at it, then remove it",
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
