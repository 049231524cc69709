# SPDX-License-Identifier: Apache-2.0
"""From figures to a result, and the marks that it is held against."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from rich.console import Console

from xdpwall.lab import outcome, report, users
from xdpwall.lab.counter import Passed
from xdpwall.lab.flood import Report
from xdpwall.lab.legit import KINDS, Visit
from xdpwall.lab.outcome import Cast
from xdpwall.lab.scenario import Marks
from xdpwall.lab.stage import Figures

SECOND = 1_000_000_000
CAST = Cast((("heavy", 10), ("thin", 90)), 100, [{"code": "RU", "share": 0.6}, {"code": "BR", "share": 0.4}])
MARKS = Marks(sent_at_least=900, recall={"heavy": 0.9, "all": 0.8}, legit_at_least=0.999)


def figures(**changes: Any) -> Figures:
    """A run of two seconds: 1,000 made, 20 lost, 80 heavy and 90 thin ones leaked."""
    final = Report(
        ns=13 * SECOND,
        generated=1_000,
        lost=20,
        first_ns=11 * SECOND,
        tallies=((900, 0, 300, 300, 300), (100, 0, 100, 0, 0)),
        done=True,
    )
    passed = Passed((80, 90, *[0] * 13, 40))
    made = Figures(
        mode="native",
        began_ns=8 * SECOND,
        attack_ns=11 * SECOND,
        ended_ns=13 * SECOND,
        report=final,
        reports=[final],
        passed=passed,
        stack_received=210,
        wall_dropped={"banned_source": 800, "source_syn": 10},
        first_drop_ns=11 * SECOND + 250_000_000,
        visits=[
            Visit((9 + number % 4) * SECOND, 1.0 + number, KINDS[number // 4 % len(KINDS)])
            for number in range(400)
        ],
        bans=10,
        controller_cpu_ms=5,
        controller_rss_kb=6,
        controller_alive=True,
    )
    return dataclasses.replace(made, **changes)


def test_the_numbers_add_up() -> None:
    found = outcome.result("test", figures(), CAST, MARKS)
    attack = found["attack"]
    assert (attack["sent"], attack["leaked"], attack["dropped"]) == (980, 170, 810)
    assert attack["recall"] == pytest.approx(810 / 980, abs=1e-6)
    heavy = attack["classes"]["heavy"]
    assert (heavy["sent"], heavy["leaked"], heavy["dropped"]) == (882, 80, 802)
    assert heavy["leaked_per_source"] == 8.0
    assert attack["mean_pps"] == 490
    assert attack["protocols"] == {"udp": 400, "syn": 300, "ack": 300}
    assert found["latency_ms"]["first_packet_to_first_drop"] == 250.0
    assert found["behind"]["unmarked"] == 40
    assert found["wall"] == {
        "dropped": 810,
        "dropped_before": 0,
        "by_reason": {"banned_source": 800, "source_syn": 10},
        "agrees": True,
    }
    assert found["legit"]["attempted"] == found["legit"]["succeeded"] == 200
    assert found["passed"]
    assert report.passed(found) == []


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"mode": "generic"}, "XDP mode"),
        ({"controller_alive": False}, "the controller stayed up"),
        ({"wall_dropped": {"banned_source": 500}}, "the wall's count agrees"),
        ({"passed": Passed((200, 90, *[0] * 14)), "wall_dropped": {"banned_source": 690}}, "recall, heavy"),
        ({"visits": []}, "requests served"),
        (
            {"report": Report(), "reports": [], "passed": Passed((0,) * 16), "wall_dropped": {}},
            "packets sent",
        ),
    ],
)
def test_each_mark_can_be_missed(changes: dict[str, Any], missed: str) -> None:
    found = outcome.result("test", figures(**changes), CAST, MARKS)
    assert not found["passed"]
    assert any(line.startswith(missed) for line in report.passed(found))


def test_one_late_request_in_a_thousand_is_seen() -> None:
    visits = [Visit(12 * SECOND, 1.0, "http", "" if number > 1 else "late") for number in range(1_000)]
    found = outcome.result("test", figures(visits=visits), CAST, MARKS)
    assert found["legit"]["errors"] == {"late": 2}
    assert [line.split(":")[0] for line in report.passed(found)] == ["requests served"]


def test_observe_is_not_held_to_what_it_would_have_dropped() -> None:
    seen = figures(policy="observe", passed=Passed((882, 98, *[0] * 14)))
    found = outcome.result("test", seen, CAST, Marks())
    assert found["passed"]
    assert found["attack"]["dropped"] == 0
    console = Console(width=100, record=True, file=io.StringIO())
    report.show(found, console)
    assert "only observed" in console.export_text()


def test_quiet_has_no_recall() -> None:
    quiet = figures(report=Report(), reports=[], passed=Passed((0,) * 16), wall_dropped={})
    found = outcome.result("quiet", quiet, Cast((), 0, []), Marks(dropped_at_most=0))
    assert found["attack"]["recall"] is None
    assert found["latency_ms"]["first_packet_to_first_drop"] is None
    assert found["passed"]
    dropping = dataclasses.replace(quiet, wall_dropped_before=1)
    assert not outcome.result("quiet", dropping, Cast((), 0, []), Marks(dropped_at_most=0))["passed"]


def test_shares_never_flatter() -> None:
    nearly = Report(generated=10_000_000, first_ns=1, tallies=((10_000_000, 0, 0, 0, 0),), done=True)
    passed = Passed((1, *[0] * 15))
    found = outcome.result("test", figures(report=nearly, passed=passed), Cast((("all", 1),), 1, []), Marks())
    assert found["attack"]["recall"] < 1.0


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)], ids=str
)
def test_percentiles_are_values_that_were_measured(share: float, value: int) -> None:
    assert users.percentile([float(number) for number in range(100, 0, -1)], share) == value
    assert users.percentile([], share) is None


@pytest.mark.parametrize("marks", [MARKS, Marks()], ids=["marks", "none"])
def test_the_screen_says_what_matters(marks: Marks) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    report.show(outcome.result("test", figures(), CAST, marks), console)
    text = console.export_text()
    for word in ("980", "810", "170", "Russia", "60.0%", "200 of 200 requests", "250 ms", "PASS"):
        assert word in text, word


def test_the_screen_says_fail() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    report.show(outcome.result("test", figures(mode="generic"), CAST, MARKS), console)
    assert "FAIL: 1 mark missed" in console.export_text()


def test_users_are_told_apart_by_what_they_try() -> None:
    visits = [Visit(9 * SECOND, 2.0, "newcomer", connect_ms=1.0) for _ in range(10)]
    visits += [Visit(12 * SECOND, 3.0, "newcomer", connect_ms=1.5) for _ in range(9)]
    visits += [Visit(12 * SECOND, 3_000.0, "newcomer", "no answer within 3 s")]
    visits += [Visit(12 * SECOND, 900.0, "stream"), Visit(12 * SECOND, 1.0, "stream")]
    found = users.figures(visits, 8 * SECOND, 11 * SECOND, 13 * SECOND)
    assert (found["attempted"], found["succeeded"]) == (12, 11)
    fresh, stream = found["by_kind"]["newcomer"], found["by_kind"]["stream"]
    assert (fresh["attempted"], fresh["succeeded"], fresh["late"]) == (10, 9, 0)
    assert (fresh["p99_ms"], fresh["baseline_p99_ms"], fresh["connect_p99_ms"]) == (3.0, 2.0, 1.5)
    assert fresh["errors"] == {"no answer within 3 s": 1}
    assert (stream["attempted"], stream["succeeded"], stream["late"]) == (2, 2, 1)
    assert found["attempted"] == sum(kind["attempted"] for kind in found["by_kind"].values())


def test_each_kind_of_user_can_miss_its_mark() -> None:
    visits = [Visit(12 * SECOND, 1.0, "http") for _ in range(990)]
    visits += [Visit(12 * SECOND, 1.0, "newcomer", "late" if number < 1 else "") for number in range(10)]
    visits += [Visit(12 * SECOND, 1.0, "stream", "late")]
    marks = Marks(legit_at_least=0.995, first_drop_ms=10.0)
    found = outcome.result("test", figures(visits=visits), CAST, marks)
    assert {line.split(":")[0] for line in report.passed(found)} == {
        "newcomers served",
        "lost on open connections",
        "first drop, ms",
    }
