# SPDX-License-Identifier: Apache-2.0
"""Programs onto interfaces, by XDP links that own their place, and off again. Only ever our own.

A pinned link keeps the program attached without any process, and while it stands the kernel refuses everybody else's
attempt to replace it; so ours is known by the link, and a place that we hold no link for is not ours to touch.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from xdpwall.dataplane import bypass, rtlink, sys_bpf
from xdpwall.dataplane.aside import outside_loop
from xdpwall.dataplane.interface import InterfaceState
from xdpwall.dataplane.pins import Pins, fresh_pin, replace_pin
from xdpwall.errors import ForeignProgramError, KernelError, NotFoundError

_OCCUPIED = (errno.EBUSY, errno.EEXIST)
_FINAL = (*_OCCUPIED, errno.EPERM, errno.EACCES, errno.ENODEV, errno.ENOMEM)
_SIOCGIFMTU = 0x8921
PAGE_FRAME_MTU = 3000
"""Above this a frame may not fit one page with XDP's head room; drivers then want a program that takes fragments."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Outcome for one interface. ``swapped``: our earlier program was replaced with no gap."""

    name: str
    mode: str
    swapped: bool
    warning: str | None = None


def interface_index(name: str) -> int:
    """The kernel's number of an interface in this network namespace.

    Raises:
        NotFoundError: there is none of this name.
    """
    try:
        return socket.if_nametoindex(name)
    except OSError:
        others = ", ".join(sorted(other for _, other in socket.if_nameindex() if other != "lo"))
        raise NotFoundError(
            f"there is no interface {name!r} here", hint=f"there are: {others}" if others else None
        ) from None


def needs_fragments(name: str) -> bool:
    """Whether frames of this interface can span buffers."""
    return mtu(name) > PAGE_FRAME_MTU


def mtu(name: str) -> int:
    """The MTU, by ioctl SIOCGIFMTU: sysfs shows the network namespace it was mounted in, which may not be ours.

    Raises:
        NotFoundError: no such interface.
    """
    interface_index(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        raw = fcntl.ioctl(probe, _SIOCGIFMTU, struct.pack("16si12x", name.encode(), 0))
    return int(struct.unpack_from("i", raw, 16)[0])


def attach(pins: Pins, name: str, program: int, mode: str) -> Attachment:
    """Put a program on an interface, or swap it for the one of ours that is there.

    Args:
        pins: of the wall.
        name: the interface.
        program: file descriptor, not owned.
        mode: ``"auto"``, ``"native"`` or ``"generic"``.

    Raises:
        NotFoundError: no such interface.
        ForeignProgramError: a program that is not ours is there.
        KernelError: the kernel refused.
    """
    index = interface_index(name)
    off = bypass.read(pins)
    if off is None:
        done = _attach(pins, name, index, program, program, mode)
    else:
        stand_in = bypass.program(pins, name, program, off, jumbo=needs_fragments(name))
        try:
            done = _attach(pins, name, index, program, stand_in, mode)
        finally:
            os.close(stand_in)
    bypass.follow(pins, name)  # it may have been turned on or off meanwhile
    return done


def _attach(pins: Pins, name: str, index: int, program: int, running: int, mode: str) -> Attachment:
    """``running`` is what packets meet: the program itself, but while the wall is off."""
    link_pin = pins.link(name)
    _settle(link_pin, index)
    standing = _live_link(link_pin, index)
    if standing is not None:
        try:
            sys_bpf.link_update(standing, running)
        finally:
            os.close(standing)
        replace_pin(program, pins.program(name))
        return Attachment(name, "", swapped=True)
    link, used, warning = _create(name, index, running, mode)
    try:
        replace_pin(program, pins.program(name))
        replace_pin(link, link_pin)
    finally:
        os.close(link)
    return Attachment(name, used, swapped=False, warning=warning)


def _create(name: str, index: int, program: int, mode: str) -> tuple[int, str, str | None]:
    wanted = ("native", "generic") if mode == "auto" else (mode,)
    warning = None
    for used in wanted:
        flags = sys_bpf.XDP_FLAGS_DRV_MODE if used == "native" else sys_bpf.XDP_FLAGS_SKB_MODE
        try:
            return sys_bpf.link_create_xdp(program, index, flags), used, warning
        except KernelError as error:
            if error.errno in _OCCUPIED:
                raise _foreign(name, index) from None
            if used == wanted[-1] or error.errno in _FINAL:
                raise KernelError(
                    f"attach to {name} in {used} mode", error.errno, hint=_advice(error.errno)
                ) from None
            warning = (
                f"{name} has no native mode ({os.strerror(error.errno)}): fell back to generic mode,"
                f" which drops packets later and several times slower. {_advice(error.errno)}"
            )
    raise AssertionError("a mode was tried")


def _advice(code: int) -> str:
    if code == errno.ERANGE:
        return "The MTU is too large for this driver's XDP: lower it, or use a kernel of 5.18 or later."
    if code in (errno.EOPNOTSUPP, errno.EINVAL):
        return "The driver does not take native XDP as the interface is set up now: see `xdpwall doctor`."
    if code in (errno.EPERM, errno.EACCES):
        return "Root, or CAP_BPF and CAP_NET_ADMIN, are needed."
    if code == errno.ENODEV:
        return "The interface vanished meanwhile."
    return "See `xdpwall doctor`."


def _foreign(name: str, index: int) -> ForeignProgramError:
    ident = foreign_program_id(index)
    which = f" (id {ident})" if ident else ""
    return ForeignProgramError(
        f"interface {name} already runs an XDP program that is not ours{which}",
        hint=f"xdpwall never replaces another's program. See what it is with `bpftool net show dev {name}`; if it can"
        f" go: `ip link set dev {name} xdp off`, or detach it with the tool that put it there",
    )


def foreign_program_id(index: int) -> int:
    """Id of the XDP program on an interface, 0 for none, asked by netlink."""
    return outside_loop(lambda: _foreign_program_id(index))


def _foreign_program_id(index: int) -> int:
    from pyroute2 import IPRoute

    with IPRoute() as ipr:
        for message in ipr.get_links(index):
            xdp = message.get_attr("IFLA_XDP")
            if xdp is not None:
                return int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0)
    return 0


def attached_mode(name: str) -> str:
    """How the program on an interface runs, ``"native"`` or ``"generic"``, asked by netlink: a link does not tell."""
    facts = rtlink.links().get(name)
    return "generic" if facts is not None and facts.xdp_mode == "generic" else "native"


def detach(pins: Pins, name: str) -> bool:
    """Take our program off an interface and forget its pins. Gives whether it was on one."""
    link_pin = pins.link(name)
    was_on = False
    if link_pin.exists():
        link = sys_bpf.obj_get(link_pin)
        try:
            was_on = sys_bpf.link_info(link).ifindex != 0
            if was_on:
                sys_bpf.link_detach(link)
        finally:
            os.close(link)
        link_pin.unlink()
    pins.program(name).unlink(missing_ok=True)
    bypass.drop(pins, name)
    return was_on


def reattach(pins: Pins, name: str, mode: str | None) -> str:
    """Put the pinned program on an interface that came back. Gives the mode used.

    Raises:
        NotFoundError: no such interface.
        ForeignProgramError: another program is there.
        KernelError: the kernel refused.
    """
    program = open_program(pins, name)
    try:
        return attach(pins, name, program, "auto" if mode != "generic" else "generic").mode
    finally:
        os.close(program)


def renew(pins: Pins, name: str, mode: str | None) -> str:
    """Take our link off and put a new one up, where another mode may come of it. Gives the mode used.

    Nothing is filtered for about a millisecond meanwhile: there is no way to change the mode of a link.

    Raises:
        NotFoundError: no such interface.
        ForeignProgramError: another program was quicker.
        KernelError: the kernel refused.
    """
    program = open_program(pins, name)
    try:
        link = sys_bpf.obj_get(pins.link(name))
        try:
            sys_bpf.link_detach(link)
        finally:
            os.close(link)
        return attach(pins, name, program, "auto" if mode != "generic" else "generic").mode
    finally:
        os.close(program)


def state(pins: Pins, name: str, mode: str | None) -> InterfaceState:
    """What runs on an interface that should be guarded. Needs no netlink: the link knows."""
    expected = 0
    try:
        program = bypass.open_running(pins, name)
        try:
            expected = sys_bpf.prog_info(program).id
        finally:
            os.close(program)
        link = sys_bpf.obj_get(pins.link(name))
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return InterfaceState(name, _present_index(name), None, 0, expected)
    try:
        info = sys_bpf.link_info(link)
    finally:
        os.close(link)
    if info.ifindex == 0:  # the interface it stood on is gone; another of that name may be there
        return InterfaceState(name, _present_index(name), None, 0, expected)
    return InterfaceState(name, info.ifindex, mode, info.prog_id, expected)


def _present_index(name: str) -> int:
    """The kernel's number of an interface, 0 when there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def open_program(pins: Pins, name: str) -> int:
    """The program pinned for an interface; the caller closes it."""
    return sys_bpf.obj_get(pins.program(name))


def _settle(path: Path, index: int) -> None:
    """Put the link's pin in place that a killed load made and did not move there: it would look like another's."""
    fresh = fresh_pin(path)
    link = _live_link(fresh, index)
    if link is not None:
        os.close(link)
        fresh.rename(path)


def _live_link(path: Path, index: int) -> int | None:
    """Our link, if it still stands on this very interface."""
    try:
        link = sys_bpf.obj_get(path)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    if sys_bpf.link_info(link).ifindex == index:
        return link
    os.close(link)
    return None
