# SPDX-License-Identifier: Apache-2.0
"""Reads what the host's TCP says of itself, in the network namespace of this thread."""

from __future__ import annotations

from pathlib import Path

from xdpwall.incident.users import Stack, read_snmp

_SNMP = Path("/proc/thread-self/net/snmp")


def read_stack(mono_ns: int) -> Stack | None:
    """Connections now, and accepted so far; None where the kernel does not tell."""
    try:
        return read_snmp(_SNMP.read_text(encoding="ascii"), mono_ns)
    except OSError:
        return None
