# SPDX-License-Identifier: Apache-2.0
"""Whom an instance belongs to: root, or the user that its service runs as.

The owner of the state folder owns the instance: its pins, its runtime folder, its database. So whoever loads the wall,
and in whatever order, the service finds what it may open. An instance without a state folder is root's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from xdpwall.paths import Paths


@dataclass(frozen=True, slots=True)
class Owner:
    """A user and a group, by number."""

    uid: int = 0
    gid: int = 0

    @property
    def is_root(self) -> bool:
        """Whether nothing has to be handed over."""
        return self.uid == 0


def of_instance(paths: Paths) -> Owner:
    """The owner of an instance."""
    try:
        there = paths.state.lstat()
    except OSError:  # not there, or (for those who are neither root nor the owner) not to be seen
        return Owner()
    return Owner(there.st_uid, there.st_gid)


def of_folder(folder: Path) -> Owner:
    """The owner of a folder.

    Raises:
        OSError: it is not there, or not to be seen.
    """
    there = folder.lstat()
    return Owner(there.st_uid, there.st_gid)


def give(path: Path, owner: Owner) -> None:
    """Hand one file or folder over, if it is not the owner's yet. A symbolic link is never followed.

    Raises:
        OSError: not ours to give.
    """
    there = path.lstat()
    if (there.st_uid, there.st_gid) != (owner.uid, owner.gid):
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def private_folder(folder: Path, owner: Owner) -> None:
    """Make a folder for its owner alone (0700). Parents that are missing are made so that the owner gets through.

    Raises:
        OSError: it cannot be made.
    """
    for parent in reversed(folder.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            parent.chmod(0o755)  # whatever the umask says
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        give(folder, owner)
    folder.chmod(0o700)
