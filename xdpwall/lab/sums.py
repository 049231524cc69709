# SPDX-License-Identifier: Apache-2.0
"""One's complement sums of the Internet (RFC 1071), over words as they lie in memory on a little-endian machine."""

from __future__ import annotations

import struct


def words(data: bytes) -> int:
    """Sum of the 16-bit words of ``data``, little-endian, not folded; an odd last byte is padded with zero."""
    if len(data) % 2:
        data += b"\0"
    return sum(struct.unpack(f"<{len(data) // 2}H", data))


def checksum(total: int) -> bytes:
    """The two bytes that go into the packet for a sum of :func:`words`."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("<H", ~total & 0xFFFF)
