# SPDX-License-Identifier: Apache-2.0
"""Storms through the real pusher: shares hold, both sides count alike, and the host's stack finds no fault."""

from __future__ import annotations

import pytest

from tests.lab.test_generator import faults
from tests.lab.traffic import Field, wait_until_done
from xdpwall.lab import crowd, run, storm
from xdpwall.lab.flood import Flood, Pace
from xdpwall.lab.scenario import Storm
from xdpwall.lab.scenarios import REGISTRY


@pytest.mark.parametrize("name", ["mixed", "carpet", "dns-fragmented", "icmp-flood-v6"])
def test_the_stack_takes_it_for_real(field: Field, name: str) -> None:
    attack = REGISTRY[name].attack
    assert isinstance(attack, Storm)
    crowd.carpet(field.lab.namespace("wall"), "wan0")
    flood = Flood(
        field.lab,
        storm.program(attack, run.target(field.lab.wall_links[0]), 5),
        Pace(20_000, 1.0, at_most_seconds=1.0),
    )
    flood.prepare()
    flood.go()
    report = wait_until_done(flood)
    assert report.generated > 5_000
    assert report.generated == sum(row[0] for row in report.tallies)
    assert field.passed().marked == report.sent
    whole = sum(stream.share for stream in attack.streams)
    for stream, row in zip(attack.streams, report.tallies, strict=True):
        assert row[0] == sum(row[2:]), "every packet is of one kind"
        assert row[0] / report.generated == pytest.approx(stream.share / whole, abs=0.03)
    lines = field.lab.exec_in("wall", ["cat", "/proc/net/snmp", "/proc/net/snmp6"]).stdout.splitlines()
    assert faults(lines) == {}
