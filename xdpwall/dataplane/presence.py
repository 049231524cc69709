# SPDX-License-Identifier: Apache-2.0
"""Waiting for interfaces: at boot, drivers and network managers make them while the wall is put up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

_LOOK_SECONDS = 0.1


def missing(names: Sequence[str]) -> list[str]:
    """Those that this network namespace does not have now."""
    here = {name for _, name in socket.if_nameindex()}
    return [name for name in names if name not in here]


def wait_for(
    names: Sequence[str],
    patience_ms: int,
    *,
    look: Callable[[Sequence[str]], list[str]] = missing,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Wait until all of them are there. Gives those that are still missing when patience is over.

    Args:
        names: interfaces.
        patience_ms: how long to wait at most, in milliseconds.
        look: gives those of the names that are missing now.
        sleep: waits some seconds.
    """
    gone = look(names)
    for _ in range(int(patience_ms / 1000 / _LOOK_SECONDS)):
        if not gone:
            break
        sleep(_LOOK_SECONDS)
        gone = look(names)
    return gone
