# SPDX-License-Identifier: Apache-2.0
"""The program that listens to what this host sends, onto the egress of interfaces (clsact) and off again.

It stands beside whatever others have there: its filter has a handle of our own, and only a filter whose program is
ours is ever replaced or removed. It passes every packet on to the next filter.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Container
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from xdpwall.dataplane import rtlink, sys_bpf
from xdpwall.dataplane.aside import outside_loop
from xdpwall.dataplane.attach import interface_index
from xdpwall.dataplane.pins import Pins, replace_pin
from xdpwall.errors import KernelError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EGRESS = 0xFFFFFFF3
"""TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) of ``linux/pkt_sched.h``."""
_HANDLE = 0x78647077
_TCA_BPF_ID = 11
_ALL = 0x0003  # ETH_P_ALL
_FIRST_PRIORITY, _LAST_PRIORITY = 1, 16
NAME = "xdpwall"
_MAP = "proofs"
"""What the program writes."""


def attach(pins: Pins, interface: str, program: int) -> None:
    """Put the program on an interface's egress, or in place of ours that is there. Pins it, too.

    Args:
        pins: of the wall.
        interface: its name.
        program: file descriptor, not owned.

    Raises:
        NotFoundError: no such interface.
        KernelError: the kernel refused; EOPNOTSUPP or ENOENT where it has no clsact.
    """
    index = interface_index(interface)
    replace_pin(program, pins.egress)
    ours = _Ours(pins)
    outside_loop(lambda: _attach(interface, index, program, ours))


def _attach(interface: str, index: int, program: int, ours: _Ours) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as ipr:
        try:
            ipr.tc("add", "clsact", index)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise KernelError(f"add clsact to {interface}", error.code) from None
        standing = [priority for priority, ident in _filters(ipr, index) if ident in ours]
        fault: NetlinkError | None = None
        for priority in standing or range(_FIRST_PRIORITY, _LAST_PRIORITY):
            try:
                ipr.tc(
                    "replace-filter" if standing else "add-filter",
                    "bpf",
                    index,
                    _HANDLE,
                    parent=_EGRESS,
                    fd=program,
                    name=NAME,
                    direct_action=True,
                    prio=priority,
                    protocol=_ALL,
                )
            except NetlinkError as error:
                fault = error
            else:
                return
    code = fault.code if fault is not None else errno.EBUSY
    raise KernelError(f"put the egress program on {interface}", code) from None


def is_attached(pins: Pins, interface: str) -> bool:
    """Whether our pinned program is on the egress of an interface."""
    try:
        index, ours = interface_index(interface), our_ids(pins)
    except NotFoundError:
        return False
    return any(ident in ours for _, _, ident in ours_by_netlink(index))


def ours_by_netlink(index: int) -> list[tuple[int, int, int]]:
    """Handle, priority and program id of the filters with our handle, whoever's program they run.

    Raises:
        KernelError: the kernel does not answer.
    """
    return [found for found in rtlink.filters(index, _EGRESS) if found[0] == _HANDLE]


def detach(pins: Pins, interface: str) -> bool:
    """Take our filter off an interface. Gives whether it was there.

    The clsact itself stays: it costs nothing, and another may have come to rely on it meanwhile.
    """
    try:
        index = interface_index(interface)
    except NotFoundError:
        return False
    ours = _Ours(pins)
    return outside_loop(lambda: _detach(index, ours))


def _detach(index: int, ours: _Ours) -> bool:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    found = _priorities(index, ours)
    with IPRoute() as ipr:
        for priority in found:
            with suppress(NetlinkError):  # gone meanwhile
                ipr.tc("del-filter", "bpf", index, _HANDLE, parent=_EGRESS, prio=priority, protocol=_ALL)
    return bool(found)


def _priorities(index: int, ours: Container[int]) -> list[int]:
    from pyroute2 import IPRoute

    with IPRoute() as ipr:
        return [priority for priority, ident in _filters(ipr, index) if ident in ours]


def reattach(pins: Pins, interface: str) -> bool:
    """Put the pinned program back. Gives whether it was needed.

    Raises:
        KernelError: as in :func:`attach`.
    """
    if not pins.egress.exists() or is_attached(pins, interface):
        return False
    program = sys_bpf.obj_get(pins.egress)
    try:
        attach(pins, interface, program)
    finally:
        os.close(program)
    return True


def our_ids(pins: Pins) -> set[int]:
    """Id of the pinned program; empty when there is none."""
    try:
        program = sys_bpf.obj_get(pins.egress)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return set()
    try:
        return {sys_bpf.prog_info(program).id}
    finally:
        os.close(program)


class _Ours:
    """Ids of programs that are ours to replace and to remove: the pinned one, and every other that uses our maps.

    The pin alone does not tell: with one swap for several interfaces, or a load killed in between, an interface has the
    program of the load before.
    """

    def __init__(self, pins: Pins) -> None:
        self._pinned = our_ids(pins)
        self._map = 0
        try:
            proofs = sys_bpf.obj_get(pins.maps / _MAP)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return
        try:
            self._map = sys_bpf.map_info(proofs).id
        finally:
            os.close(proofs)

    def __contains__(self, ident: object) -> bool:
        if ident in self._pinned:
            return True
        return isinstance(ident, int) and self._map != 0 and self._map in _maps_of(ident)


def _maps_of(ident: int) -> set[int]:
    """Ids of the maps of a program; none when it has gone, or may not be asked (that takes CAP_SYS_ADMIN)."""
    try:
        program = sys_bpf.prog_fd_by_id(ident)
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.EPERM, errno.EACCES):
            raise
        return set()
    try:
        return sys_bpf.prog_map_ids(program)
    finally:
        os.close(program)


def _filters(ipr: Any, index: int) -> Iterator[tuple[int, int]]:
    """Priority and program id of each of the bpf filters with our handle."""
    for message in ipr.get_filters(index=index, parent=_EGRESS):
        if message["handle"] != _HANDLE or message.get_attr("TCA_KIND") != "bpf":
            continue
        ident = _program_id(message.get_attr("TCA_OPTIONS"))
        if ident:
            yield message["info"] >> 16, ident


def _program_id(options: Any) -> int:
    """TCA_BPF_ID of ``linux/pkt_cls.h``, which pyroute2 0.9 hands over unread."""
    from pyroute2.netlink import nla_base

    for _, value in options["attrs"] if options is not None else ():
        if isinstance(value, nla_base) and value["header"]["type"] == _TCA_BPF_ID:
            return int.from_bytes(value.data[value.offset + 4 : value.offset + 8], "little")
    return 0
