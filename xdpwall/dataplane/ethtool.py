# SPDX-License-Identifier: Apache-2.0
"""The counters that a driver keeps of its NIC, as ``ethtool -S`` shows them: by ioctl, with the standard library alone.

Numbers and structs are from the kernel's UAPI: ``linux/ethtool.h``, ``linux/sockios.h``.
"""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_STRINGS, _GET_STATISTICS, _GET_SET_INFO = 0x1B, 0x1D, 0x37
_SET_STATISTICS = 1
_NAME_BYTES = 32
_MOST = 65_536
"""Counters of one NIC. Large ones have a few thousand."""
_IFREQ = struct.Struct("=16sQ16x")  # name, pointer to the request; 40 bytes on 64-bit machines


def statistics(name: str) -> list[tuple[str, int]]:
    """Name and value of each counter, in the driver's order; empty where it has none or the interface is gone."""
    import ctypes

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:

        def ask(request: bytearray) -> None:
            raw = (ctypes.c_char * len(request)).from_buffer(request)
            fcntl.ioctl(handle, _SIOCETHTOOL, _IFREQ.pack(name.encode(), ctypes.addressof(raw)))

        try:
            # struct ethtool_sset_info: command, -, 64-bit mask of sets, a length for each set asked for.
            lengths = bytearray(struct.pack("=IIQI4x", _GET_SET_INFO, 0, 1 << _SET_STATISTICS, 0))
            ask(lengths)
            _, _, known, count = struct.unpack_from("=IIQI", lengths)
            if not known or not 0 < count <= _MOST:
                return []
            names = bytearray(struct.pack("=III", _GET_STRINGS, _SET_STATISTICS, count)) + bytes(
                count * _NAME_BYTES
            )
            ask(names)
            values = bytearray(struct.pack("=II", _GET_STATISTICS, count)) + bytes(count * 8)
            ask(values)
        except OSError:
            return []
    # A driver may have fewer by now (queues were taken away); then the rest reads as 0.
    texts = [
        bytes(names[at : at + _NAME_BYTES]).split(b"\0")[0].decode("ascii", "replace")
        for at in range(12, len(names), _NAME_BYTES)
    ]
    return list(zip(texts, struct.unpack_from(f"={count}Q", values, 8), strict=True))
