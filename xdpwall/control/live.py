# SPDX-License-Identifier: Apache-2.0
"""Lets a changed configuration file take effect: the loaded program is swapped, the controller reads it again.

Both are done through the same verbs that people use, in processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from xdpwall.control import client, lock
from xdpwall.control.offline import open_wall
from xdpwall.errors import NoControllerError, NotLoadedError, XdpwallError
from xdpwall.paths import Paths

LOAD_SECONDS = 120.0


def command(paths: Paths) -> list[str]:
    """The argv that a verb of this instance begins with."""
    # -P: a folder named xdpwall where root happens to stand is not imported.
    return [sys.executable, "-P", "-m", "xdpwall", "--instance", paths.instance]


def load_command(paths: Paths, interfaces: Sequence[str], config_path: Path | None) -> list[str]:
    """The argv that loads this instance."""
    argv = [*command(paths), "load"]
    for name in interfaces:
        argv += ["-i", name]
    if config_path is not None:
        argv += ["-c", str(config_path)]
    return argv


def stands_on(paths: Paths) -> list[str]:
    """The interfaces that the wall stands on; none where none is loaded."""
    try:
        wall = open_wall(paths)
    except NotLoadedError:
        return []
    try:
        return [state.name for state in wall.interfaces() if state.ifindex]
    finally:
        wall.close()


def load(paths: Paths, target: Path) -> bool:
    """Compile for the file in place and swap the programs. Gives False where no wall is loaded."""
    if not stands_on(paths):
        return False
    argv = [*load_command(paths, (), target if target.exists() else None), "-o", "json"]
    _run(argv, "the program could not be swapped")
    return True


def stand_only_on(paths: Paths, names: tuple[str, ...]) -> list[str]:
    """Let go of interfaces that only the configuration on trial named."""
    extra = [name for name in stands_on(paths) if names and name not in names]
    for name in extra:
        _run([*command(paths), "unload", "-i", name, "-o", "json"], f"{name} could not be let go")
    return [f"{name} is not guarded any more, as before" for name in extra]


def _run(argv: list[str], failed: str) -> None:
    """Run one of our own verbs in a session of its own: no signal of the terminal stops it half-way."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=LOAD_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise XdpwallError(f"{failed}: it did not end within {LOAD_SECONDS:g} s") from None
    if done.returncode:
        try:
            why = json.loads(done.stdout)["error"]
            raise XdpwallError(f"{failed}: {why['message']}", hint=why["hint"])
        except (ValueError, KeyError, TypeError):
            words = (done.stderr or done.stdout).strip()[-500:]
            raise XdpwallError(f"{failed}: {words or f'exit code {done.returncode}'}") from None


def reload(paths: Paths) -> bool:
    """Let the controller read the file. Gives False where none runs."""
    try:
        client.call(paths, "reload")
    except NoControllerError:
        who = lock.holder(paths)
        if who is not None and "controller" in who:
            raise
        return False
    return True


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A terminal that goes away, or Ctrl-C, does not stop this half-way; a trial ends by its deadline."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    try:
        # A handler, not SIG_IGN: what is started meanwhile would inherit that.
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    except ValueError:  # not in the main thread: nobody sends it signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
