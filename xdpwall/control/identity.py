# SPDX-License-Identifier: Apache-2.0
"""Root at work on an instance that belongs to the service's user: as that user, with only the capabilities it needs.

What root then makes (lock, socket, database) is the service's to use. And files in a folder that another user may write
are never opened with root's rights: a symbolic link put there leads nowhere that its owner could not go.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from xdpwall import owner
from xdpwall.errors import PrivilegeError, XdpwallError
from xdpwall.paths import Paths

_VERSION_3 = 0x20080522  # linux/capability.h: two words of 32 bits a set
# linux/capability.h: CAP_DAC_READ_SEARCH (through a bpffs of mode 0700), NET_ADMIN, PERFMON, BPF.
_KEPT = (2, 12, 38, 39)


@contextlib.contextmanager
def as_owner(paths: Paths) -> Iterator[None]:
    """Be the instance's owner while the block runs. Does nothing for root's own instances, and when we are not root.

    Enter it before any thread is started: the kernel keeps capabilities by thread.

    Raises:
        PrivilegeError: the runtime folder cannot be made, or the change is refused.
    """
    to = owner.of_instance(paths)
    if os.geteuid() != 0 or to.is_root:
        yield
        return
    before = os.getegid()
    try:
        owner.private_folder(paths.runtime, to)  # only root can make one in /run
        os.setegid(to.gid)
        os.seteuid(to.uid)
    except OSError as error:
        _back(before)
        raise PrivilegeError(
            f"instance {paths.instance!r} belongs to user {to.uid}, and we cannot work as that user: {error}",
            hint=f"make it root's again: chown -R root: {paths.state}",
        ) from None
    try:
        _raise_capabilities()
        yield
    finally:
        _back(before)


def _back(group: int) -> None:
    """Root again; the effective capabilities come back with the user (capabilities(7))."""
    os.seteuid(0)
    os.setegid(group)


def _raise_capabilities() -> None:
    """Make those of ``_KEPT`` effective that we hold; the change of the user has cleared them all."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("<Ii", _VERSION_3, 0))
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data) != 0:
        raise XdpwallError(f"capget: {os.strerror(ctypes.get_errno())}")
    # effective, permitted, inheritable of capabilities 0 to 31, then the same of 32 to 63
    low, high = list(struct.unpack_from("<3I", data)), list(struct.unpack_from("<3I", data, 12))
    wanted = sum(1 << number for number in _KEPT)
    low[0] = low[1] & wanted & 0xFFFFFFFF
    high[0] = high[1] & wanted >> 32
    packed = ctypes.create_string_buffer(struct.pack("<6I", *low, *high))
    if libc.capset(header, packed) != 0:
        raise XdpwallError(f"capset: {os.strerror(ctypes.get_errno())}")
