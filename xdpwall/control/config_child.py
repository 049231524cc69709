# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration in a process that ends: pydantic and all models of it never sit in the controller.

The child is this program itself, so what it hands over is as trustworthy as we are.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from xdpwall.control import protocol, settings
from xdpwall.errors import XdpwallError

if TYPE_CHECKING:
    from xdpwall.config import Config

_SECONDS = 60.0


def read(config_path: Path | None) -> Config:
    """The configuration to be in force (``settings.load_in_force``), as plain objects with the models' names.

    Raises:
        XdpwallError: as ``Config.load``; or the child failed.
    """
    # -P: a folder named xdpwall where root happens to stand is not imported.
    argv = [sys.executable, "-P", "-m", __name__, *([] if config_path is None else [str(config_path)])]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise XdpwallError(f"the configuration cannot be read: {error}") from None
    if done.returncode:
        raise XdpwallError(
            f"the configuration cannot be read: its reader ended with {done.returncode}",
            hint="the lines above, or the journal, say why",
        )
    found = pickle.loads(done.stdout)  # noqa: S301  (our own child's)
    if isinstance(found, bytes):
        protocol.decode_answer(found)  # raises what was wrong
    return cast("Config", found)


def main(arguments: list[str]) -> None:
    """The child: print a pickled ``PlainConfig``, or a pickled error line."""
    from xdpwall.config_plain import plain  # noqa: PLC0415

    try:
        found: object = plain(settings.load_in_force(Path(arguments[0]) if arguments else None))
    except XdpwallError as error:
        found = protocol.encode_error(error)
    sys.stdout.buffer.write(pickle.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
