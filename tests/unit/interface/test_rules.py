# SPDX-License-Identifier: Apache-2.0
"""`rules`: what is asked of the controller, what is told, which exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.conftest import TestPaths
from tests.unit.interface.conftest import Controller, Run
from xdpwall.clock import ManualClock
from xdpwall.control import offline, protocol, rulebook
from xdpwall.dataplane.fake import FakeWall
from xdpwall.errors import InputError, NotFoundError
from xdpwall.fingerprint import SIZE, Pattern, Rule
from xdpwall.lanes import Lane

RULE: dict[str, Any] = {
    "id": 3, "lane": "udp", "policy": "enforce", "text": "udp from port 123, 468 bytes", "created_ms": 1,
    "expires_ms": 2, "remaining_ms": 119_000, "cover": 0.985, "support": 150, "collateral": 0.0005, "good": 2_000,
    "packets": 1_234_567, "bytes": 9, "proven_packets": 12, "proven_bytes": 9, "pps": 47_000,
}  # fmt: skip


@pytest.mark.parametrize("words", [["rules"], ["rules", "list"]])
def test_list(run: Run, controller: Controller, words: list[str]) -> None:
    controller.answers["rules.list"] = {"rules": [RULE]}
    ran = run(*words)
    assert controller.asked == [("rules.list", {})]
    assert ran.code == 0
    for part in ("udp from port 123, 468 bytes", "1m59s", "98%", "0.05% of 2", "47.0 kpps", "enforce"):
        assert part in ran.out
    assert run(*words, "-o", "json").json["rules"] == [RULE]


def test_none(run: Run, controller: Controller) -> None:
    controller.answers["rules.list"] = {"rules": []}
    assert run("rules").out == "no rule is in force\n"


@pytest.mark.parametrize(
    ("verb", "said"), [("observe", "only observes now"), ("enforce", "drops now"), ("del", "is out of force")]
)
def test_change(run: Run, controller: Controller, verb: str, said: str) -> None:
    controller.answers[f"rules.{verb}"] = {
        "id": 3,
        "text": "udp",
        "policy": None,
        "warnings": ["not on record"],
    }
    ran = run("rules", verb, "3")
    assert controller.asked == [(f"rules.{verb}", {"id": 3})]
    assert (ran.code, ran.out) == (0, f"rule 3 {said}: udp\n")
    assert "not on record" in ran.err


def test_no_number_is_usage(run: Run) -> None:
    assert run("rules", "del", "x").code == 2
    assert run("rules", "del", "0").code == 2
    assert run("rules", "observe").code == 2
    with pytest.raises(InputError):
        protocol.check_args("rules.del", {"id": "3"})


def test_the_panic_button_needs_no_controller(tmp_path: Path) -> None:
    clock = ManualClock()
    wall = FakeWall(clock)
    rule = Rule(wall.rules.next_id(), Pattern(Lane.UDP, bytes(SIZE), bytes(SIZE)), cover=0.5)
    wall.rules.put(rule, 60_000)
    paths = TestPaths("test", tmp_path)

    def ask(op: str, **args: Any) -> dict[str, Any]:
        return offline.call(paths, op, clock=clock, opener=lambda _: wall, **args)

    assert rulebook.OPS <= offline.OPS
    (row,) = ask("rules.list")["rules"]
    assert (row["id"], row["policy"], row["cover"], row["text"]) == (rule.id, "enforce", 0.5, "udp")
    assert "pps" not in row
    assert ask("rules.observe", id=rule.id)["policy"] == "observe"
    assert ask("rules.list")["rules"][0]["policy"] == "observe"
    assert ask("rules.del", id=rule.id)["policy"] is None
    assert ask("rules.list")["rules"] == []
    with pytest.raises(NotFoundError):
        ask("rules.del", id=rule.id)
    events = [line["event"] for line in ask("history", limit=10, since_ms=0)["history"]]
    assert events == ["rule_end", "rule"]
