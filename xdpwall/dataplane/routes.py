# SPDX-License-Identifier: Apache-2.0
"""Next hops of this host's routes, and routers among its neighbours, asked of the kernel by netlink.

Numbers are from the kernel's UAPI: ``linux/rtnetlink.h``, ``linux/neighbour.h``. Seen is the network namespace of this
thread.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from xdpwall.dataplane.netlink import ERROR, HEADER, attributes, messages
from xdpwall.errors import KernelError

MOST_ROUTES = 20_000
"""So many are looked at. A router with the whole table of the Internet would keep us busy for seconds."""

_NETLINK_ROUTE = 0
_GET_ROUTE, _NEW_ROUTE, _GET_NEIGHBOUR, _NEW_NEIGHBOUR = 26, 24, 30, 28
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # struct rtmsg: family, lengths of target and source, tos, table, ..., type, flags
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type
_UNICAST, _LOCAL_TABLE, _CLONED = 1, 255, 0x200
_TARGET, _GATEWAY, _MULTIPATH, _VIA = 1, 5, 9, 18
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_REACHABLE, _DELAY, _PROBE, _PERMANENT, _ROUTER = 0x02, 0x08, 0x10, 0x80, 0x80


def next_hops() -> tuple[dict[str, str], bool]:
    """Gateways of all routes, each with the widest prefix that is reached by it: ``default`` or like ``10.0.0.0/8``.

    Returns:
        The gateways, and whether all routes were looked at.

    Raises:
        KernelError: the kernel does not list its routes.
    """
    found: dict[str, tuple[int, str]] = {}
    count = 0
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for message, kind, _, at in messages(_NETLINK_ROUTE, _GET_ROUTE, body):
            _raise_on_error(message, kind, at, "list the routes")
            if kind != _NEW_ROUTE:
                continue
            count += 1
            if count > MOST_ROUTES:
                return {gateway: target for gateway, (_, target) in found.items()}, False
            length = HEADER.unpack_from(message, at)[0]
            _family, bits, _, _, table, _, _, type_, flags = _ROUTE.unpack_from(message, at + HEADER.size)
            if type_ != _UNICAST or table == _LOCAL_TABLE or flags & _CLONED:
                continue
            parts = dict(attributes(message[at + HEADER.size + _ROUTE.size : at + length]))
            target = _text(parts.get(_TARGET, b""))
            name = f"{target}/{bits}" if target and bits else "default"
            for gateway in _gateways(parts):
                if gateway not in found or bits < found[gateway][0]:
                    found[gateway] = (bits, name)
    return {gateway: target for gateway, (_, target) in found.items()}, True


def routers() -> list[str]:
    """Neighbours that are there right now and say that they are routers (IPv6, RFC 4861).

    Raises:
        KernelError: the kernel does not list its neighbours.
    """
    found = []
    body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0)
    for message, kind, _, at in messages(_NETLINK_ROUTE, _GET_NEIGHBOUR, body):
        _raise_on_error(message, kind, at, "list the neighbours")
        if kind != _NEW_NEIGHBOUR:
            continue
        length = HEADER.unpack_from(message, at)[0]
        _family, _interface, state, flags, _type = _NEIGHBOUR.unpack_from(message, at + HEADER.size)
        if not flags & _ROUTER or not state & (_REACHABLE | _DELAY | _PROBE | _PERMANENT):
            continue
        address = dict(attributes(message[at + HEADER.size + _NEIGHBOUR.size : at + length])).get(
            _TARGET, b""
        )
        if text := _text(address):
            found.append(text)
    return found


def _gateways(parts: dict[int, bytes]) -> Iterator[str]:
    if text := _text(parts.get(_GATEWAY, b"")):
        yield text
    if _VIA in parts and (text := _text(parts[_VIA][2:])):  # struct rtvia: the family stands first
        yield text
    hops = parts.get(_MULTIPATH, b"")
    at = 0
    while at + _NEXT_HOP.size <= len(hops):
        size = _NEXT_HOP.unpack_from(hops, at)[0]
        if size < _NEXT_HOP.size:
            return
        yield from _gateways(dict(attributes(hops[at + _NEXT_HOP.size : at + size])))
        at += (size + 3) & ~3


def _text(packed: bytes) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    return socket.inet_ntop(socket.AF_INET6, packed) if len(packed) == 16 else ""


def _raise_on_error(message: memoryview, kind: int, at: int, what: str) -> None:
    if kind == ERROR:
        code = -struct.unpack_from("=i", message, at + HEADER.size)[0]
        if code:
            raise KernelError(what, code)
