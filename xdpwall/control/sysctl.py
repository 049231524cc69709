# SPDX-License-Identifier: Apache-2.0
"""Kernel settings that are changed for a while: read, set, and put back whatever happens meanwhile.

``/proc/sys/net`` shows the network namespace of the thread that looks, so what is noted here is noted for that one.
What stood before is on disk before anything is changed: a kill, and the next start or an unload puts it back.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SCHEMA = 1
_OURS = re.compile(r"net\.ipv[46]\.[a-z0-9_]+")


class Sysctls:
    """Whole numbers under ``/proc/sys``, by their names as sysctl(8) writes them.

    Args:
        root: where they are.
    """

    def __init__(self, root: Path = Path("/proc/sys")) -> None:
        self._root = root

    def read(self, name: str) -> int | None:
        """What it is; None where this kernel has no such setting."""
        try:
            return int(self._place(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def write(self, name: str, value: int) -> None:
        """Set it.

        Raises:
            OSError: EACCES or EROFS: not allowed; ENOENT: there is none.
        """
        self._place(name).write_text(f"{value}\n", encoding="ascii")

    def _place(self, name: str) -> Path:
        return self._root.joinpath(*name.split("."))


@dataclass(slots=True)
class Change:
    """A setting that is not what it was: ``before``, and what it was ``set`` to."""

    before: int
    set: int


@dataclass(slots=True)
class Restored:
    """What putting back came to: ``back`` were put back; ``kept`` had been changed by somebody else meanwhile."""

    back: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Memory:
    """What stood before, on disk: one file for each network namespace.

    Args:
        folder: of the instance's state.
        boot_id: of this boot; read from the kernel when None. What an earlier boot noted is void.
        namespace: number of this network namespace; that of this thread when None.
    """

    def __init__(self, folder: Path, *, boot_id: str | None = None, namespace: int | None = None) -> None:
        self._folder = folder
        self._boot = boot_id if boot_id is not None else _boot_id()
        self._namespace = namespace if namespace is not None else _namespace()

    @property
    def place(self) -> Path:
        """The file."""
        return self._folder / f"sysctls-{self._namespace}.json"

    def read(self) -> dict[str, Change] | None:
        """What is noted; None when nothing is.

        Raises:
            ValueError: the file is there and cannot be understood.
            OSError: it cannot be read.
        """
        try:
            found = json.loads(self.place.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        try:
            if found["schema"] != _SCHEMA or found["boot_id"] != self._boot:
                return None
            changes = {
                str(name): Change(int(entry["before"]), int(entry["set"]))
                for name, entry in found["changes"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.place}: {error!r}") from None
        for name in changes:
            # An unload is root's, the file is the service's user's: it must not name just any file.
            if not _OURS.fullmatch(name):
                raise ValueError(f"{self.place}: {name!r} is no setting of the network")
        return changes

    def write(self, changes: Mapping[str, Change]) -> None:
        """Note it, so that it survives whatever comes next.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(
            {
                "schema": _SCHEMA,
                "boot_id": self._boot,
                "changes": {
                    name: {"before": change.before, "set": change.set} for name, change in changes.items()
                },
            },
            indent=1,
        )
        fresh = self.place.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.place)

    def forget(self) -> None:
        """Nothing is changed any more.

        Raises:
            OSError: the file is there, and cannot be removed.
        """
        if os.path.lexists(self.place):  # else a disk that is read-only is no reason to fail
            self.place.unlink(missing_ok=True)

    def elsewhere(self) -> list[Path]:
        """Notes of this boot about other network namespaces."""
        found = []
        for path in sorted(self._folder.glob("sysctls-*.json")):
            other = Memory(self._folder, boot_id=self._boot, namespace=_number_of(path))
            try:
                if path != self.place and other.read() is not None:
                    found.append(path)
            except (OSError, ValueError):
                continue
        return found


def put_back(sysctls: Sysctls, changes: Mapping[str, Change]) -> Restored:
    """Make settings what they were. One that is no longer what it was set to is somebody else's now, and stays."""
    result = Restored()
    for name, change in changes.items():
        if sysctls.read(name) != change.set:
            result.kept.append(name)
            continue
        try:
            sysctls.write(name, change.before)
        except OSError as error:
            result.failed[name] = error.strerror or str(error)
        else:
            result.back[name] = change.before
    return result


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def _number_of(path: Path) -> int:
    number = path.stem.removeprefix("sysctls-")
    return int(number) if number.isdigit() else 0
