# SPDX-License-Identifier: Apache-2.0
"""What runs in the wall's place while it is off: a program of two instructions that passes everything.

<pins>/off/record is a map of one entry, ``_RECORD``: since when, until when, by whom. That folder is the single truth:
while it is there, the wall is meant to be off, and each interface's link to run off/programs/<interface>. The wall's
own programs, maps and links stay pinned.

With an end, the program compares the kernel's clock with it and goes on in the wall once it has passed, by a tail call:
so the wall is on again when due, whatever became of the processes. BPF instruction encoding: RFC 9669; helper numbers
are those of ``enum bpf_func_id`` in the kernel's ``uapi/linux/bpf.h``.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from xdpwall import owner
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.interface import OffState
from xdpwall.dataplane.pins import Pins, remove_tree, replace_pin
from xdpwall.errors import KernelError

_RECORD = struct.Struct("<QQQ64s128s")
"""Unix time of the beginning and of the end in ms, the end by CLOCK_MONOTONIC in ns (both 0: no end), who, why."""
_ARRAY, _PROG_ARRAY = 2, 3
_XDP_PASS = 2
_KTIME_GET_NS, _TAIL_CALL = 5, 12
_PROGRAM_NAME = "xdpwall_off"
_TRIES = 3


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def _load_64(target: int, value: int, source: int = 0) -> bytes:
    low, high = value & 0xFFFFFFFF, value >> 32
    return struct.pack("<BBhI", 0x18, source << 4 | target, 0, low) + struct.pack("<BBhI", 0, 0, 0, high)


_PASS = _instruction(0xB7, 0, value=_XDP_PASS) + _instruction(0x95)
"""r0 = XDP_PASS; exit"""


def _pass_until(mono_ns: int, wall: int) -> bytes:
    """Pass up to a moment, then go on in the wall; ``wall``: file descriptor of a map of programs with it at 0."""
    return (
        _instruction(0xBF, 6, 1)  # r6 = context
        + _instruction(0x85, value=_KTIME_GET_NS)
        + _load_64(1, mono_ns)
        + _instruction(0x3D, 0, 1, 2)  # if now >= end, over the next two
        + _PASS
        + _instruction(0xBF, 1, 6)
        + _load_64(2, wall, source=1)
        + _instruction(0xB7, 3, value=0)
        + _instruction(0x85, value=_TAIL_CALL)
        + _PASS  # only if there is no program
    )


def read(pins: Pins) -> OffState | None:
    """Whether the wall is meant to be off; None when not. An end that has passed: see :meth:`OffState.is_over`.

    Raises:
        KernelError: it cannot be read (not root).
    """
    try:
        fd = sys_bpf.obj_get(pins.off / "record")
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        raw = sys_bpf.map_lookup(fd, bytes(4), _RECORD.size) or bytes(_RECORD.size)
    finally:
        os.close(fd)
    since, until, mono, by, reason = _RECORD.unpack(raw)
    return OffState(since, until or None, mono or None, _text(by), _text(reason))


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def _cut(text: str, size: int) -> bytes:
    return text.encode()[:size].decode("utf-8", "ignore").encode()


def write(pins: Pins, state: OffState) -> None:
    """Say that the wall is meant to be off, in one step. Programs come after: see :func:`program`."""
    packed = _RECORD.pack(
        state.since_ms,
        state.until_ms or 0,
        state.until_mono_ns or 0,
        _cut(state.by, 64),
        _cut(state.reason, 128),
    )
    fd = sys_bpf.map_create(_ARRAY, 4, _RECORD.size, 1, "xdpwall_off")
    try:
        sys_bpf.map_update(fd, bytes(4), packed)
        if pins.off.is_dir():
            replace_pin(fd, pins.off / "record")
            return
        staged = pins.off.with_name("off%new")
        remove_tree(staged)
        for folder in (staged, staged / "programs", staged / "walls"):
            folder.mkdir(mode=0o700)
            owner.give(folder, owner.of_folder(pins.root))
        replace_pin(fd, staged / "record")
        staged.rename(pins.off)
    finally:
        os.close(fd)


def forget(pins: Pins) -> bool:
    """Say that the wall is meant to be on, in one step. Gives whether it was off."""
    aside = pins.off.with_name("off%old")
    remove_tree(aside)
    try:
        pins.off.rename(aside)
    except FileNotFoundError:
        return False
    remove_tree(aside)
    return True


def program(pins: Pins, name: str, wall: int, state: OffState, *, jumbo: bool) -> int:
    """Load and pin what runs on an interface in the wall's place. Gives its file descriptor; the caller closes it.

    Args:
        pins: of the wall; :func:`write` came before.
        name: the interface.
        wall: file descriptor of its program of the wall.
        state: with its end, if there is one.
        jumbo: frames can span buffers.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        return _program(pins, name, wall, state, jumbo)
    except KernelError as error:
        # The MTU was changed since the load: a tail call needs two programs of one kind.
        if error.errno != errno.EINVAL or state.until_mono_ns is None:
            raise
        return _program(pins, name, wall, state, not jumbo)


def _program(pins: Pins, name: str, wall: int, state: OffState, jumbo: bool) -> int:
    flags = sys_bpf.BPF_F_XDP_HAS_FRAGS if jumbo else 0
    if state.until_mono_ns is None:
        made = sys_bpf.prog_load(_PASS, _PROGRAM_NAME, flags=flags)
        _pin(made, _program_pin(pins, name))
        return made
    array = sys_bpf.map_create(_PROG_ARRAY, 4, 4, 1, "xdpwall_off")
    try:
        made = sys_bpf.prog_load(_pass_until(state.until_mono_ns, array), _PROGRAM_NAME, flags=flags)
        try:
            sys_bpf.map_update(array, bytes(4), wall.to_bytes(4, "little"))
            # A map of programs is emptied when nobody holds it but programs: so it is pinned, too.
            _pin(array, pins.off / "walls" / pins.program(name).name)
            _pin(made, _program_pin(pins, name))
        except BaseException:
            os.close(made)
            raise
        return made
    finally:
        os.close(array)


def _pin(fd: int, path: Path) -> None:
    try:
        replace_pin(fd, path)
    except FileNotFoundError as error:  # turned on meanwhile
        raise KernelError(f"pin {path}", errno.ENOENT) from error


def _program_pin(pins: Pins, name: str) -> Path:
    return pins.off / "programs" / pins.program(name).name


def open_running(pins: Pins, name: str) -> int:
    """What ought to run on an interface: the stand-in while the wall is off, else the wall. The caller closes it.

    Raises:
        KernelError: ENOENT when the wall has no program for it.
    """
    try:
        return sys_bpf.obj_get(_program_pin(pins, name))
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return sys_bpf.obj_get(pins.program(name))


def follow(pins: Pins, name: str) -> bool:
    """Make an interface's link run what it ought to. Gives whether it does; not, where there is no such interface now.

    Asked again afterwards: an `on`, an `off` or a load may have come in between.
    """
    for _ in range(_TRIES):
        try:
            link = sys_bpf.obj_get(pins.link(name))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        try:
            wanted = open_running(pins, name)
            try:
                found = sys_bpf.link_info(link)
                if not found.ifindex:
                    return False
                if found.prog_id == sys_bpf.prog_info(wanted).id:
                    return True
                sys_bpf.link_update(link, wanted)
            finally:
                os.close(wanted)
        finally:
            os.close(link)
    return True


def drop(pins: Pins, name: str) -> None:
    """Forget what stood in on an interface that the wall leaves."""
    for folder in ("programs", "walls"):
        (pins.off / folder / pins.program(name).name).unlink(missing_ok=True)
