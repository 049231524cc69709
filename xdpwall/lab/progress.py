# SPDX-License-Identifier: Apache-2.0
"""How a run of the lab tells what it is doing while it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known a few times a second.

    Args:
        phase: ``"baseline"``, ``"attack"`` or ``"settle"``.
        elapsed_ms: since the phase began.
        of_ms: how long the phase is meant to last.
        sent: attack packets that the wall's interface took so far.
        sent_pps: of them per second, over the last sample.
        leaked: attack packets counted behind the wall so far.
        leaked_pps: of them per second, over the last sample.
        attempted: requests of the legitimate client in this phase that are over.
        succeeded: of them, answered in time and whole.
        p50_ms: median time of the requests of the last seconds; None before the first.
        bans: bans that stand.
    """

    phase: str
    elapsed_ms: int
    of_ms: int
    sent: int = 0
    sent_pps: int = 0
    leaked: int = 0
    leaked_pps: int = 0
    attempted: int = 0
    succeeded: int = 0
    p50_ms: float | None = None
    bans: int = 0


class Progress(Protocol):
    """Somebody who watches. Called from the thread that runs the lab; must not block."""

    def phase(self, text: str) -> None:
        """A new step begins, for example ``"the attack begins"``."""

    def sample(self, sample: Sample) -> None:
        """Figures of this moment."""

    def note(self, text: str) -> None:
        """Something that the reader should know: a warning, a limit that was met."""


class Silent:
    """Nobody watches."""

    def phase(self, text: str) -> None:
        """See :meth:`Progress.phase`."""

    def sample(self, sample: Sample) -> None:
        """See :meth:`Progress.sample`."""

    def note(self, text: str) -> None:
        """See :meth:`Progress.note`."""
