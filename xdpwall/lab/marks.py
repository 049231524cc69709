# SPDX-License-Identifier: Apache-2.0
"""How the counter behind the wall tells the lab's attack from everything else: the source MAC address.

The wall does not look at MAC addresses, so the mark gives nothing away. ``bpf/lab/counter.c`` is the other side.
"""

from __future__ import annotations

MARK = bytes.fromhex("027877a7")
"""First four bytes of the source MAC of every attack packet. The fifth is the class, the sixth zero."""

CLASSES = 16
"""Entries of the counter's map."""

UNMARKED = CLASSES - 1
"""Where the counter puts everything that carries no mark."""


def source_mac(number: int) -> bytes:
    """Source MAC of a class, 0 to 14."""
    if not 0 <= number < UNMARKED:
        raise ValueError(f"class {number} has no mark")
    return MARK + bytes([number, 0])
