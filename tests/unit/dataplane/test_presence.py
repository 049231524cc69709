# SPDX-License-Identifier: Apache-2.0
"""Waiting for interfaces, with time that is told."""

from __future__ import annotations

from collections.abc import Sequence

from xdpwall.dataplane import presence


class Arrivals:
    """Interfaces that come at given moments."""

    def __init__(self, **at: float) -> None:
        self._at = at
        self.now = 0.0

    def look(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if self._at.get(name, 1e9) > self.now]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(arrivals: Arrivals, names: Sequence[str], patience_ms: int) -> list[str]:
    return presence.wait_for(names, patience_ms, look=arrivals.look, sleep=arrivals.sleep)


def test_nothing_is_waited_for_when_all_are_there() -> None:
    arrivals = Arrivals(eth0=0.0)
    assert wait(arrivals, ["eth0"], 30_000) == []
    assert arrivals.now == 0.0


def test_waiting_ends_when_the_last_one_comes() -> None:
    arrivals = Arrivals(eth0=0.0, bond0=1.95)
    assert wait(arrivals, ["eth0", "bond0"], 30_000) == []
    assert 1.9 < arrivals.now < 2.2


def test_patience_ends_and_says_who_is_missing() -> None:
    arrivals = Arrivals(eth0=0.0)
    assert wait(arrivals, ["eth0", "eth1"], 3_000) == ["eth1"]
    assert 2.9 < arrivals.now < 3.2


def test_the_loopback_is_always_there() -> None:
    assert presence.missing(["lo", "no-such-name"]) == ["no-such-name"]
