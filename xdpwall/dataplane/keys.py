# SPDX-License-Identifier: Apache-2.0
"""How the kernel packs a source or a meter prefix into 64 bits.

A key is eight bytes in network order. For IPv6 they are the first eight of the address: its /64. An IPv4 address
a.b.c.d takes the place ``ffff:0000:aabb:ccdd``: in multicast space (ff00::/8), which can never be an IPv6 source, so
the two families cannot meet. Prefix meters use the same form with the bytes past /24 or /48 zero. In C the bytes are
loaded as a native 64-bit number; on the little-endian machines we run on, that number is what Python gets from a
``<u8`` field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdpwall.model import Prefix

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

V4_MARK = b"\xff\xff\x00\x00"


def source_key(prefix: Prefix) -> int:
    """The kernel's key of one source.

    Args:
        prefix: an IPv4 /32 or an IPv6 /64.

    Raises:
        ValueError: another length: not one source.
    """
    if not prefix.is_source:
        raise ValueError(f"{prefix} is not one source")
    return int.from_bytes(V4_MARK + prefix.packed if prefix.version == 4 else prefix.packed[:8], "little")


def source_keys(addresses: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    """:func:`source_key` of many sources of one family, shape ``(n,)``.

    Args:
        addresses: all 4 bytes long (IPv4), or all 16 (any address of the IPv6 /64).
    """
    import numpy as np

    raw = b"".join(addresses)
    if len(addresses[0]) == 4:
        return np.frombuffer(raw, dtype="<u4").astype(np.uint64) << np.uint64(32) | np.uint64(0xFFFF)
    return np.frombuffer(raw, dtype="<u8")[::2].astype(np.uint64)


def source_prefix(key: int) -> Prefix:
    """The inverse of :func:`source_key`."""
    raw = key.to_bytes(8, "little")
    if raw.startswith(V4_MARK):
        return Prefix(raw[4:], 32)
    return Prefix(raw + bytes(8), 64)


def meter_key(prefix: Prefix) -> int:
    """The key of a prefix meter: an IPv4 /24 or an IPv6 /48.

    Raises:
        ValueError: another length.
    """
    if (prefix.version, prefix.length) not in ((4, 24), (6, 48)):
        raise ValueError(f"{prefix} has no meter")
    return int.from_bytes(V4_MARK + prefix.packed if prefix.version == 4 else prefix.packed[:8], "little")


def meter_prefix(key: int) -> Prefix:
    """The inverse of :func:`meter_key`."""
    raw = key.to_bytes(8, "little")
    if raw.startswith(V4_MARK):
        return Prefix(raw[4:7] + b"\x00", 24)
    return Prefix(raw[:6] + bytes(10), 48)
