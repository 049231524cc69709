# SPDX-License-Identifier: Apache-2.0
"""Budgets from what was seen."""

from __future__ import annotations

import pytest

from tests.unit.control.conftest import Rig
from xdpwall.config_lanes import LanesConfig
from xdpwall.control import learned
from xdpwall.control.advice import CONFIG_PATH, Advice, advise, on_record
from xdpwall.control.database import Changes
from xdpwall.control.learning import Learned
from xdpwall.detection.levels import Observed
from xdpwall.errors import NotFoundError
from xdpwall.lanes import Lane
from xdpwall.paths import Paths

DAY_MS = 86_400_000
NOW = 1_700_000_000_000 // DAY_MS * DAY_MS


def observed(pps: int, seconds: int, *, peak: int = 0, peaks: int = 0, size: int = 100) -> Observed:
    made = Observed()
    for value, times in ((pps, seconds), (peak, peaks)):
        if times:
            made.pps.add(value, times)
            made.bps.add(value * size * 8, times)
    return made


def lanes(**budgets: dict[str, int]) -> LanesConfig:
    return LanesConfig.model_validate(budgets)


def by_key(found: list[Advice]) -> dict[str, Advice]:
    return {line.key: line for line in found}


def test_a_busy_lane_gets_more() -> None:
    """Twice the percentile, and twice that, since one port may use only half of a lane's budget."""
    found = by_key(advise({Lane.UDP: observed(30_000, 100_000)}, lanes(), percent=99.9, factor=2))
    line = found["lanes.udp.pps"]
    assert line.present == LanesConfig().udp.pps
    assert line.percentiles[50] == line.percentiles[99.9] == line.highest == 30_000
    assert line.proposed == 120_000
    assert line.over_present == line.seconds == 100_000
    assert line.over_proposed == 0
    assert found["lanes.udp.bps"].proposed == max(LanesConfig().udp.bps, 96_000_000)


def test_a_quiet_lane_keeps_its_default() -> None:
    found = by_key(advise({Lane.SYN: observed(3, 100_000)}, lanes(), percent=99.9, factor=2))
    line = found["lanes.syn.pps"]
    assert line.proposed == line.present == LanesConfig().syn.pps


def test_never_below_the_default_but_below_what_is_in_force() -> None:
    present = lanes(icmp={"pps": 90_000}, other={"pps": 50})
    found = by_key(advise({lane: observed(3, 1_000) for lane in Lane}, present, percent=99.9, factor=2))
    assert found["lanes.icmp.pps"].proposed == LanesConfig().icmp.pps
    assert found["lanes.other.pps"].proposed == LanesConfig().other.pps  # a floor, also for what was lower


def test_where_nothing_was_seen_nothing_is_proposed() -> None:
    found = by_key(advise({}, lanes(tcp={"pps": 7}), percent=99.9, factor=2))
    assert found["lanes.tcp.pps"].proposed == 7


def test_off_stays_off() -> None:
    found = by_key(advise({Lane.UDP: observed(50_000, 1_000)}, lanes(udp={"pps": 0}), percent=99.9, factor=2))
    assert (found["lanes.udp.pps"].present, found["lanes.udp.pps"].proposed) == (0, 0)
    assert "lanes.syn.bps" not in found  # off by default: not a line of the table


def test_the_percentile_leaves_peaks_out() -> None:
    seen = {Lane.SYN: observed(300, 99_900, peak=9_000, peaks=50)}
    assert by_key(advise(seen, lanes(), percent=99.9, factor=2))["lanes.syn.pps"].proposed == 1_200 + 100
    assert by_key(advise(seen, lanes(), percent=100, factor=2))["lanes.syn.pps"].proposed == 36_000
    line = by_key(advise(seen, lanes(), percent=99.9, factor=1))["lanes.syn.pps"]
    assert line.over_proposed == 50


def test_the_closed_ports_budget_is_nobodys_lane() -> None:
    assert not any(line.lane is Lane.CLOSED for line in advise({}, lanes(), percent=99, factor=2))


def test_what_is_on_record(rig: Rig, paths: Paths) -> None:
    with pytest.raises(NotFoundError, match="nothing was learned"):
        on_record(paths, 0, attacks=False)
    parts = [
        Learned(NOW, Lane.UDP, True, observed(5, 100)),
        Learned(NOW, Lane.SYN, True, observed(5, 100)),
        Learned(NOW, Lane.UDP, False, observed(900, 30)),
        Learned(NOW - 9 * DAY_MS, Lane.UDP, True, observed(7, 50)),
    ]
    rig.store.read(lambda database: database.work(lambda db: learned.add(db, parts, NOW))).result(10)
    rig.store.submit(Changes(settings=((CONFIG_PATH, "/x/y.toml"),))).result(10)
    found = on_record(paths, NOW - 7 * DAY_MS, attacks=False)
    assert (found.quiet_s, found.attack_s, found.config_path) == (100, 30, "/x/y.toml")
    assert found.observed[Lane.UDP].pps.highest == 5
    assert on_record(paths, NOW - 7 * DAY_MS, attacks=True).observed[Lane.UDP].pps.highest == 900
    assert on_record(paths, 0, attacks=False).quiet_s == 150
