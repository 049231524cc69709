# SPDX-License-Identifier: Apache-2.0
"""The bpf(2) system call, as far as xdpwall needs it, with nothing but ctypes.

Why raw: the controller and the verbs that work on pins must run without bcc (and so without LLVM in their memory), and
bcc 0.26 knows neither XDP links nor program flags. Numbers and struct layouts are from the kernel's UAPI,
``include/uapi/linux/bpf.h``, where ``union bpf_attr`` has one struct a command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xdpwall.errors import KernelError, VerifierError

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_NUMBER = _SYSCALL_NUMBERS.get(platform.machine())
"""Looked up once: to ask each time costs more than the call itself."""

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = range(5)
_PROG_LOAD, _OBJ_PIN, _OBJ_GET, _TEST_RUN = 5, 6, 7, 10
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO = 13, 15
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34

BPF_ANY = 0
BPF_F_XDP_HAS_FRAGS = 1 << 5
BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1
PROG_TYPE_SCHED_CLS, PROG_TYPE_XDP = 3, 6
ATTACH_TYPE_XDP = 37
XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE = 1 << 1, 1 << 2

_ATTR_SIZE = 128
_MOST_MAPS = 64
"""That a program may use (``MAX_USED_MAPS`` of the kernel's ``include/linux/bpf_verifier.h``)."""
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _bpf(command: int, attr: bytes | bytearray) -> tuple[int, bytes]:
    """One call. Gives the result and the attr as the kernel left it; raises OSError."""
    number = _NUMBER
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) has no known number on {platform.machine()}")
    buffer = ctypes.create_string_buffer(bytes(attr).ljust(_ATTR_SIZE, b"\0"), _ATTR_SIZE)
    result = _syscall(ctypes.c_long(number), ctypes.c_int(command), buffer, ctypes.c_uint(_ATTR_SIZE))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def call(what: str, command: int, attr: bytes, *, hint: str | None = None) -> tuple[int, bytes]:
    """One bpf(2). Raises KernelError, which says what was asked."""
    try:
        return _bpf(command, attr)
    except OSError as error:
        code = error.errno or errno.EIO
        if hint is None and code == errno.EPERM:
            hint = "root, or the capabilities CAP_BPF and CAP_NET_ADMIN, are needed"
        raise KernelError(what, code, hint=hint) from None


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return ctypes.addressof(buffer) if buffer is not None else 0


# --- pins ------------------------------------------------------------------------------------------------------------


def obj_pin(fd: int, path: Path) -> None:
    """Pin a map, program or link.

    Raises:
        KernelError: EEXIST when the path is taken.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    call(f"pin {path}", _OBJ_PIN, struct.pack("<QI", _address(name), fd))


def obj_get(path: Path) -> int:
    """Open a pin. Gives a file descriptor, closed on exec.

    Raises:
        KernelError: ENOENT when nothing is pinned there.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    return call(f"open pin {path}", _OBJ_GET, struct.pack("<QI", _address(name), 0))[0]


# --- maps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel says of a map (``struct bpf_map_info``)."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


def map_create(kind: int, key_size: int, value_size: int, entries: int, name: str, *, flags: int = 0) -> int:
    """Make a map of a type of ``enum bpf_map_type``. Gives its file descriptor."""
    shape = struct.pack("<7I16s", kind, key_size, value_size, entries, flags, 0, 0, name.encode()[:15])
    return call(f"create map {name}", _MAP_CREATE, shape)[0]


def map_info(fd: int) -> MapInfo:
    """Shape of a map."""
    raw = _object_info(fd, 88, "read map info")
    kind, ident, key, value, entries, flags = struct.unpack_from("<6I", raw)
    return MapInfo(kind, ident, key, value, entries, flags, raw[24:40].split(b"\0")[0].decode())


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Value of a key, None when it is not there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_size)
    try:
        _bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", fd, 0, _address(key_buffer), _address(value), 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise KernelError("map lookup", error.errno or errno.EIO) from None
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = BPF_ANY) -> None:
    """Write one entry.

    Raises:
        KernelError: E2BIG or ENOSPC when the map is full.
    """
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    call(
        "map update",
        _MAP_UPDATE,
        struct.pack("<IIQQQ", fd, 0, _address(key_buffer), _address(value_buffer), flags),
    )


def map_delete(fd: int, key: bytes) -> bool:
    """Delete one entry. Gives whether it was there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    try:
        _bpf(_MAP_DELETE, struct.pack("<IIQQQ", fd, 0, _address(key_buffer), 0, 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise KernelError("map delete", error.errno or errno.EIO) from None
    return True


def map_keys(fd: int, key_size: int) -> Iterator[bytes]:
    """All keys. A key deleted while iterating makes the kernel start again, so each key is given at most once."""
    seen: set[bytes] = set()
    current: ctypes.Array[ctypes.c_char] | None = None
    following = ctypes.create_string_buffer(key_size)
    while True:
        try:
            _bpf(_MAP_NEXT_KEY, struct.pack("<IIQQQ", fd, 0, _address(current), _address(following), 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise KernelError("map iteration", error.errno or errno.EIO) from None
        key = following.raw
        if key not in seen:
            seen.add(key)
            yield key
        elif len(seen) > 10_000_000:  # a map that changes faster than we read must not hold us for ever
            return
        current = ctypes.create_string_buffer(key, key_size)


# --- programs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel says of a program (``struct bpf_prog_info``). ``tag`` is the digest of its instructions."""

    type: int
    id: int
    tag: str
    name: str
    jited_bytes: int
    instructions: int


def prog_load(instructions: bytes, name: str, *, prog_type: int = PROG_TYPE_XDP, flags: int = 0) -> int:
    """Load a program. Gives its file descriptor.

    Args:
        instructions: 8 bytes each, map references already file descriptors.
        name: up to 15 characters, for bpftool and the like.
        prog_type: ``PROG_TYPE_*``.
        flags: ``BPF_F_*`` of program load.

    Raises:
        VerifierError: refused, with the verifier's log.
        KernelError: failed for another cause (EPERM, ENOMEM).
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL")

    def attempt(log_level: int, log: ctypes.Array[ctypes.c_char] | None) -> int:
        attr = struct.pack(
            "<IIQQIIQII16sII",
            prog_type,
            len(instructions) // 8,
            _address(code),
            _address(licence),
            log_level,
            len(log) if log is not None else 0,
            _address(log),
            0,
            flags,
            name.encode()[:15],
            0,
            0,
        )
        return _bpf(_PROG_LOAD, attr)[0]

    try:
        return attempt(0, None)
    except OSError as error:
        code_ = error.errno or errno.EIO
        if code_ not in (errno.EACCES, errno.EINVAL, errno.E2BIG, errno.EPERM):
            raise KernelError(f"load program {name}", code_) from None
    log = ctypes.create_string_buffer(16 << 20)
    try:
        return attempt(1, log)
    except OSError as error:
        text = log.value.decode(errors="replace")
        if not text:
            raise KernelError(f"load program {name}", error.errno or errno.EIO) from None
        raise VerifierError(
            f"the kernel's verifier refused program {name}",
            text,
            hint="this is a bug of xdpwall on this kernel: please report it with `xdpwall doctor -o json`",
        ) from None


def prog_info(fd: int) -> ProgramInfo:
    """Identity of a program."""
    raw = _object_info(fd, 128, "read program info")
    kind, ident = struct.unpack_from("<II", raw)
    jited, xlated = struct.unpack_from("<II", raw, 16)
    return ProgramInfo(kind, ident, raw[8:16].hex(), raw[64:80].split(b"\0")[0].decode(), jited, xlated // 8)


def prog_map_ids(fd: int) -> set[int]:
    """Ids of the maps that a program uses."""
    ids = (ctypes.c_uint32 * _MOST_MAPS)()
    info = ctypes.create_string_buffer(128)
    struct.pack_into("<IQ", info, 52, _MOST_MAPS, ctypes.addressof(ids))
    call("read program info", _OBJ_GET_INFO, struct.pack("<IIQ", fd, 128, _address(info)))
    (count,) = struct.unpack_from("<I", info, 52)
    return set(ids[: min(count, _MOST_MAPS)])


def prog_fd_by_id(ident: int) -> int:
    """Open a loaded program by its id (needs CAP_SYS_ADMIN)."""
    return call(f"open program id {ident}", _PROG_GET_FD_BY_ID, struct.pack("<III", ident, 0, 0))[0]


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of a test run. ``duration_ns`` is the kernel's mean per repetition."""

    verdict: int
    data: bytes
    duration_ns: int


def test_run(
    prog_fd: int,
    data: bytes,
    *,
    repeat: int = 1,
    ctx: bytes | None = None,
    live_frames: bool = False,
    batch: int = 0,
    room: int = 256,
) -> RunResult:
    """Run a program on a packet with no interface at risk (``BPF_PROG_TEST_RUN``).

    Args:
        prog_fd: the program.
        data: the packet from its Ethernet header on, 14 bytes at least.
        repeat: how often.
        ctx: a ``struct xdp_md`` (24 bytes; see :func:`xdp_context`) or None.
        live_frames: really send what the program returns XDP_TX or XDP_REDIRECT for, ``batch`` at a time.
        batch: frames per batch with ``live_frames``; 0 for the kernel's default of 64.
        room: how many bytes the packet may grow.

    Raises:
        KernelError: EINVAL for an impossible packet or context.
    """
    source = ctypes.create_string_buffer(data, len(data))
    target = None if live_frames else ctypes.create_string_buffer(len(data) + room)
    context = ctypes.create_string_buffer(ctx, len(ctx)) if ctx is not None else None
    attr = struct.pack(
        "<IIIIQQIIIIQQIII",
        prog_fd,
        0,
        len(data),
        len(target) if target is not None else 0,
        _address(source),
        _address(target),
        repeat,
        0,
        len(ctx) if ctx is not None else 0,
        0,
        _address(context),
        0,
        BPF_F_TEST_XDP_LIVE_FRAMES if live_frames else 0,
        0,
        batch if live_frames else 0,
    )
    while True:
        try:
            _, raw = _bpf(_TEST_RUN, attr)
            break
        except InterruptedError:
            continue
        except OSError as error:
            raise KernelError("test run", error.errno or errno.EIO) from None
    verdict, _, size_out = struct.unpack_from("<III", raw, 4)
    (duration,) = struct.unpack_from("<I", raw, 36)
    return RunResult(verdict, target.raw[:size_out] if target is not None else b"", duration)


def xdp_context(length: int, *, ifindex: int = 0, queue: int = 0) -> bytes:
    """A ``struct xdp_md`` for :func:`test_run`: data, data_end, data_meta, ifindex, queue, egress ifindex."""
    return struct.pack("<6I", 0, length, 0, ifindex, queue, 0)


# --- links -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the kernel says of an XDP link. ``ifindex`` is 0 once its interface has gone."""

    id: int
    prog_id: int
    ifindex: int


def link_create_xdp(prog_fd: int, ifindex: int, flags: int) -> int:
    """Attach a program to an interface by a link that owns the place.

    Args:
        prog_fd: an XDP program.
        ifindex: the interface.
        flags: ``XDP_FLAGS_DRV_MODE`` or ``XDP_FLAGS_SKB_MODE``.

    Raises:
        KernelError: EBUSY or EEXIST when another program is there, EOPNOTSUPP when the driver has no native mode,
            ERANGE when the MTU is too large.
    """
    attr = struct.pack("<IIII", prog_fd, ifindex, ATTACH_TYPE_XDP, flags)
    return call(f"attach to interface {ifindex}", _LINK_CREATE, attr)[0]


def link_update(link_fd: int, prog_fd: int) -> None:
    """Swap the program of a link atomically: each packet meets the old one or the new one."""
    call("swap the program of a link", _LINK_UPDATE, struct.pack("<IIII", link_fd, prog_fd, 0, 0))


def link_detach(link_fd: int) -> None:
    """Take the program of a link off its interface at once, whoever else holds the link."""
    call("detach a link", _LINK_DETACH, struct.pack("<I", link_fd))


def link_info(fd: int) -> LinkInfo:
    """State of an XDP link."""
    raw = _object_info(fd, 32, "read link info")
    _, ident, prog = struct.unpack_from("<III", raw)
    (ifindex,) = struct.unpack_from("<I", raw, 16)
    return LinkInfo(ident, prog, ifindex)


def _object_info(fd: int, size: int, what: str) -> bytes:
    info = ctypes.create_string_buffer(size)
    call(what, _OBJ_GET_INFO, struct.pack("<IIQ", fd, size, _address(info)))
    return info.raw
