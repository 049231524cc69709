# SPDX-License-Identifier: Apache-2.0
"""How the wall stands on its interfaces, asked of everyone who knows: pins, link, netlink, and the load's own notes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpwall.dataplane import bypass, egress, rtlink, sys_bpf
from xdpwall.dataplane.attach import PAGE_FRAME_MTU
from xdpwall.dataplane.stages import STAGES
from xdpwall.errors import KernelError

if TYPE_CHECKING:
    from pathlib import Path

    from xdpwall.dataplane.pins import Pins
    from xdpwall.dataplane.table import InterfaceEntry


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load wrote down of one interface: the tag of the program it put there, and the MTU that it saw."""

    tag: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One interface that the wall is meant to stand on.

    Args:
        name: of the interface.
        mode: how the wall was attached last: ``native``, ``generic`` or None.
        index: number of the interface of that name, 0 when there is none.
        link_index: number of the interface that our link holds; 0 when the link is dead, None when none is pinned.
        link_name: its name now; empty when it is in no network namespace of ours.
        program, tag: what our link runs; 0 and empty when nothing.
        expected: what it ought to run: the pinned program, or its stand-in while the wall is off.
        pinned, pinned_tag: the program that is pinned for the interface; likewise.
        kernel_mode, kernel_program: what netlink says; see :class:`rtlink.LinkFacts`.
        mtu: now.
        loaded: what the load wrote down; None when that is not known.
        egress: programs of the filters with our handle, None where nobody listens.
        egress_pinned: the program that should be among them.
    """

    name: str
    mode: str | None
    index: int = 0
    link_index: int | None = None
    link_name: str = ""
    program: int = 0
    tag: str = ""
    expected: int = 0
    pinned: int = 0
    pinned_tag: str = ""
    kernel_mode: str | None = None
    kernel_program: int = 0
    mtu: int = 0
    loaded: Loaded | None = None
    egress: tuple[int, ...] | None = None
    egress_pinned: int = 0

    @property
    def fits(self) -> bool:
        """Whether the program was made for frames of the MTU of now."""
        return self.loaded is None or (self.mtu > PAGE_FRAME_MTU) == (self.loaded.mtu > PAGE_FRAME_MTU)


def standings(
    pins: Pins, entries: Iterable[InterfaceEntry], notes: Mapping[str, Loaded], *, listens: bool
) -> list[Standing]:
    """Ask about each interface.

    Args:
        pins: of the wall.
        entries: the table of interfaces; only those wanted are asked about.
        notes: what the load wrote down.
        listens: whether an egress program should stand there, too.

    Raises:
        KernelError: something cannot be asked.
    """
    links = rtlink.links()
    names = {link.index: link.name for link in links.values()}
    heard = egress.our_ids(pins) if listens else set()
    found = []
    for entry in entries:
        if not entry.wanted:
            continue
        here = links.get(entry.name)
        pinned, pinned_tag = _program(pins.program(entry.name))
        link_index, program = _link(pins.link(entry.name))
        tag = pinned_tag if program == pinned else _tag_of(program)
        filters: tuple[int, ...] | None = None
        if listens and here is not None:
            filters = tuple(ident for _, _, ident in egress.ours_by_netlink(here.index))
        found.append(
            Standing(
                name=entry.name,
                mode=entry.mode,
                index=0 if here is None else here.index,
                link_index=link_index,
                link_name=names.get(link_index or 0, ""),
                program=program,
                tag=tag,
                expected=_expected(pins, entry.name),
                pinned=pinned,
                pinned_tag=pinned_tag,
                kernel_mode=None if here is None else here.xdp_mode,
                kernel_program=0 if here is None else here.program_id,
                mtu=0 if here is None else here.mtu,
                loaded=notes.get(entry.name),
                egress=filters,
                egress_pinned=next(iter(heard), 0),
            )
        )
    return found


def notes(pins: Pins, names: Iterable[str]) -> dict[str, Loaded]:
    """What a load that just ended has put where. An interface that vanished meanwhile is left out.

    Raises:
        KernelError: it cannot be asked.
    """
    links = rtlink.links()
    found = {name: _program(pins.program(name))[1] for name in names if name in links}
    return {name: Loaded(tag, links[name].mtu) for name, tag in found.items() if tag}


def stage_ids(fd: int) -> dict[str, int]:
    """Program of each stage that a map of programs holds, by the name of the stage; 0 for none."""
    found = {}
    for name, place in STAGES.items():
        value = sys_bpf.map_lookup(fd, place.to_bytes(4, "little"), 4)
        found[name] = 0 if value is None else int.from_bytes(value, "little")
    return found


def _program(pin: Path) -> tuple[int, str]:
    """Id and tag of a pinned program, nothing where none is pinned."""
    try:
        program = sys_bpf.obj_get(pin)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return 0, ""
    try:
        info = sys_bpf.prog_info(program)
        return info.id, info.tag
    finally:
        os.close(program)


def _expected(pins: Pins, name: str) -> int:
    """Id of the program that ought to run on an interface; 0 when there is none."""
    try:
        program = bypass.open_running(pins, name)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return 0
    try:
        return sys_bpf.prog_info(program).id
    finally:
        os.close(program)


def _link(pin: Path) -> tuple[int | None, int]:
    """Number of the interface that a pinned link holds, and the program that it runs there."""
    try:
        link = sys_bpf.obj_get(pin)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return None, 0
    try:
        info = sys_bpf.link_info(link)
        return info.ifindex, info.prog_id if info.ifindex else 0
    finally:
        os.close(link)


def _tag_of(ident: int) -> str:
    """Tag of a program that is not pinned; empty when it may not be asked (that takes CAP_SYS_ADMIN)."""
    if not ident:
        return ""
    try:
        program = sys_bpf.prog_fd_by_id(ident)
    except KernelError:
        return ""
    try:
        return sys_bpf.prog_info(program).tag
    finally:
        os.close(program)
