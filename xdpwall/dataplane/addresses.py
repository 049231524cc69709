# SPDX-License-Identifier: Apache-2.0
"""Which addresses are this host's own, as the kernel's malformed check wants them."""

from __future__ import annotations

import ipaddress
import socket

import psutil

from xdpwall.errors import AddressError
from xdpwall.model import Prefix


def own_addresses() -> set[Prefix]:
    """Single addresses of all interfaces, and the broadcast addresses of their IPv4 networks.

    Loopback and link-local IPv6 addresses are left out: the first can't come from outside anyway, and the second is
    only unique on its link.
    """
    found: set[Prefix] = set()
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            text = entry.address.partition("%")[0]
            try:
                address = ipaddress.ip_address(text)
                if address.is_loopback or (address.version == 6 and address.is_link_local):
                    continue
                found.add(Prefix.parse(text))
                if entry.family == socket.AF_INET and entry.netmask:
                    # Not entry.broadcast: an address set without `brd` has none there, yet the network has one.
                    network = ipaddress.ip_interface(f"{text}/{entry.netmask}").network
                    if network.prefixlen < 31:
                        found.add(Prefix.parse(str(network.broadcast_address)))
            except (ValueError, AddressError):
                continue  # an interface of a kind whose address is no IP address
    return found
