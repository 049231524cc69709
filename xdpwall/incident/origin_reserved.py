# SPDX-License-Identifier: Apache-2.0
"""Addresses that no network on the internet has: looked at before any database.

From the special-purpose registries of IANA (https://www.iana.org/assignments/iana-ipv4-special-registry and
.../iana-ipv6-special-registry), the entries that are not globally reachable, and what is not allotted at all:
multicast, 240.0.0.0/4, and IPv6 outside 2000::/3. A packet from such a source was forged, or comes from one's own
network.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Network, IPv6Network

import numpy as np

from xdpwall.incident.origin_table import U64, Family, Ranges, merge_ranges

RESERVED_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4",
)  # fmt: skip
RESERVED_V6 = (
    "::/3", "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20", "4000::/2", "8000::/1",
)  # fmt: skip
SIX_TO_FOUR = 0x2002
"""2002:aabb:ccdd::/48 is the IPv6 of whoever has the IPv4 address a.b.c.d (RFC 3056)."""


def is_reserved(addresses: U64, family: Family) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of these addresses (IPv6: their first 64 bits) no network on the internet has."""
    return _table(family).find(addresses).astype(np.bool_)


@cache
def _table(family: Family) -> Ranges:
    if family == 4:
        v4 = [IPv4Network(text) for text in RESERVED_V4]
        rows = [(int(net.network_address), int(net.broadcast_address), 1) for net in v4]
    else:
        v6 = [IPv6Network(text) for text in RESERVED_V6]
        rows = [(int(net.network_address) >> 64, int(net.broadcast_address) >> 64, 1) for net in v6]
    return merge_ranges(sorted(rows), family, np.uint8)
