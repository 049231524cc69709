# SPDX-License-Identifier: Apache-2.0
"""The lab's links, addresses and routes, as plain data and as netlink calls.

    client 203.0.113.20  --client0-[ net ]-wall0--  wan0 198.51.100.10  wall (and wan1, ... when asked for)

``net`` routes between the two; everything else that reaches it falls into a blackhole route, so nothing ever leaves
the lab. Both ends of every link lie in namespaces of the lab. All addresses are documentation ranges (RFC 5737,
RFC 3849), which no bot and no capture can have.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpwall.errors import LabError
from xdpwall.lab import namespaces

_IFA_F_NODAD = 2
_NUD_PERMANENT = 0x80
_RTN_BLACKHOLE = 6


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a link: name inside its namespace, MAC, addresses."""

    ifname: str
    mac: str
    v4: str
    v6: str


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair: the host's end, and the end in ``net``. Prefix lengths are 24 and 64."""

    host: Side
    net: Side


def wall_link(number: int = 0) -> Link:
    """The wall's link of this number, 0 to 9: ``wan0``, ``wan1``, ... The first has a /24, the others a /28 each."""
    net4 = "198.51.100.{}" if number == 0 else "192.0.2.{}"
    first = 0 if number == 0 else number * 16
    v6 = f"2001:db8:1{number}::"
    return Link(
        Side(f"wan{number}", f"02:78:77:00:{number:02x}:10", net4.format(first + 10), v6 + "10"),
        Side(f"wall{number}", f"02:78:77:00:{number:02x}:01", net4.format(first + 1), v6 + "1"),
    )


CLIENT_LINK = Link(
    Side("eth0", "02:78:77:00:c1:20", "203.0.113.20", "2001:db8:2::20"),
    Side("client0", "02:78:77:00:c1:01", "203.0.113.1", "2001:db8:2::1"),
)


def connect(link: Link, *, host: str, net: str, mtu: int, v4_length: int = 24) -> None:
    """Make the pair inside ``net``, hand one end to ``host``, give both addresses and permanent neighbours."""
    handle = os.open(namespaces.path_of(host), os.O_RDONLY | os.O_CLOEXEC)
    try:

        def make(ip: Any) -> None:
            ip.link(
                "add",
                ifname=link.net.ifname,
                kind="veth",
                address=link.net.mac,
                mtu=mtu,
                peer={"ifname": link.host.ifname, "address": link.host.mac, "mtu": mtu, "net_ns_fd": handle},
            )

        netlink(net, make)
    finally:
        os.close(handle)
    for name, side, other in ((host, link.host, link.net), (net, link.net, link.host)):
        netlink(name, functools.partial(_address, side=side, other=other, v4_length=v4_length))


def set_up(name: str, *, router: bool = False) -> None:
    """What every namespace of the lab needs before its links: loopback, and a stack that asks nobody anything."""
    settings = {
        "net/ipv6/conf/all/accept_dad": "0",
        "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv6/conf/default/router_solicitations": "0",
        # Ping sockets (icmp(7)) for root's group.
        "net/ipv4/ping_group_range": "0 0",
    }
    if router:
        settings |= {
            "net/ipv4/ip_forward": "1",
            "net/ipv6/conf/all/forwarding": "1",
            # The way back to a bot is the blackhole: a reverse path check must not stop the client's packets instead.
            "net/ipv4/conf/all/rp_filter": "0",
            "net/ipv4/conf/default/rp_filter": "0",
        }

    namespaces.inside(name, lambda: sysctl(settings))
    netlink(name, lambda ip: ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up"))


def sysctl(settings: dict[str, str]) -> None:
    """Write entries below ``/proc/sys`` in the namespace of the calling thread; what is not there is left out."""
    for key, value in settings.items():
        path = Path("/proc/sys", key)
        if path.exists():  # a host may have IPv6 switched off
            path.write_text(value, encoding="ascii")


def default_route(name: str, via: Side) -> None:
    """Send everything that is not on a link to this neighbour."""

    def work(ip: Any) -> None:
        ip.route("add", dst="0.0.0.0/0", gateway=via.v4)
        ip.route("add", dst="::/0", gateway=via.v6, family=socket.AF_INET6)

    netlink(name, work)


def blackhole(name: str) -> None:
    """Swallow everything that has no route."""

    def work(ip: Any) -> None:
        ip.route("add", dst="0.0.0.0/0", type=_RTN_BLACKHOLE)
        ip.route("add", dst="::/0", type=_RTN_BLACKHOLE, family=socket.AF_INET6)

    netlink(name, work)


def ifindex(name: str, ifname: str) -> int:
    """Number of an interface inside a namespace.

    Raises:
        LabError: it is not there.
    """
    try:
        return namespaces.inside(name, lambda: socket.if_nametoindex(ifname))
    except OSError:
        raise LabError(f"namespace {name} has no interface {ifname}") from None


def offload(name: str, ifname: str, flag: str, on: bool) -> None:
    """Switch an offload (``generic-receive-offload``, ...) of an interface."""
    from pyroute2.ethtool.ioctl import IoctlEthtool  # noqa: PLC0415 - slow to import

    def work() -> None:
        tool = IoctlEthtool(ifname)
        try:
            tool.set_offload_flag(flag, 1 if on else 0)
        finally:
            tool.close()

    namespaces.inside(name, work)


def statistics(name: str, ifname: str) -> dict[str, int]:
    """The driver's counters of an interface (`ethtool -S`)."""
    from pyroute2.ethtool.ioctl import IoctlEthtool  # noqa: PLC0415

    def work() -> dict[str, int]:
        tool = IoctlEthtool(ifname)
        try:
            return {_text(key): int(value) for key, value in tool.get_statistics()}
        finally:
            tool.close()

    return namespaces.inside(name, work)


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _address(ip: Any, side: Side, other: Side, v4_length: int) -> None:
    index = ip.link_lookup(ifname=side.ifname)[0]
    ip.link("set", index=index, state="up")
    ip.addr("add", index=index, address=side.v4, prefixlen=v4_length)
    ip.addr("add", index=index, address=side.v6, prefixlen=64, flags=_IFA_F_NODAD)
    for address in (other.v4, other.v6):
        ip.neigh("add", dst=address, lladdr=other.mac, ifindex=index, state=_NUD_PERMANENT)


def netlink(name: str, work: Callable[[Any], Any]) -> Any:
    """Call ``work`` with an ``IPRoute`` of the namespace; gives what it gives.

    Raises:
        LabError: the kernel refused.
    """
    from pyroute2 import IPRoute  # noqa: PLC0415
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    def call() -> Any:
        with IPRoute() as ip:
            return work(ip)

    try:
        return namespaces.inside(name, call)
    except NetlinkError as error:
        raise LabError(f"namespace {name}: the kernel refused a link, address or route: {error}") from error
