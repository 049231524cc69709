# SPDX-License-Identifier: Apache-2.0
"""`run` with nothing loaded: load first, in a process of its own, so that the compiler never sits in the daemon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from xdpwall.errors import XdpwallError
from xdpwall.paths import Paths


class LoadFailedError(XdpwallError):
    """The load said why on stderr; its exit code is passed on."""

    def __init__(self, code: int) -> None:
        super().__init__("the wall could not be loaded", hint="the lines above say why")
        self.exit_code = code  # type: ignore[misc]  # this once the child's, not the class's


def load_command(paths: Paths, interfaces: Sequence[str], config_path: Path | None) -> list[str]:
    """The argv that loads this instance."""
    argv = [sys.executable, "-m", "xdpwall", "--instance", paths.instance, "load"]
    for name in interfaces:
        argv += ["-i", name]
    if config_path is not None:
        argv += ["-c", str(config_path)]
    return argv


def ensure_loaded(paths: Paths, interfaces: Sequence[str], config_path: Path | None) -> bool:
    """Load the wall unless it is loaded. Gives whether it had to be.

    Args:
        paths: the instance.
        interfaces: as given with ``-i``; empty: those of the config.
        config_path: as given with ``-c``; None: the default place.

    Raises:
        LoadFailedError: the load failed; it told why on stderr.
    """
    if (paths.pins / "maps").is_dir():
        return False
    done = subprocess.run(load_command(paths, interfaces, config_path), check=False, stdout=sys.stderr)
    if done.returncode:
        raise LoadFailedError(done.returncode if done.returncode > 0 else 1)
    return True
