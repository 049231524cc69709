# SPDX-License-Identifier: Apache-2.0
"""What the command line needs of the bench. Light to import: the heavy parts come in when it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdpwall.errors import InputError, PrivilegeError

Result = dict[str, Any]
"""The object that `xdpwall bench -o json` prints."""

ROUNDS, QUICK_ROUNDS = 25, 3
CONTROL, ACCURACY, STAGES = "control", "accuracy", "stages"
"""What ``only`` may name besides rows."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.

    Args:
        rounds: how often each row runs.
        quick: short runs: to see that everything works, not for figures to rely on.
        only: names of rows, ``control``, ``accuracy``, ``stages``; all of them when empty. What a row is compared with
            comes along.
    """

    rounds: int = ROUNDS
    quick: bool = False
    only: Sequence[str] = ()


def names() -> list[str]:
    """Everything that ``only`` may name."""
    from xdpwall.bench.peers import PEERS  # noqa: PLC0415 - only this verb needs it
    from xdpwall.bench.rows import ROWS  # noqa: PLC0415

    return [row.name for row in ROWS] + [row.name for row in PEERS] + [CONTROL, ACCURACY, STAGES]


def run(options: Options, heard: Callable[[str], None] = lambda _: None) -> Result:
    """Measure.

    Args:
        options: how much.
        heard: told what is going on, for the person who waits.

    Raises:
        InputError: ``only`` names what there is not.
        PrivilegeError: not root.
        LabError: a link could not be built, or a row did not measure what it says.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; everything is cleaned up by then.
    """
    known = names()
    for name in options.only:
        if name not in known:
            raise InputError(f"--only: there is no row {name!r}", hint=f"there are: {', '.join(known)}")
    if os.geteuid() != 0:
        raise PrivilegeError(
            "the bench makes network namespaces and loads XDP programs: it needs root", hint="use sudo"
        )
    from xdpwall.bench.session import measure  # noqa: PLC0415
    from xdpwall.lab.signals import stoppable  # noqa: PLC0415

    with stoppable():
        return measure(options, heard)
