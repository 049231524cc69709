# SPDX-License-Identifier: Apache-2.0
"""Which ports of this host have somebody listening, and whom it talks to, asked of the kernel's own sockets.

By sock_diag (netlink, sock_diag(7)), the one binary and filtered source: with 60,000 TCP connections it took 0.12 s,
where reading /proc/net/tcp took 0.19 s before a line of it was parsed, and psutil, which also looks through every
process's open files, 1.5 s. Numbers and structs are from the kernel's UAPI: ``linux/inet_diag.h``, ``linux/netlink.h``.

Seen are the sockets of the network namespace that this thread is in.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xdpwall.dataplane.behind import others_behind
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.netlink import DUMP_INTERRUPTED, ERROR, HEADER, messages
from xdpwall.errors import KernelError

if TYPE_CHECKING:
    from xdpwall.config import Config

ALL_PORTS = range(65536)
DHCP_CLIENTS = frozenset({68, 546})
"""UDP ports that count as open always: a DHCP client listens on a raw socket, and must keep its address in a flood."""
TCP, UDP = 6, 17

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20

# Socket states, include/net/tcp_states.h. UDP is "established" with a peer, and "closed" without.
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _LISTEN, _CLOSING = (
    1,
    4,
    5,
    7,
    8,
    9,
    10,
    11,
)
_TALKING = (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING)
"""TCP after a completed handshake. Not SYN_RECV: a SYN-ACK that we sent proves nothing."""

_REQUEST = struct.Struct("=BBBBI48x")  # family, protocol, extensions, -, states as bits; inet_diag_sockid
_STATE_AT = HEADER.size + 1
_IDS_AT = HEADER.size + 4
_IDS = struct.Struct(">HH16s16s")  # inet_diag_sockid: ports and addresses in network order
_V4_MAPPED = bytes(10) + b"\xff\xff"
_ANY = (bytes(4), bytes(16))
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Sockets:
    """What one look found.

    Args:
        tcp_ports: ports that a TCP socket listens on.
        udp_ports: ports that a UDP socket without a peer is bound to.
        flows: TCP connections whose handshake was completed, either way, and UDP sockets with a peer.

    Sockets that are bound to a loopback address are in none of them: no packet from outside can reach them.
    """

    tcp_ports: frozenset[int]
    udp_ports: frozenset[int]
    flows: list[Flow]


def read_sockets() -> Sockets:
    """Look at all TCP and UDP sockets.

    Raises:
        KernelError: the kernel has no sock_diag (modules ``tcp_diag``, ``udp_diag``), or refuses.
    """
    tcp_ports: set[int] = set()
    udp_ports: set[int] = set()
    flows: list[Flow] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for state, local, local_port, peer, peer_port in _dump(family, TCP, (_LISTEN, *_TALKING)):
            if state == _LISTEN:
                tcp_ports.add(local_port)
            elif peer_port:
                flows.append(Flow(TCP, local, local_port, peer, peer_port))
        for state, local, local_port, peer, peer_port in _dump(family, UDP, (_ESTABLISHED, _CLOSE)):
            if state == _ESTABLISHED and peer_port and peer not in _ANY:
                flows.append(Flow(UDP, local, local_port, peer, peer_port))
            elif local_port:
                udp_ports.add(local_port)
    return Sockets(frozenset(tcp_ports), frozenset(udp_ports), flows)


def forwards() -> bool:
    """Whether this host forwards packets, IPv4 or IPv6, in the network namespace of this thread.

    Then a port where no socket of its own listens may still be somebody's: a container's, or a machine's behind it.

    Raises:
        KernelError: the kernel does not tell.
    """
    # proc(5): /proc/sys/net shows the namespace of whoever opens it.
    return any(
        _flag(folder / name / "forwarding")
        for folder in (Path("/proc/sys/net/ipv4/conf"), Path("/proc/sys/net/ipv6/conf"))
        for name in _interfaces(folder)
    )


def _interfaces(folder: Path) -> Iterator[str]:
    """Folders of settings that are in force: "all" first, as it mostly tells. "default" is a pattern for new ones."""
    yield "all"
    if folder.is_dir():
        yield from (entry.name for entry in folder.iterdir() if entry.name not in {"all", "default", "lo"})


def _flag(path: Path) -> bool:
    try:
        return path.read_text(encoding="ascii").strip() not in {"", "0"}
    except FileNotFoundError:
        return False  # a kernel without that protocol, or the interface vanished meanwhile
    except OSError as error:
        raise KernelError(f"read {path}", error.errno or errno.EIO) from None


def open_ports(
    found: Sockets,
    closed_ports: Literal["auto", "always", "never"],
    *,
    forwarding: bool,
    named: Collection[str] = (),
) -> tuple[Collection[int], Collection[int]]:
    """Which TCP and which UDP ports count as open.

    Args:
        found: the sockets.
        closed_ports: ``lanes.closed_ports`` of the config.
        forwarding: whether ports of others lie behind this host, too: see :func:`forwards`, and ``dataplane.behind``.
        named: ports that the config names, like ``udp/53``. They count as open, whoever listens.
    """
    if closed_ports == "never" or (closed_ports == "auto" and forwarding):
        return ALL_PORTS, ALL_PORTS
    tcp, udp = set(found.tcp_ports), set(found.udp_ports) | DHCP_CLIENTS
    for name in named:
        protocol, _, number = name.partition("/")
        (tcp if protocol == "tcp" else udp).add(int(number))
    return tcp, udp


def _dump(
    family: socket.AddressFamily, protocol: int, states: tuple[int, ...]
) -> list[tuple[int, bytes, int, bytes, int]]:
    """State, local address, local port, peer address, peer port of each socket, without loopback.

    When the kernel says that its table changed beneath the dump, what was found may lack a socket: it is asked again.
    """
    for _ in range(_ATTEMPTS - 1):
        found, whole = _dump_once(family, protocol, states)
        if whole:
            return found
    return _dump_once(family, protocol, states)[0]


def _dump_once(
    family: socket.AddressFamily, protocol: int, states: tuple[int, ...]
) -> tuple[list[tuple[int, bytes, int, bytes, int]], bool]:
    what = f"list the {'TCP' if protocol == TCP else 'UDP'} sockets"
    found: list[tuple[int, bytes, int, bytes, int]] = []
    whole = True
    body = _REQUEST.pack(family, protocol, 0, 0, sum(1 << state for state in states))
    unpack, width = _IDS.unpack_from, 4 if family == socket.AF_INET else 16
    for message, kind, flags, at in messages(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, body):
        if flags & DUMP_INTERRUPTED:
            whole = False
        if kind == _SOCK_DIAG_BY_FAMILY:
            local_port, peer_port, local, peer = unpack(message, at + _IDS_AT)
            if width == 4:
                local, peer = local[:4], peer[:4]
            elif local.startswith(_V4_MAPPED):
                local, peer = local[12:], peer[12:]
            if _loopback(local):
                continue
            found.append((message[at + _STATE_AT], local, local_port, peer, peer_port))
        elif kind == ERROR:
            code = -struct.unpack_from("=i", message, at + HEADER.size)[0]
            if code == errno.ENOENT:
                # No handler: IPv6 is not there at all, or the module cannot be loaded.
                if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
                    return [], True
                raise KernelError(what, code, hint="the kernel modules tcp_diag and udp_diag are needed")
            if code:
                raise KernelError(what, code)
    return found, whole


def _loopback(address: bytes) -> bool:
    if len(address) == 4:
        return address[0] == 127
    return address == b"\0" * 15 + b"\x01"


@dataclass(frozen=True, slots=True)
class Survey:
    """What the wall should know: the ports that count as open, doors for administrators, and the flows."""

    tcp: Collection[int]
    udp: Collection[int]
    admin: Collection[int]
    flows: list[Flow]


def survey(config: Config, interfaces: Collection[str] = ()) -> Survey:
    """One look, made ready for the wall by what the config says of closed ports.

    Args:
        config: the configuration.
        interfaces: that the wall is about to stand on; those that it stands on already are found.

    Raises:
        KernelError: see :func:`read_sockets`.
    """
    found = read_sockets()
    lanes = config.lanes
    tcp, udp = open_ports(
        found,
        lanes.closed_ports,
        forwarding=lanes.closed_ports == "auto" and (forwards() or others_behind(interfaces)),
        named=[budget.port for budget in lanes.ports],
    )
    return Survey(tcp, udp, config.incident.admin_ports, found.flows)
