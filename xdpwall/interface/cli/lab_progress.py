# SPDX-License-Identifier: Apache-2.0
"""Shows a run of the lab while it runs: one live line on a terminal, a line per phase elsewhere. All on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xdpwall.interface.cli.output import note
from xdpwall.interface.cli.units import count, pps

if TYPE_CHECKING:
    from rich.status import Status

    from xdpwall.lab.progress import Progress, Sample

_LINE_SECONDS = 5.0


def sample_line(sample: Sample) -> str:
    """The figures of a moment as one line."""
    parts = [f"{sample.phase} {sample.elapsed_ms / 1000:.0f}/{sample.of_ms / 1000:.0f} s"]
    if sample.sent:
        parts.append(f"sent {count(sample.sent)} ({pps(sample.sent_pps)})")
        parts.append(f"leaked {count(sample.leaked)} ({pps(sample.leaked_pps)})")
        parts.append(f"bans {count(sample.bans)}")
    if sample.attempted:
        users = f"users {count(sample.succeeded)}/{count(sample.attempted)}"
        parts.append(users + (f", {sample.p50_ms:.1f} ms" if sample.p50_ms is not None else ""))
    return "  ".join(parts)


class Lines:
    """Progress for a log: phases, notes, and figures every few seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def phase(self, text: str) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        note(text)

    def sample(self, sample: Sample) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS:
            self._last = now
            note(f"  {sample_line(sample)}")

    def note(self, text: str) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        note(f"note: {text}")


class Live:
    """Progress for a terminal: the last line follows the run."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def phase(self, text: str) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        self._status.console.print(text, markup=False)
        self._status.update("")

    def sample(self, sample: Sample) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        self._status.update(sample_line(sample))

    def note(self, text: str) -> None:
        """See :class:`xdpwall.lab.progress.Progress`."""
        self._status.console.print(f"note: {text}", style="yellow", markup=False)


@contextlib.contextmanager
def watching(*, live: bool) -> Iterator[Progress]:
    """Somebody who watches a run: ``live`` on a terminal, otherwise line by line."""
    if not live:
        yield Lines()
        return
    from rich.console import Console

    screen = Console(stderr=True, highlight=False)
    with screen.status("") as status:
        yield Live(status)
