# SPDX-License-Identifier: Apache-2.0
"""Log lines: one an event while there are few, a count a second when there are many."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

FORMAT = "%(levelname)s %(message)s"
STAMPED = "%(asctime)s " + FORMAT


def set_up(level: int = logging.INFO, *, instance: str = "") -> None:
    """Log to the journal where stderr goes there, and to stderr otherwise.

    The journal gets fields (``control.journal``). It adds the time itself, so its lines carry none, nor do those of
    stderr when journald cannot be reached directly.
    """
    handler = _journal(instance)
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT if "JOURNAL_STREAM" in os.environ else STAMPED))
    root = logging.getLogger("xdpwall")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _journal(instance: str) -> logging.Handler | None:
    if "JOURNAL_STREAM" not in os.environ:
        return None
    from logging_journald import check_journal_stream  # noqa: PLC0415  (only a service needs it)

    from xdpwall.control.journal import JournalHandler  # noqa: PLC0415

    try:
        return JournalHandler(instance) if check_journal_stream() else None
    except (OSError, ValueError):
        return None  # in a container, say: stderr still goes somewhere


def about(**fields: object) -> dict[str, dict[str, object]]:
    """What a line is about, for ``extra=``: the fields of :meth:`Throttle.line`, and ``event``."""
    return {"fields": fields}


class Throttle:
    """Lets the first few lines of a kind through each second, and counts the rest.

    Args:
        logger: where lines go.
        each_second: lines of one kind per second.
        incident: the key of the incident that is open, None for none: each line of the meantime belongs to it.
    """

    def __init__(
        self,
        logger: logging.Logger,
        each_second: int = 5,
        *,
        incident: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._logger = logger
        self._most = each_second
        self._incident = incident
        self._counts: dict[str, int] = {}

    def line(self, kind: str, text: str, level: int = logging.INFO, **fields: object) -> None:
        """Log it, or count it.

        Args:
            kind: lines of one kind are counted together; in the journal ``XDPWALL_EVENT``.
            text: the line.
            level: as in ``logging``.
            fields: for the journal: ``source``, ``rule``, ``incident``, ``reason``.
        """
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= self._most:
            self._logger.log(
                level, "%s", text, extra=about(**{"event": kind, "incident": self._incident(), **fields})
            )

    def second(self) -> None:
        """A second is over: tell the counts, and start anew."""
        for kind, count in self._counts.items():
            if count > self._most:
                more = about(event=kind, incident=self._incident())
                self._logger.info("%s: %d more in this second", kind, count - self._most, extra=more)
        self._counts.clear()
