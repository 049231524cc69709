# SPDX-License-Identifier: Apache-2.0
"""Watches interfaces, addresses and default routes through netlink, and says when something changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import exceptions
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

log = logging.getLogger(__name__)

_EVENTS = {
    "RTM_NEWLINK": "link",
    "RTM_DELLINK": "link",
    "RTM_NEWADDR": "address",
    "RTM_DELADDR": "address",
    "RTM_NEWROUTE": "route",
    "RTM_DELROUTE": "route",
}
# Not the default groups: neighbour events come by the thousand in a flood.
_GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
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
        """Watch. When netlink fails (its buffer ran over in a storm of events) everything is looked at anew."""
        while True:
            try:
                await self._watch()
            except (OSError, exceptions.NetlinkError) as error:
                log.warning("the watch over interfaces begins anew: %s", error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self) -> None:
        async with AsyncIPRoute() as ipr:
            await ipr.bind(groups=_GROUPS)  # before anything is asked: that would bind it with no groups
            await self._tell({"link", "address", "route"})
            while True:
                batch = {_EVENTS[name] async for m in ipr.get() if (name := m.get("event")) in _EVENTS}
                await self._tell(batch)

    async def _tell(self, batch: set[str]) -> None:
        if "route" in batch:
            self.gateways = await gateways()
        for what in sorted(batch):
            self._changed(what)


async def gateways() -> tuple[str, ...]:
    """Next hops of the default routes, both families."""
    async with AsyncIPRoute() as ipr:
        found = [route.get_attr("RTA_GATEWAY") async for route in await ipr.get_default_routes()]
    return tuple(dict.fromkeys(str(gateway) for gateway in found if gateway))
