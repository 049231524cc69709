# SPDX-License-Identifier: Apache-2.0
"""Log lines for journald with fields of their own: who it is about, which rule, which incident.

`journalctl -u xdpwall XDPWALL_SOURCE=203.0.113.9` finds every line about one source. Field names and the socket are
those of systemd.journal-fields(7) and of the native protocol (systemd's JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

from logging_journald import JournaldTransport

IDENTIFIER = "xdpwall"
FIELDS = ("event", "source", "rule", "incident", "reason", "check")
"""What a line can say of itself; each becomes a field ``XDPWALL_...``."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class JournalHandler(logging.Handler):
    """Sends records to journald.

    Args:
        instance: goes into each line as ``XDPWALL_INSTANCE``.
        path: journald's socket; None is the usual one.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, instance: str = "", path: Path | None = None) -> None:
        super().__init__()
        self._instance = instance
        # Not connected: each line goes to whoever listens by then, also after journald was restarted.
        self._transport = JournaldTransport(path, connected=False)
        # A tick must not wait for a full socket.
        self._transport.socket.setblocking(False)
        if not self._transport.socket_path.is_socket():
            self._transport.socket.close()
            raise FileNotFoundError(errno.ENOENT, "no journald listens", str(self._transport.socket_path))
        self.lost = 0
        """Lines that journald did not take; told with the next one that it does take."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line. What cannot be sent is counted."""
        try:
            message = self.format(record)
            if self.lost:
                message += f" ({self.lost} lines before this one were lost)"
            self._transport.send(self._pairs(record, message))
            self.lost = 0
        except OSError:
            self.lost += 1
        except Exception:  # noqa: BLE001  (what logging's own handlers do: a faulty line must not stop the work)
            self.handleError(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._transport.socket.close()
        super().close()

    def _pairs(self, record: logging.LogRecord, message: str) -> list[tuple[str, Any]]:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        pairs: list[tuple[str, Any]] = [
            ("MESSAGE", message),
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            ("LOGGER", record.name),
            ("XDPWALL_INSTANCE", self._instance),
        ]
        fields = getattr(record, "fields", None) or {}
        pairs += [
            (f"XDPWALL_{name.upper()}", str(fields[name])) for name in FIELDS if fields.get(name) is not None
        ]
        return pairs
