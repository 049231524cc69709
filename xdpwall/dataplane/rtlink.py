# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of interfaces: one dump over rtnetlink(7), cheap enough to ask every few seconds.

Numbers are from the kernel's UAPI: ``if_link.h``, ``rtnetlink.h``, ``pkt_sched.h`` and ``pkt_cls.h`` of ``linux/``.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from xdpwall.dataplane.netlink import DONE, DUMP_INTERRUPTED, ERROR, HEADER, attributes, messages

_NEW_LINK, _GET_LINK = 16, 18
_NEW_QDISC, _GET_QDISC = 36, 38
_NEW_FILTER, _GET_FILTER = 44, 46
_IFINFO = struct.Struct("=BxHiII")
_TC = struct.Struct("=BxxxiIII")
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_STATS64, _IFLA_XDP = 3, 4, 18, 23, 43
_INFO_KIND, _XDP_ATTACHED, _XDP_PROG_ID = 1, 2, 4
_MODES = {0: None, 1: "native", 2: "generic", 3: "hardware", 4: "several"}
_IFF_UP = 1
_TCA_KIND, _TCA_OPTIONS, _TCA_STATS2, _STATS_QUEUE, _BPF_ID = 1, 2, 7, 3, 11
_ROOT = 0xFFFFFFFF
_STATS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
          "multicast", "collisions", "rx_length", "rx_over", "rx_crc", "rx_frame", "rx_fifo", "rx_missed")  # fmt: skip
"""The first members of ``struct rtnl_link_stats64``, ``_errors`` left off from the eleventh on."""
_STATS64 = struct.Struct(f"={len(_STATS)}Q")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One interface.

    ``kind``: ``veth``, ``vlan``, ...; empty for a card. ``xdp_mode``: ``native``, ``generic``, ``hardware``,
    ``several`` or None. ``program_id``: of the XDP program on it, 0 for none or several. ``stats``: counters since it
    was made.
    """

    name: str
    index: int
    up: bool
    mtu: int
    kind: str
    xdp_mode: str | None
    program_id: int
    stats: dict[str, int] = field(default_factory=dict)


def links() -> dict[str, LinkFacts]:
    """All interfaces of this network namespace, by name.

    Raises:
        KernelError: the kernel does not answer.
    """
    found = {}
    for body in _dump(_GET_LINK, _NEW_LINK, _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = _IFINFO.unpack_from(body)
        link = _link(index, flags, dict(attributes(body[_IFINFO.size :])))
        found[link.name] = link
    return found


def queue_drops() -> dict[int, int]:
    """Packets that the outgoing queue of each interface (its root qdisc) has dropped, by the interface's number.

    Raises:
        KernelError: the kernel does not answer.
    """
    found: dict[int, int] = {}
    for body in _dump(_GET_QDISC, _NEW_QDISC, _TC.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, index, _, parent, _ = _TC.unpack_from(body)
        stats = dict(attributes(body[_TC.size :])).get(_TCA_STATS2)
        queue = None if stats is None else dict(attributes(stats)).get(_STATS_QUEUE)
        if parent == _ROOT and queue is not None and len(queue) >= 12:
            found[index] = int.from_bytes(queue[8:12], sys.byteorder)
    return found


def filters(index: int, parent: int) -> list[tuple[int, int, int]]:
    """Handle, priority and program id of each bpf filter at one place of an interface; empty where there is none.

    Raises:
        KernelError: the kernel does not answer.
    """
    found = []
    for body in _dump(_GET_FILTER, _NEW_FILTER, _TC.pack(socket.AF_UNSPEC, index, 0, parent, 0)):
        _, _, handle, _, info = _TC.unpack_from(body)
        facts = dict(attributes(body[_TC.size :]))
        if facts.get(_TCA_KIND, b"").rstrip(b"\0") == b"bpf" and handle:
            ident = dict(attributes(facts.get(_TCA_OPTIONS, b""))).get(_BPF_ID, b"")
            found.append((handle, info >> 16, int.from_bytes(ident[:4], sys.byteorder)))
    return found


def _dump(request: int, wanted: int, body: bytes) -> list[bytes]:
    """Bodies of the messages of one kind. What changed while it was listed is listed again."""
    found: list[bytes] = []
    for _ in range(_TRIES):
        found, whole = [], True
        for raw, kind, flags in _answers(request, body):
            whole &= not flags & DUMP_INTERRUPTED
            if kind == wanted:
                found.append(raw)
        if whole:
            break
    return found


def _answers(request: int, body: bytes) -> Iterator[tuple[bytes, int, int]]:
    for buffer, kind, flags, at in messages(socket.NETLINK_ROUTE, request, body):
        if kind in (DONE, ERROR):  # ERROR: for example no such interface any more, or no qdisc at all
            return
        (length,) = struct.unpack_from("=I", buffer, at)
        yield bytes(buffer[at + HEADER.size : at + length]), kind, flags


def _link(index: int, flags: int, facts: dict[int, bytes]) -> LinkFacts:
    xdp = dict(attributes(facts.get(_IFLA_XDP, b"")))
    kind = dict(attributes(facts.get(_IFLA_LINKINFO, b""))).get(_INFO_KIND, b"")
    raw = facts.get(_IFLA_STATS64, b"")
    stats = dict(zip(_STATS, _STATS64.unpack_from(raw), strict=True)) if len(raw) >= _STATS64.size else {}
    return LinkFacts(
        name=facts.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        index=index,
        up=bool(flags & _IFF_UP),
        mtu=int.from_bytes(facts.get(_IFLA_MTU, b""), sys.byteorder),
        kind=kind.rstrip(b"\0").decode(errors="replace"),
        xdp_mode=_MODES.get(int.from_bytes(xdp.get(_XDP_ATTACHED, b""), sys.byteorder)),
        program_id=int.from_bytes(xdp.get(_XDP_PROG_ID, b""), sys.byteorder),
        stats=stats,
    )
