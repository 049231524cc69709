# SPDX-License-Identifier: Apache-2.0
"""Dumps over netlink(7) with nothing but the standard library: for what is asked every few seconds."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from xdpwall.errors import KernelError

HEADER = struct.Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence, port id."""
ERROR, DONE = 2, 3
DUMP_INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: what was listed changed meanwhile."""
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_BUFFER = 1 << 17
_SECONDS = 10.0


def messages(protocol: int, kind: int, body: bytes) -> Iterator[tuple[memoryview, int, int, int]]:
    """Each message of the answer to a dump: the buffer, its type, its flags, the offset of its header.

    The buffer holds a message only until the next one is taken. The last one is of type DONE or ERROR.

    Args:
        protocol: ``NETLINK_*``.
        kind: type of the request.
        body: of the request.

    Raises:
        KernelError: the kernel does not answer.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as link:
        link.settimeout(_SECONDS)
        buffer = memoryview(bytearray(_BUFFER))
        try:
            link.send(HEADER.pack(HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
            while True:
                size = link.recv_into(buffer)
                at = 0
                while at + HEADER.size <= size:
                    length, what, flags, _, _ = HEADER.unpack_from(buffer, at)
                    # Behind it lies what an earlier message left in the buffer.
                    if length < HEADER.size + (4 if what in (DONE, ERROR) else 0) or at + length > size:
                        raise KernelError("read what the kernel says by netlink", errno.EBADMSG)
                    yield buffer, what, flags, at
                    if what in (DONE, ERROR):
                        return
                    at += (length + 3) & ~3
        except OSError as error:
            raise KernelError("ask the kernel by netlink", error.errno or errno.ETIMEDOUT) from None


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """Type and content of each attribute (``struct nlattr``), without the flags in the type."""
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4 or at + size > len(data):
            return
        yield kind & 0x3FFF, bytes(data[at + 4 : at + size])
        at += (size + 3) & ~3
