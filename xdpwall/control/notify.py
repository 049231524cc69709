# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the service is doing (sd_notify(3)): one datagram to the socket in ``NOTIFY_SOCKET``."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(*lines: str) -> bool:
    """Send lines such as ``READY=1``. Gives whether there was somebody to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1))
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", lines[0], error)
        return False
    return True


def reloading(mono_ns: int) -> bool:
    """A reload begins; ``READY=1`` ends it. ``Type=notify-reload`` wants the time of CLOCK_MONOTONIC with it."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={mono_ns // 1000}")


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear ``WATCHDOG=1``: half of its patience; None when it does not watch us."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    if not micros.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(micros) / 2e6 or None
