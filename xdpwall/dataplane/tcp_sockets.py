# SPDX-License-Identifier: Apache-2.0
"""This host's TCP connections one by one: who holds them, and how much came in on each. Asked by sock_diag(7).

Structs and numbers are from the kernel's UAPI: ``linux/inet_diag.h``, ``linux/tcp.h``. Seen are the sockets of the
network namespace that this thread is in.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.netlink import ERROR, HEADER, attributes, messages
from xdpwall.errors import KernelError
from xdpwall.model import Prefix

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_TCP = 6
_REQUEST = struct.Struct("=BBBBI48x")
_IDS_AT = HEADER.size + 4
_IDS = struct.Struct(">HH16s16s")
_INODE_AT = HEADER.size + 68  # after idiag_expires, idiag_rqueue, idiag_wqueue and idiag_uid
_MESSAGE = HEADER.size + 72
_INFO = 2  # INET_DIAG_INFO
_TALKING = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8  # ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT
_SEGMENTS_IN_AT = 140
"""``tcpi_segs_in`` of ``struct tcp_info``: segments that found this socket."""
_BYTES_IN_AT = 128
"""``tcpi_bytes_received``: what came in sequence."""
_V4_MAPPED = bytes(10) + b"\xff\xff"
_BYTECODE = 1  # INET_DIAG_REQ_BYTECODE
_JUMP, _PEER = 1, 8  # INET_DIAG_BC_JMP, INET_DIAG_BC_D_COND
_OP = struct.Struct("=BBH")  # struct inet_diag_bc_op: code, where to go on yes, where on no
_HOST = struct.Struct(
    "=BBxxi"
)  # struct inet_diag_hostcond: family, prefix length, port (-1: any), then the address
MOST_PEERS = 500


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection whose handshake was completed.

    Args:
        flow: its addresses and ports. ``inode``: of the socket, as in ``/proc/PID/fd``; 0 when nobody holds it.
        segments, octets: what came in on it; 0 where it was not asked for.
    """

    flow: Flow
    inode: int
    segments: int = 0
    octets: int = 0


def connections(*, counted: bool = False, peers: Sequence[Prefix] = ()) -> Iterator[Connection]:
    """Each connection of this host with somebody outside.

    Args:
        counted: whether to read what came in, too. Costs about twice as much.
        peers: only those with somebody in one of these, at most :data:`MOST_PEERS`; the kernel chooses them. None: all.

    Raises:
        KernelError: the kernel has no sock_diag, or refuses.
    """
    body = {
        family: _REQUEST.pack(family, _TCP, 1 << (_INFO - 1) if counted else 0, 0, _TALKING)
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    filtered = _attribute(_BYTECODE, _choose(peers)) if peers else b""
    for family, head in body.items():
        request = head + filtered
        for message, kind, _, at in messages(_NETLINK_SOCK_DIAG, _BY_FAMILY, request):
            if kind == ERROR:
                code = -struct.unpack_from("=i", message, at + HEADER.size)[0]
                if (
                    code == errno.ENOENT
                    and family == socket.AF_INET6
                    and not Path("/proc/net/if_inet6").exists()
                ):
                    break
                if code:
                    raise KernelError(
                        "list the TCP sockets", code, hint="the kernel module tcp_diag is needed"
                    )
            elif kind == _BY_FAMILY:
                local_port, peer_port, local, peer = _IDS.unpack_from(message, at + _IDS_AT)
                if family == socket.AF_INET:
                    local, peer = local[:4], peer[:4]
                elif local.startswith(_V4_MAPPED):
                    local, peer = local[12:], peer[12:]
                if _loopback(local):
                    continue
                inode = struct.unpack_from("=I", message, at + _INODE_AT)[0]
                segments, octets = _counters(message, at) if counted else (0, 0)
                yield Connection(Flow(_TCP, local, local_port, peer, peer_port), inode, segments, octets)


def _choose(peers: Sequence[Prefix]) -> bytes:
    """A program for inet_diag that accepts connections with any of these: compare, then end or try the next one.

    Accepted is what ends exactly behind the last instruction (inet_diag_bc_run in net/ipv4/inet_diag.c).
    """
    parts = []
    for prefix in peers:
        family = socket.AF_INET if prefix.version == 4 else socket.AF_INET6
        condition = _HOST.pack(family, prefix.length, -1) + prefix.packed
        size = _OP.size + len(condition)
        parts.append((_OP.pack(_PEER, size, size + _OP.size) + condition, size))
    left = sum(size + _OP.size for _, size in parts) - _OP.size  # none behind the last one
    program = b""
    for number, (code, size) in enumerate(parts):
        left -= size
        program += code
        if number + 1 < len(parts):
            program += _OP.pack(_JUMP, _OP.size, left)
            left -= _OP.size
    return program


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data


def _counters(message: memoryview, at: int) -> tuple[int, int]:
    length = HEADER.unpack_from(message, at)[0]
    info = dict(attributes(message[at + _MESSAGE : at + length])).get(_INFO, b"")
    if len(info) < _SEGMENTS_IN_AT + 4:
        return 0, 0  # a kernel before 4.6
    return (
        struct.unpack_from("=I", info, _SEGMENTS_IN_AT)[0],
        struct.unpack_from("=Q", info, _BYTES_IN_AT)[0],
    )


def _loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == b"\0" * 15 + b"\x01"
