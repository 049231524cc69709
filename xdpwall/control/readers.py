# SPDX-License-Identifier: Apache-2.0
"""A group whose members may look and change nothing: the way to the socket is opened to it, and only to it.

The kernel lets nobody else through to the socket (unix(7): connecting takes write permission on it), and the server
asks the kernel who each client is. Other verbs make the folder private again when they use it, so this is looked at
each second.
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from xdpwall.control.health import Health
from xdpwall.paths import Paths

_SHUT_FOLDER, _SHUT_SOCKET = 0o700, 0o600
_OPEN_FOLDER, _OPEN_SOCKET = 0o710, 0o660


class Readers:
    """Keeps folder and socket open to the group.

    Args:
        paths: the instance.
        health: told when it cannot be done.
    """

    def __init__(self, paths: Paths, health: Health) -> None:
        self._paths = paths
        self._health = health
        self._open = False

    def apply(self, group: str) -> bool:
        """Let the members of this group through; with no group shut what was open. Gives whether it is open."""
        if not group:
            if self._open:
                self._set(None)
            self._open = False
            self._health.clear("readers")
            return False
        try:
            self._set(grp.getgrnam(group).gr_gid)
        except KeyError:
            self._open = False
            self._health.set("readers", f"control.readers: there is no group {group!r}; only root may look")
        except OSError as error:
            self._open = False
            why = error.strerror or str(error)
            self._health.set("readers", f"control.readers: the socket is not given to group {group!r}: {why}")
        else:
            self._open = True
            self._health.clear("readers")
        return self._open

    def _set(self, gid: int | None) -> None:
        """Raises OSError: not ours to give, for example to a group that the service's user is not in."""
        _give(self._paths.socket, gid, _SHUT_SOCKET if gid is None else _OPEN_SOCKET)
        _give(self._paths.runtime, gid, _SHUT_FOLDER if gid is None else _OPEN_FOLDER)


def _give(path: Path, gid: int | None, mode: int) -> None:
    there = path.lstat()
    if gid is not None and there.st_gid != gid:
        os.chown(path, -1, gid, follow_symlinks=False)
    if stat.S_IMODE(there.st_mode) != mode:
        path.chmod(mode)
