# SPDX-License-Identifier: Apache-2.0
"""The folder on the bpffs that keeps a wall alive when no process of ours runs.

<bpffs>/xdpwall/<instance>/maps/<map>  programs/<interface>  links/<interface>  clock  egress  off  unfinished

``unfinished`` is an empty folder, and there only while a load puts its programs in place: whoever finds it otherwise
knows that a load was killed in the middle.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xdpwall import owner
from xdpwall.dataplane import sys_bpf
from xdpwall.errors import KernelError, LayoutError, NotLoadedError, PrivilegeError, RefusedError
from xdpwall.paths import BPFFS, Paths

_BPF_FS_MAGIC = 0xCAFE4A11


def is_bpffs(folder: Path) -> bool:
    """Whether a bpffs is mounted there (``statfs``, BPF_FS_MAGIC of the kernel's ``uapi/linux/magic.h``)."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(folder), buffer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(buffer).value == _BPF_FS_MAGIC


def ensure_bpffs() -> None:
    """Mount the bpffs if it isn't.

    Raises:
        KernelError: it cannot be mounted.
    """
    if is_bpffs(BPFFS):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(BPFFS), b"bpf", 0, b"mode=0700") != 0:
        raise KernelError(
            f"mount the bpffs on {BPFFS}",
            ctypes.get_errno(),
            hint=f"try `mount -t bpf bpf {BPFFS}` as root; in a container the host must mount it",
        )


class Pins:
    """Paths and upkeep of one instance's pins."""

    def __init__(self, paths: Paths) -> None:
        self.root = paths.pins
        self.maps = self.root / "maps"
        self.programs = self.root / "programs"
        self.links = self.root / "links"
        self.clock = self.root / "clock"
        self.egress = self.root / "egress"
        self.off = self.root / "off"
        self.unfinished = self.root / "unfinished"
        self.staging = self.root.parent / f"{paths.instance}~loading"
        self._lock = paths.runtime / "load.lock"
        self._owner = owner.of_instance(paths)

    def program(self, interface: str) -> Path:
        """Where the program of an interface is pinned."""
        return self.programs / _pin_name(interface)

    def link(self, interface: str) -> Path:
        """Where the link of an interface is pinned."""
        return self.links / _pin_name(interface)

    def interfaces(self) -> list[str]:
        """Names of the interfaces that a link is pinned for, whatever version of xdpwall pinned it."""
        if not self.links.is_dir():
            return []
        pins = sorted(pin.name for pin in self.links.iterdir() if not pin.name.endswith("%new"))
        return [pin.replace("%2e", ".").replace("%25", "%") for pin in pins]

    def exist(self) -> bool:
        """Whether a wall is pinned.

        Raises:
            PrivilegeError: the folder cannot be read.
        """
        try:
            return self.maps.is_dir()
        except PermissionError:
            raise PrivilegeError(f"{self.root} cannot be read", hint="run it as root") from None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let only one load or unload of this instance run at a time.

        Raises:
            RefusedError: another one is running.
            PrivilegeError: the runtime folder cannot be written.
        """
        try:
            owner.private_folder(self._lock.parent, self._owner)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            os.fchmod(
                handle, 0o644
            )  # in a private folder; a controller that is not root may ask whether it is held
        except PermissionError:
            raise PrivilegeError(f"{self._lock} cannot be written", hint="run it as root") from None
        try:
            try:
                _take(handle)
            except BlockingIOError:
                raise RefusedError(
                    "another load or unload of this instance is running",
                    hint="wait for it to end, then try again",
                ) from None
            yield
        finally:
            os.close(handle)

    def is_busy(self) -> bool:
        """Whether a load or an unload is at work."""
        try:
            handle = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False  # none was ever at work here, or it is not ours to ask
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    def open_map(self, name: str) -> int:
        """File descriptor of a pinned map.

        Raises:
            NotLoadedError: no wall is loaded.
            LayoutError: the wall has no such map.
        """
        try:
            return sys_bpf.obj_get(self.maps / name)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            if not self.exist():
                raise not_loaded(self.root.name) from None
            raise LayoutError(f"the loaded wall has no map {name}: another version loaded it") from None

    def open_clock(self) -> int:
        """File descriptor of the pinned clock, see ``dataplane.ticks``."""
        return sys_bpf.obj_get(self.clock)

    def stage(self) -> Pins:
        """An empty folder beside the real one, to be filled and then put in place whole by :meth:`commit`."""
        remove_tree(self.staging)
        staged = Pins.__new__(Pins)
        staged.root = self.staging
        staged.maps, staged.programs = self.staging / "maps", self.staging / "programs"
        staged.links, staged.clock = self.staging / "links", self.staging / "clock"
        staged.egress, staged.unfinished = self.staging / "egress", self.staging / "unfinished"
        staged.staging, staged._lock, staged._owner = self.staging, self._lock, self._owner
        self.staging.parent.mkdir(exist_ok=True)
        self.staging.parent.chmod(0o755)  # whatever the umask: the owner of a wall must get through
        for folder in (staged.maps, staged.programs, staged.links, staged.unfinished):
            folder.mkdir(mode=0o700, parents=True)
        return staged

    def hand_over(self) -> None:
        """Give every pin to the owner of the instance: the service works on them without being root."""
        if self.root.is_dir():
            _give_tree(self.root, self._owner)

    def commit(self) -> None:
        """Put the staged folder in place: there is a whole wall or none."""
        _give_tree(self.staging, self._owner)
        self.staging.rename(self.root)

    def begin(self) -> None:
        """From now on until :meth:`finish` the wall may be half of one load and half of another."""
        self.unfinished.mkdir(mode=0o700, exist_ok=True)

    def finish(self) -> None:
        """All of the wall is of one load."""
        with suppress(FileNotFoundError):
            self.unfinished.rmdir()

    def remove(self) -> None:
        """Unpin everything of this instance, and what an interrupted load left."""
        remove_tree(self.staging)
        if self.root.is_dir():
            # Out of the way in one step: half a folder of maps would be a wall that nobody can open.
            self.root.rename(self.staging)
        remove_tree(self.staging)


def _pin_name(interface: str) -> str:
    """The bpffs keeps dots in names for itself, and VLAN interfaces are named like eth0.100."""
    return interface.replace("%", "%25").replace(".", "%2e")


def fresh_pin(path: Path) -> Path:
    """Where a pin is before it is put in place of another."""
    return path.with_name(f"{path.name}%new")


def replace_pin(fd: int, path: Path) -> None:
    """Pin in place of what is pinned there, with no moment in which nothing is."""
    fresh = fresh_pin(path)
    fresh.unlink(missing_ok=True)
    sys_bpf.obj_pin(fd, fresh)
    owner.give(fresh, owner.of_folder(path.parent))
    fresh.rename(path)


def _give_tree(folder: Path, to: owner.Owner) -> None:
    """Every pin and folder to one owner. By file descriptors: the owner could swap a folder for a symbolic link."""
    for _, folders, files, fd in os.fwalk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(name, to.uid, to.gid, dir_fd=fd, follow_symlinks=False)
    owner.give(folder, to)


def remove_tree(folder: Path) -> None:
    """Remove a folder of pins."""
    if not folder.is_dir() or folder.is_symlink():
        return
    shutil.rmtree(folder)  # by file descriptors: its owner may not be root


def not_loaded(instance: str) -> NotLoadedError:
    """The error for an instance with no wall, or with none that can be found."""
    if not is_bpffs(BPFFS):
        return NotLoadedError(
            f"no bpffs is mounted on {BPFFS}, where walls are pinned: no wall can be found",
            hint="if others still see it, work from where they do; if it was unmounted everywhere, nothing is filtered,"
            " and `xdpwall load` mounts it and puts the wall up",
        )
    return NotLoadedError(
        f"no wall is loaded under the instance {instance!r}", hint="load one with `xdpwall load -i INTERFACE`"
    )


def _take(handle: int) -> None:
    """Hold the lock. Tried for a moment: who only asks whether it is held has it for some microseconds.

    Raises:
        BlockingIOError: somebody has it.
    """
    for _ in range(4):
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
