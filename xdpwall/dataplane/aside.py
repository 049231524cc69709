# SPDX-License-Identifier: Apache-2.0
"""Plain calls of pyroute2 from anywhere, the controller's event loop included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def outside_loop(work: Callable[[], Result]) -> Result:
    """Do it in a thread where this one runs an event loop: pyroute2's plain calls run a loop of their own.

    The thread is in the network namespace of this one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(max_workers=1) as aside:
        return aside.submit(work).result()
