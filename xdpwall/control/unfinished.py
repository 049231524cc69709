# SPDX-License-Identifier: Apache-2.0
"""Notices a load that was killed in the middle: the wall may then be half of one configuration, half of another."""

from __future__ import annotations

from xdpwall.control.health import Health
from xdpwall.dataplane.pins import Pins
from xdpwall.paths import Paths

CUT_SHORT = (
    "a load was cut short: some interfaces may still run the program of the load before, or none;"
    " `xdpwall load` completes it"
)


def is_cut_short(paths: Paths) -> bool:
    """Whether the last load did not come to its end. One that is at work holds its lock."""
    pins = Pins(paths)
    return pins.unfinished.exists() and not pins.is_busy()


class Unfinished:
    """Looks once a second. Only what is seen twice in a row counts."""

    def __init__(self, paths: Paths, health: Health) -> None:
        self._paths = paths
        self._health = health
        self._seen = False

    def second(self) -> None:
        """Look, and tell."""
        before, self._seen = self._seen, is_cut_short(self._paths)
        self._health.put("load", CUT_SHORT if before and self._seen else None)
