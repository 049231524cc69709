# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of the tables have in common."""

from __future__ import annotations

from typing import Literal

from xdpwall.lab.scenario import Hosts, Marks, Pulse, Scenario, Spoofed, Storm, Stream
from xdpwall.lab.shapes.datagram import Shape

SECONDS = 10.0
MARKS = Marks(recall={"all": 0.99}, legit_at_least=0.995, first_drop_ms=10.0)
"""What the wall must reach in every flood."""

WEB = 80
"""A port where the protected host listens."""
GAME = 27_015
"""A UDP port where the protected host listens (``xdpwall/lab/server.py``)."""
NOBODY = 40_404
"""A port where nobody listens."""


def flood(
    name: str,
    summary: str,
    shape: Shape,
    *,
    pps: int,
    sources: Spoofed | Hosts | None = None,
    version: Literal[4, 6] = 4,
    pulse: Pulse | None = None,
    seconds: float = SECONDS,
) -> Scenario:
    """A scenario of one stream; spoofed unless ``sources`` says otherwise."""
    stream = Stream(name, shape, sources or Spoofed(), version=version)
    return storm(name, summary, Storm(pps, (stream,), pulse), seconds)


def storm(name: str, summary: str, attack: Storm, seconds: float = SECONDS) -> Scenario:
    """A scenario of any streams."""
    return Scenario(
        name=name, summary=summary, seconds=seconds, attack=attack, marks=MARKS, at_most_seconds=seconds
    )
