# SPDX-License-Identifier: Apache-2.0
"""`run`: load first when nothing is loaded, in a process of its own: the compiler never sits in the daemon."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xdpwall.control import controller, lock, logs
from xdpwall.control.live import load_command
from xdpwall.control.offline import open_wall
from xdpwall.control.sink import Sink
from xdpwall.control.unfinished import CUT_SHORT, is_cut_short
from xdpwall.errors import NotLoadedError, XdpwallError
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)


class LoadFailedError(XdpwallError):
    """The load said why on stderr; its exit code is passed on."""

    def __init__(self, code: int) -> None:
        super().__init__("the wall could not be loaded", hint="the lines above say why")
        self.exit_code = code


def ensure_loaded(paths: Paths, interfaces: Sequence[str], config_path: Path | None) -> bool:
    """Load the wall unless it stands, whole, on all these interfaces. Gives whether it had to be.

    Args:
        paths: the instance.
        interfaces: where it must stand; empty: any wall will do.
        config_path: as given with ``-c``; None: the default place.

    Only root can load. A service that is not root takes the wall as it finds it, and must find one.

    Raises:
        NotLoadedError: there is no wall, and we are not root.
        LoadFailedError: the load failed; it told why on stderr.
        DataplaneError: there is a wall, but it cannot be opened.
    """
    try:
        wall = open_wall(paths)
    except NotLoadedError as error:
        if os.geteuid() != 0:
            error.hint = "load it first, as root: systemctl start xdpwall-load, or xdpwall load"
            raise
        wall = None
    if wall is not None:
        there = {state.name for state in wall.interfaces()}
        wall.close()
        missing = [name for name in interfaces if name not in there]
        half = is_cut_short(paths)
        if not missing and not half:
            return False
        if os.geteuid() != 0 and half:
            log.warning("%s", CUT_SHORT)
            return False
        if os.geteuid() != 0:
            log.warning("the wall does not stand on %s: `xdpwall load` puts it there", ", ".join(missing))
            return False
    done = subprocess.run(load_command(paths, interfaces, config_path), check=False, stdout=sys.stderr)
    if done.returncode:
        raise LoadFailedError(done.returncode if done.returncode > 0 else 1)
    return True


def run(
    paths: Paths,
    config: Config,
    *,
    interfaces: Sequence[str] = (),
    config_path: Path | None = None,
    sinks: Sequence[Sink] = (),
) -> int:
    """Load if that is needed, then be the controller until SIGTERM or SIGINT. Gives the exit code.

    Args:
        paths: the instance.
        config: the configuration, read already.
        interfaces: as given with ``-i``; empty: those of the config.
        config_path: as given with ``-c``, for loads and reloads; None: the default place.
        sinks: who tells the outside how things are.

    Raises:
        XdpwallError: the load failed, another controller runs, or it cannot start for another reason.
    """
    who = lock.holder(paths)
    if who is not None and "controller" in who:
        raise lock.LockedError(
            f"instance {paths.instance!r} is already held by {who}",
            who,
            hint="stop that one first, or choose another --instance",
        )
    logs.set_up(instance=paths.instance)
    ensure_loaded(paths, interfaces or config.interfaces, config_path)
    return controller.run(config, config_path, paths, sinks)
