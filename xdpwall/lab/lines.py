# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON lines that a child process prints, on a thread, so that nobody waits for it."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from typing import Any


class Lines:
    """Everything that a process has said so far, one object a line.

    Args:
        process: started with ``stdout=PIPE`` and ``text=True``; its end ends the thread.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._over = False
        threading.Thread(target=self._read, name="child-lines", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._queue.put(json.loads(line))
        except ValueError:
            pass  # cut off in the middle of a line, or closed from outside: it has ended, and that is what counts
        finally:
            self._queue.put(None)

    def take(self) -> list[dict[str, Any]]:
        """What came since the last call."""
        found = []
        while not self._queue.empty():
            item = self._queue.get()
            if item is None:
                self._over = True
            else:
                found.append(item)
        return found

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next object; None when none came within ``timeout`` seconds or the process has ended."""
        if self._over:
            return None
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        self._over = item is None
        return item

    def rest(self, timeout: float) -> list[dict[str, Any]]:
        """Everything until the process ends; at most ``timeout`` seconds between two lines."""
        found = []
        while (item := self.next(timeout)) is not None:
            found.append(item)
        return found

    @property
    def over(self) -> bool:
        """Whether the process has ended its output and all of it was taken."""
        return self._over
