# SPDX-License-Identifier: Apache-2.0
"""What tells the outside how things are, handed to the controller by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from xdpwall.control.checks.line import LineWatch
from xdpwall.control.engine import Engine
from xdpwall.control.nics import NicWatch
from xdpwall.control.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Inside:
    """What a sink may look at, from the controller's own thread."""

    engine: Engine
    schedule: Schedule
    nics: NicWatch
    line: LineWatch


class Sink(Protocol):
    """One way out."""

    def second(self, inside: Inside) -> None:
        """Called once a second from the event loop, the first time right at the start. Must not block."""

    async def close(self) -> None:
        """The controller stops."""
