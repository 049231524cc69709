# SPDX-License-Identifier: Apache-2.0
"""What is measured against what."""

from __future__ import annotations

from xdpwall.incident.normal import Normal
from xdpwall.incident.reading import Rates, Reading
from xdpwall.incident.thresholds import Rules, measures, names, worst
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

RULES = Rules(drops=200, floor=2_000, factor=10.0, sources=10, budgets={Lane.SYN: 400, Lane.UDP: 10_000})


def rates(reasons: dict[Reason, int], lanes: dict[Lane, int] | None = None, seconds: float = 1.0) -> Rates:
    reading = Reading(
        0, 0, {r: (n, n * 60) for r, n in reasons.items()}, {k: (n, n * 60) for k, n in (lanes or {}).items()}
    )
    return Rates(seconds, reading)


def learned(pps: dict[str, float]) -> Normal:
    normal = Normal(3_600_000)
    normal.take(pps, 100.0)
    return normal


def ratio(found: Rates, normal: Normal, *, banned: int = 0, crowd: bool = False) -> float:
    best = worst(measures(found, normal, RULES, banned_lately=banned, crowd=crowd), opening=True)
    return best.ratio if best else 0.0


def test_a_lane_over_its_budget() -> None:
    flood = rates({Reason.PASS: 400, Reason.LANE_SYN: 39_600}, {Lane.SYN: 40_000})
    best = worst(measures(flood, learned({}), RULES, banned_lately=0, crowd=False), opening=True)
    assert best is not None
    assert (best.lane, best.value, best.limit) == ("syn", 40_000, 400)


def test_cookies_are_denials_too() -> None:
    assert ratio(rates({Reason.COOKIE_SENT: 4_000}), learned({})) == 11.0


def test_a_few_drops_are_nothing() -> None:
    assert ratio(rates({Reason.LANE_SYN: 100}), learned({})) < 1


def test_drops_that_are_always_there_are_nothing() -> None:
    noisy = learned({"drops": 3_000.0})
    assert ratio(rates({Reason.TCP_FLAGS: 5_000}), noisy) < 1
    assert ratio(rates({Reason.TCP_FLAGS: 5_000}), learned({})) >= 1


def test_an_unusual_lane_needs_a_normal() -> None:
    busy = rates({Reason.PASS: 8_000}, {Lane.UDP: 8_000})
    assert ratio(busy, Normal(3_600_000)) == 0
    assert ratio(busy, learned({"lane udp": 10.0})) == 4.0
    assert ratio(busy, learned({"lane udp": 5_000.0})) < 1


def test_established_tcp_is_never_unusual() -> None:
    assert ratio(rates({Reason.PASS: 900_000}, {Lane.TCP: 900_000}), learned({"lane tcp": 10.0})) == 0


def test_a_crowd_is_no_attack() -> None:
    crowd = rates({Reason.PASS: 9_000}, {Lane.SYN: 9_000})
    assert ratio(crowd, learned({}), crowd=True) == 0
    assert ratio(crowd, learned({}), crowd=False) >= 1


def test_bans_open_only_when_fresh_or_unusual() -> None:
    banned = rates({Reason.BANNED_PREFIX: 5_000})
    assert ratio(banned, Normal(3_600_000)) == 0
    assert ratio(banned, Normal(3_600_000), banned=1) >= 1
    assert ratio(banned, learned({"bans": 1.0})) >= 1
    assert ratio(banned, learned({"bans": 5_000.0})) < 1


def test_many_sources_at_once() -> None:
    assert ratio(rates({}), learned({}), banned=10) == 1.0
    found = measures(rates({}), learned({}), RULES, banned_lately=10, crowd=False)
    keeping = worst(found, opening=False)
    assert keeping is not None
    assert keeping.ratio == 0  # it looks back ten seconds: the attack may be over by now


def test_normal_is_learned_and_survives_a_restart() -> None:
    normal = Normal(60_000)
    for _ in range(600):
        normal.take(names(rates({Reason.PASS: 50}, {Lane.UDP: 50})), 1.0)
    assert normal.mean("all") == 50
    for _ in range(60):
        normal.take({"all": 100.0}, 1.0)
    assert 75 < normal.mean("all") < 90
    again = Normal(60_000)
    again.recall(normal.to_json())
    assert again.learned
    assert abs(again.mean("all") - normal.mean("all")) < 0.01
