# SPDX-License-Identifier: Apache-2.0
"""Events of rtnetlink(7): a socket that says that interfaces, addresses or routes changed, and nothing about how.

Numbers are from the kernel's UAPI, ``linux/rtnetlink.h``.
"""

from __future__ import annotations

import errno
import socket
from typing import Literal

from xdpwall.dataplane.netlink import HEADER
from xdpwall.errors import KernelError

What = Literal["link", "address", "route"]
EVERYTHING: frozenset[What] = frozenset({"link", "address", "route"})

# Not the groups of neighbours: their events come by the thousand in a flood.
_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE = 0x1, 0x10, 0x40, 0x100, 0x400
_GROUPS = _LINK | _IPV4_IFADDR | _IPV4_ROUTE | _IPV6_IFADDR | _IPV6_ROUTE
_EVENTS: dict[int, What] = {  # RTM_NEW* and RTM_DEL*
    16: "link",
    17: "link",
    20: "address",
    21: "address",
    24: "route",
    25: "route",
}
_BUFFER = 1 << 16
_MOST_READS = 64


class Monitor:
    """The socket. Never blocks; :meth:`fileno` says when there is something, for an event loop.

    Raises:
        KernelError: there is no rtnetlink.
    """

    def __init__(self) -> None:
        try:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        except OSError as error:
            raise KernelError("watch the interfaces by netlink", error.errno or errno.EIO) from None
        try:
            self._socket.bind((0, _GROUPS))
        except OSError as error:
            self._socket.close()
            raise KernelError("watch the interfaces by netlink", error.errno or errno.EIO) from None

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> set[What]:
        """What changed since the last time. Everything, when events came faster than they were read.

        Raises:
            KernelError: the socket is no good any more.
        """
        found: set[What] = set()
        for _ in range(_MOST_READS):
            try:
                data, (sender, _) = self._socket.recvfrom(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError("watch the interfaces by netlink", error.errno or errno.EIO) from None
                found |= EVERYTHING
                continue
            if sender == 0:  # other processes may write to it, too
                found |= _events(data)
        return found

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _events(data: bytes) -> set[What]:
    found: set[What] = set()
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if kind in _EVENTS:
            found.add(_EVENTS[kind])
        if length < HEADER.size:
            break
        at += (length + 3) & ~3
    return found
