# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: made, entered by a thread, removed.

``setns`` and ``unshare`` change the calling thread alone, so work inside a namespace runs on a thread of its own that
ends with the work. No fork: the program that drives the lab has other threads. Processes are started inside by
``nsenter --net=...``, which keeps the mount namespace and so the bpffs; ``ip netns exec`` would hide it.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from xdpwall.errors import KernelError, LabError

RUN_DIR = Path("/run/netns")
"""Where `ip netns` looks too, so that a lab can be looked at with the usual tools while it stands."""

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)
_Given = TypeVar("_Given")


def path_of(name: str) -> Path:
    """The file that stands for the namespace."""
    return RUN_DIR / name


def inside(name: str, work: Callable[[], _Given]) -> _Given:
    """Run ``work`` in the namespace, on a thread of its own, and give what it gives.

    Sockets that it opens stay in the namespace. ``/proc/sys/net`` and ``/proc/thread-self/net`` show the namespace.

    Raises:
        KernelError: the namespace cannot be entered.
        BaseException: whatever ``work`` raises.
    """

    def entered() -> _Given:
        handle = _open(name)
        try:
            _check(_libc.setns(handle, _CLONE_NEWNET), f"enter namespace {name}")
        finally:
            os.close(handle)
        return work()

    return _on_thread(entered)


def create(name: str) -> None:
    """Make a namespace that outlives this process until :func:`remove`.

    Raises:
        LabError: there is one of that name.
        KernelError: not root, or out of namespaces.
    """
    _share_run_dir()
    path = path_of(name)
    try:
        path.touch(mode=0o444, exist_ok=False)
    except FileExistsError:
        raise LabError(f"there is a namespace {name} already") from None

    def unshared() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), f"make namespace {name}")
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(own.encode(), os.fsencode(path), b"none", _MS_BIND, None), f"bind {path}")

    try:
        _on_thread(unshared)
    except BaseException:
        path.unlink()
        raise


def _share_run_dir() -> None:
    """Make the folder a shared mount of its own, as `ip netns add` does (ip-netns(8), iproute2's create_netns_dir).

    Whoever comes first does it. Were it left to a later `ip netns add`, our mounts would be in the folder twice by
    then, and could not be removed.
    """
    RUN_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = os.fsencode(RUN_DIR)
    if _libc.mount(b"", folder, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(folder, folder, b"none", _MS_BIND | _MS_REC, None), f"bind {RUN_DIR}")
    _check(_libc.mount(b"", folder, b"none", _MS_SHARED | _MS_REC, None), f"share {RUN_DIR}")


def remove(name: str) -> None:
    """Take the name away; the namespace goes when its last process has. No complaint when it is gone already."""
    path = path_of(name)
    _libc.umount2(os.fsencode(path), _MNT_DETACH)
    path.unlink(missing_ok=True)


def names(prefix: str) -> list[str]:
    """Namespaces whose name begins so, sorted."""
    try:
        return sorted(path.name for path in RUN_DIR.iterdir() if path.name.startswith(prefix))
    except FileNotFoundError:
        return []


def processes(name: str) -> list[int]:
    """Process ids of whatever runs in the namespace."""
    try:
        wanted = path_of(name).stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            there = (entry / "ns" / "net").stat()
        except OSError:  # it ended meanwhile, or is a kernel thread
            continue
        if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(int(entry.name))
    return sorted(found)


def write_sys(name: str, entry: str, text: str) -> bool:
    """Write a file of the namespace's own ``/sys/class/net``. Gives whether the kernel has it and took it.

    The /sys of this process shows another namespace. A fresh sysfs shows the one of the thread that mounts it; this
    one is there only for the moment.

    Args:
        name: the namespace.
        entry: below ``/sys/class/net``.
        text: what to write.
    """

    def work() -> bool:
        place = Path(tempfile.mkdtemp(prefix="xdpwall-sys-"))
        try:
            _check(_libc.mount(b"sysfs", os.fsencode(place), b"sysfs", 0, None), f"mount sysfs on {place}")
            try:
                (place / "class" / "net" / entry).write_text(text, encoding="ascii")
            finally:
                _libc.umount2(os.fsencode(place), _MNT_DETACH)
        except (OSError, KernelError):
            return False
        finally:
            place.rmdir()
        return True

    return inside(name, work)


def _open(name: str) -> int:
    try:
        return os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"open namespace {name}", error.errno or 0) from None


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise KernelError(what, code, hint="the lab needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")


def _on_thread(work: Callable[[], _Given]) -> _Given:
    given: list[_Given] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001 - handed on to the caller, below
            raised.append(error)

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return given[0]
