# SPDX-License-Identifier: Apache-2.0
"""Plain calls of pyroute2 from anywhere, the controller's event loop included."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def outside_loop(work: Callable[[], Result]) -> Result:
    """Do it in a thread where this one runs an event loop: pyroute2's plain calls run a loop of their own.

    The thread is in the network namespace of this one.
    """
    asyncio = sys.modules.get(
        "asyncio"
    )  # who has not imported it runs no loop; a verb that only asks need not
    if asyncio is None:
        return work()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as aside:
        return aside.submit(work).result()
