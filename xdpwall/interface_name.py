# SPDX-License-Identifier: Apache-2.0
"""What can be the name of a network interface."""

from __future__ import annotations

_NAME_BYTES = 15  # IFNAMSIZ is 16 with its closing zero byte (linux/if.h)


def interface_fault(name: str) -> str | None:
    """What is wrong with the name of an interface, or None.

    The kernel's rule (dev_valid_name in net/core/dev.c), and the loopback, where every source is this host's own.
    """
    if not name:
        return "an interface has a name"
    if len(name.encode()) > _NAME_BYTES:
        return f'"{name}" is too long for an interface; the kernel takes {_NAME_BYTES} bytes'
    if name in {".", ".."} or any(c in "/:" or c.isspace() or not c.isprintable() for c in name):
        return f'"{name}" cannot be the name of an interface'
    if name == "lo":
        return 'the wall cannot stand on "lo": every packet there comes from this host itself'
    return None
