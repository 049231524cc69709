# SPDX-License-Identifier: Apache-2.0
"""Whether others live behind an interface of this host: machines and containers on a bridge, macvlan and its kin.

Their packets pass the wall, and this host's sockets say nothing of their ports. Numbers are from the kernel's UAPI,
``linux/if_link.h``. A macvlan that was moved into another network namespace cannot be seen from here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xdpwall.dataplane.netlink import ERROR, HEADER, attributes, messages
from xdpwall.errors import KernelError

_NETLINK_ROUTE, _GET_LINK, _NEW_LINK = 0, 18, 16
_NAME, _LOWER, _MASTER, _INFO, _LOWER_ELSEWHERE, _XDP = 3, 5, 10, 18, 37, 43
_KIND, _SLAVE_KIND = 1, 4
_XDP_ATTACHED = 2
_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_SWITCHES = frozenset({"bridge", "openvswitch"})
_SHARERS = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. ``master`` and ``lower`` are indexes, 0 for none; ``xdp``: a program is on it."""

    name: str
    master: int = 0
    lower: int = 0
    kind: str = ""
    slave_kind: str = ""
    xdp: bool = False


def others_behind(interfaces: Collection[str] = ()) -> bool:
    """Whether somebody lives behind one of these interfaces, or behind any that runs an XDP program.

    Raises:
        KernelError: the kernel does not list its interfaces.
    """
    return is_shared(links(), interfaces)


def is_shared(found: Mapping[int, Link], interfaces: Collection[str]) -> bool:
    """The same of a list of interfaces, by index. What stands on an interface (VLANs) and above it (bonds) counts."""
    todo = [index for index, link in found.items() if link.xdp or link.name in interfaces]
    seen = set(todo)
    while todo:
        index = todo.pop()
        link = found[index]
        upper = [number for number, other in found.items() if other.lower == index]
        if link.slave_kind in _SWITCHES or any(found[number].kind in _SHARERS for number in upper):
            return True
        following = [number for number in upper if found[number].kind == "vlan"]
        if link.master in found:
            following.append(link.master)
        todo += [number for number in following if number not in seen]
        seen.update(following)
    return False


def links() -> dict[int, Link]:
    """All interfaces of the network namespace of this thread, by index.

    Raises:
        KernelError: the kernel does not list them.
    """
    found: dict[int, Link] = {}
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for message, kind, _, at in messages(_NETLINK_ROUTE, _GET_LINK, body):
        if kind == ERROR:
            code = -struct.unpack_from("=i", message, at + HEADER.size)[0]
            raise KernelError("list the interfaces", code)
        if kind == _NEW_LINK:
            (length, *_rest) = HEADER.unpack_from(message, at)
            index = _IFINFO.unpack_from(message, at + HEADER.size)[2]
            found[index] = _read(message[at + HEADER.size + _IFINFO.size : at + length])
    return found


def _read(data: memoryview) -> Link:
    all_ = dict(attributes(data))
    info = dict(attributes(all_.get(_INFO, b"")))
    xdp = dict(attributes(all_.get(_XDP, b"")))
    return Link(
        name=_text(all_.get(_NAME)),
        master=_number(all_.get(_MASTER)),
        # An index of another network namespace is none of ours.
        lower=0 if _LOWER_ELSEWHERE in all_ else _number(all_.get(_LOWER)),
        kind=_text(info.get(_KIND)),
        slave_kind=_text(info.get(_SLAVE_KIND)),
        xdp=bool(_number(xdp.get(_XDP_ATTACHED))),
    )


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.rstrip(b"\0").decode(errors="replace")


def _number(raw: bytes | None) -> int:
    return 0 if raw is None else int.from_bytes(raw, "little")
