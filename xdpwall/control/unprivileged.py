# SPDX-License-Identifier: Apache-2.0
"""Runs somebody else's program with none of our rights.

As another user where we are root, and in any case without capabilities and without a way back to them (``setpriv`` of
util-linux, which every Linux has).
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence

NOBODY = "nobody"
_NO_CAPABILITIES = ("--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all")


def wrapped(command: Sequence[str], user: str) -> list[str]:
    """The command line that runs ``command`` without our rights.

    Args:
        command: program and arguments; no shell reads them.
        user: whom to run it as where we are root; "" is nobody.

    Raises:
        OSError: there is no such user, or no ``setpriv``: it is not run at all then.
    """
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if setpriv is None:
        raise OSError("setpriv, which takes our rights from it, is not installed (package util-linux)")
    if os.geteuid() != 0:
        if user and pwd.getpwuid(os.geteuid()).pw_name != user:
            raise OSError(f"notify.user: only root can run it as {user!r}; the controller is not root")
        return [setpriv, *_NO_CAPABILITIES, "--", *command]
    try:
        who = pwd.getpwnam(user or NOBODY)
    except KeyError:
        raise OSError(f"notify.user: there is no user {user or NOBODY!r}") from None
    return [
        setpriv,
        f"--reuid={who.pw_uid}",
        f"--regid={who.pw_gid}",
        "--init-groups" if user else "--clear-groups",
        "--bounding-set=-all",
        *_NO_CAPABILITIES,
        "--",
        *command,
    ]
