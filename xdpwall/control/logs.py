# SPDX-License-Identifier: Apache-2.0
"""Log lines: one an event while there are few, a count a second when there are many."""

from __future__ import annotations

import logging
import os
import sys

FORMAT = "%(levelname)s %(message)s"
STAMPED = "%(asctime)s " + FORMAT


def set_up(level: int = logging.INFO) -> None:
    """Log to stderr. Under systemd the journal adds the time, so the lines carry none."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT if "JOURNAL_STREAM" in os.environ else STAMPED))
    root = logging.getLogger("xdpwall")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


class Throttle:
    """Lets the first few lines of a kind through each second, and counts the rest.

    Args:
        logger: where lines go.
        each_second: lines of one kind per second.
    """

    def __init__(self, logger: logging.Logger, each_second: int = 5) -> None:
        self._logger = logger
        self._most = each_second
        self._counts: dict[str, int] = {}

    def line(self, kind: str, text: str, level: int = logging.INFO) -> None:
        """Log it, or count it."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= self._most:
            self._logger.log(level, "%s", text)

    def second(self) -> None:
        """A second is over: tell the counts, and start anew."""
        for kind, count in self._counts.items():
            if count > self._most:
                self._logger.info("%s: %d more in this second", kind, count - self._most)
        self._counts.clear()
