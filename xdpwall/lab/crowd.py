# SPDX-License-Identifier: Apache-2.0
"""The clients' addresses: many more than one, of which the lab assigns none but routes all to the clients' namespace.

Linux takes whole prefixes as its own by a route of type local. Users that come again and again live beside the
client's own address. Newcomers live in the range for benchmarks (RFC 2544) and in a part of the documentation range of
IPv6, where each has a /64 of its own.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from xdpwall.lab import namespaces, network

REGULARS4 = ipaddress.IPv4Network("203.0.113.64/26")
REGULARS6 = ipaddress.IPv6Network("2001:db8:2:0:1::/112")
CROWD4 = ipaddress.IPv4Network("198.18.0.0/15")
CROWD6 = ipaddress.IPv6Network("2001:db8:4000::/36")
CARPET = ipaddress.IPv4Network("192.0.2.0/24")
"""Addresses of the protected host that a carpet falls on. A documentation range (RFC 5737)."""

_REGULARS = 40
_RT_TABLE_LOCAL = 255
_RTN_LOCAL = 2
_SCOPE_HOST = 254


def regulars() -> list[list[str]]:
    """Addresses of users that come again: IPv4, then IPv6."""
    return [[str(network[number + 1]) for number in range(_REGULARS)] for network in (REGULARS4, REGULARS6)]


def settle(client: str, net: str) -> None:
    """Give the clients' namespace all these addresses, and tell the router.

    Args:
        client: full name of the namespace.
        net: likewise.

    Raises:
        LabError: the kernel refused.
    """
    prefixes = (REGULARS4, REGULARS6, CROWD4, CROWD6)
    via = network.CLIENT_LINK.host

    def own(ip: Any) -> None:
        for prefix in prefixes:
            _local(ip, prefix)

    def route(ip: Any) -> None:
        for prefix in prefixes:
            gateway, family = (via.v4, socket.AF_INET) if prefix.version == 4 else (via.v6, socket.AF_INET6)
            ip.route("add", dst=str(prefix), gateway=gateway, family=family)

    network.netlink(client, own)
    network.netlink(net, route)
    # Without it IPv6 lets nobody bind to an address that no interface has.
    namespaces.inside(client, lambda: network.sysctl({"net/ipv6/ip_nonlocal_bind": "1"}))


def carpet(wall: str, ifname: str) -> None:
    """Give the protected host every address of :data:`CARPET`, as a server with many sites has them.

    Raises:
        LabError: the kernel refused.
    """

    def work(ip: Any) -> None:
        index = ip.link_lookup(ifname=ifname)[0]
        for address in CARPET.hosts():
            ip.addr("add", index=index, address=str(address), prefixlen=32)

    network.netlink(wall, work)


def _local(ip: Any, prefix: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    four = prefix.version == 4
    ip.route(
        "add",
        dst=str(prefix),
        oif=ip.link_lookup(ifname="lo")[0],
        type=_RTN_LOCAL,
        table=_RT_TABLE_LOCAL,
        scope=_SCOPE_HOST if four else 0,
        family=socket.AF_INET if four else socket.AF_INET6,
    )
