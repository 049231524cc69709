# SPDX-License-Identifier: Apache-2.0
"""Watches interfaces, addresses and default routes through netlink, and says when something changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from xdpwall.dataplane.routes import next_hops
from xdpwall.dataplane.rtmonitor import EVERYTHING, Monitor
from xdpwall.errors import KernelError

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0


class Links:
    """The watch. :meth:`run` goes on until it is cancelled.

    Args:
        changed: called with ``"link"``, ``"address"`` or ``"route"`` after an event. Several events may come as one.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self.gateways: tuple[str, ...] = ()
        """Next hops of the default routes, both families."""

    async def run(self) -> None:
        """Watch. When netlink fails, the watch begins anew, and everything is looked at."""
        while True:
            try:
                await self._watch()
            except KernelError as error:
                log.warning("the watch over interfaces begins anew: %s", error.message)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        with Monitor() as monitor:  # before anything is asked: no change falls in between
            await self._tell(EVERYTHING)
            heard = asyncio.Event()
            loop.add_reader(monitor.fileno(), heard.set)
            try:
                while True:
                    await heard.wait()
                    heard.clear()
                    await self._tell(monitor.read())
            finally:
                loop.remove_reader(monitor.fileno())

    async def _tell(self, batch: Collection[str]) -> None:
        if "route" in batch:
            # In a thread: a router has many thousand routes to go through.
            self.gateways = await asyncio.to_thread(gateways)
        for what in sorted(batch):
            self._changed(what)


def gateways() -> tuple[str, ...]:
    """Next hops of the default routes, both families.

    Raises:
        KernelError: the kernel does not list its routes.
    """
    found, _ = next_hops()
    return tuple(gateway for gateway, target in found.items() if target == "default")
