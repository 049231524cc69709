# SPDX-License-Identifier: Apache-2.0
"""What the live screen works out from an answer, without a screen: words, rows, bars, trouble."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.interface.test_screens import STATUS
from xdpwall.clock import ManualClock
from xdpwall.errors import NoControllerError
from xdpwall.interface.tui import details, feed, model
from xdpwall.interface.tui.feed import Feed, News
from xdpwall.interface.tui.glyphs import bar, cut, sparkline, thin_out
from xdpwall.paths import Paths

BAN = {
    "prefix": "203.0.113.9", "reason": "udp 30000/s", "origin": "auto", "created_ms": 1, "expires_ms": 600_001,
    "remaining_ms": 540_000, "strikes": 2, "dropped_packets": 1_000, "dropped_bytes": 64_000,
}  # fmt: skip
SOURCE = {
    "source": "203.0.113.9", "pps": 30_000, "bps": 15_000_000, "syn_pps": 0, "udp_pps": 30_000, "icmp_pps": 0,
    "dropped_pps": 30_000, "packets": 5, "bytes": 300, "first_seen_ms": 1, "last_seen_ms": 2, "verdict": "banned",
    "ban": BAN, "country": "RU", "asn": 64_500, "as_name": "EXAMPLE",
}  # fmt: skip
CALM = {**SOURCE, "source": "2001:db8::/64", "pps": 0, "verdict": "passed", "country": None, "asn": None}
STATUS_NOW = {**STATUS, "rates": {**STATUS["rates"], "dropped_bps": 1_000_000_000, "passed_bps": 24_000_000}}
ANSWER: dict[str, Any] = {
    "at_ms": 1_700_000_060_000, "may_write": True, "status": STATUS_NOW, "sources": [SOURCE, CALM], "metered": 2,
    "bans": [{**BAN, "dropped_pps": 30_000}], "reasons": [], "trend": {"passed_pps": [1], "dropped_pps": [2]},
    "incidents": [
        {
            "id": 4, "key": "2026-11-23-4", "state": "open", "opened_ms": 1_700_000_000_000, "peak_pps": 2_000_000,
            "vectors": ["UDP flood", {"name": "SYN flood"}],
        }
    ],
}  # fmt: skip


def test_words() -> None:
    news = News(ANSWER)
    assert model.state_of(news) == "UNDER ATTACK"
    assert model.sentence(news) == "1.99 Mpps of 2.00 Mpps dropped (99.5 %), 10.0 kpps pass"
    assert model.place_of(news) == "eth0 native"
    assert model.notices(news) == []
    observed = {**STATUS_NOW, "policy": "observe", "state": "OBSERVE"}
    observed["rates"] = {**STATUS_NOW["rates"], "would_drop_pps": 5_000}
    watching = News({**ANSWER, "status": observed})
    assert "5.00 kpps of 2.00 Mpps would be dropped" in model.sentence(watching)
    assert model.place_of(watching) == "eth0 native observe"
    assert "would drop" in model.traffic_figures(watching.answer or {})


def test_trouble_is_told() -> None:
    gone = News(None, NoControllerError("nobody listens"), 65_000)
    assert model.state_of(gone) == "NO ANSWER"
    assert model.notices(gone) == ["the controller does not answer for 1m5s; trying again (nobody listens)"]
    back = News(ANSWER, None, 0, 1_700_000_000_000)
    assert model.notices(back) == ["the controller restarted 1m1s ago"]
    many = [{"name": f"eth{n}", "ifindex": n, "mode": None, "attached": False} for n in range(4)]
    assert model.place_of(News({**ANSWER, "status": {**STATUS_NOW, "interfaces": many}})) == (
        "eth0 MISSING, eth1 NOT ATTACHED +2"
    )


def test_rows() -> None:
    wanted = model.Wanted()
    first, second = model.source_rows(ANSWER, wanted)
    assert first.cells == (
        "203.0.113.9", "RU", "AS64500 EXAMPLE", "30.0k", "15.0M", "0", "30.0k", "banned", "9m",
    )  # fmt: skip
    assert (first.style, second.style) == ("red", "dim")
    assert model.ban_rows(ANSWER, wanted)[0].cells[:4] == ("203.0.113.9", "9m", "30.0k", "1.00k")
    assert model.incident_rows(ANSWER)[0].cells == (
        "2026-11-23-4", "OPEN", "1m", "2.00 Mpps", "UDP flood, SYN flood",
    )  # fmt: skip
    assert model.captions(ANSWER, wanted)["incidents"] == "Incidents (1 open)"


@pytest.mark.parametrize(
    ("text", "left"), [("ru", 1), ("as64500", 1), ("passed", 1), ("", 2), ("nobody", 0), ("2001", 1)]
)
def test_a_text_sifts_rows(text: str, left: int) -> None:
    wanted = model.Wanted(text=text)
    assert "within" not in wanted.question()
    assert len(model.source_rows(ANSWER, wanted)) == left


def test_a_prefix_is_asked_for() -> None:
    wanted = model.Wanted(text="203.0.113.0/24")
    assert wanted.question()["within"] == "203.0.113.0/24"
    assert len(model.source_rows(ANSWER, wanted)) == 2, "the controller has sifted them"
    orders = [wanted.sort]
    while (wanted := wanted.next_sort()).sort != "pps":
        orders.append(wanted.sort)
    assert tuple(orders) == model.SORTS


def test_details() -> None:
    assert "RU" in details.of_row("sources", "203.0.113.9", ANSWER).text
    assert "udp 30000/s" in details.of_row("bans", "203.0.113.9", ANSWER).text
    assert "gone" in details.of_row("bans", "192.0.2.1", ANSWER).text
    assert details.facts("203.0.113.9", ANSWER) == "203.0.113.9 sends 30.0 kpps, 15.0 Mbit/s (RU, EXAMPLE)"
    assert (details.ban_on("203.0.113.9", ANSWER) or {})["origin"] == "auto"
    assert details.ban_on("192.0.2.1", ANSWER) is None


@given(st.lists(st.floats(0, 1e9), max_size=400), st.integers(1, 80), st.integers(1, 6))
def test_charts_fit(values: list[float], width: int, height: int) -> None:
    lines = sparkline(values, width, height)
    assert [len(line) for line in lines] == [width] * height
    if any(values):
        assert any(line.strip() for line in lines), "what is not zero shows"
        assert max(thin_out(values, width)) >= max(values[-width:]), "peaks stay"


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.integers(1, 60))
def test_bars_fit(part: float, whole: float, width: int) -> None:
    drawn = bar(part, whole, width)
    assert len(drawn) == width
    assert (drawn.strip() != "") == (part > 0 and whole > 0)


def test_cut() -> None:
    assert [cut("abcdef", n) for n in (6, 5, 1, 0)] == ["abcdef", "abcd…", "…", "…"]


def test_the_feed_tells_restarts_and_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    answers: list[Any] = []

    class Connection:
        def __init__(self, paths: Paths, *, timeout: float) -> None: ...

        def call(self, op: str, **args: Any) -> dict[str, Any]:
            assert (op, args["sort"]) == ("overview", "pps")
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)

        def close(self) -> None: ...

    monkeypatch.setattr(feed, "Connection", Connection)
    monkeypatch.setattr("xdpwall.control.offline.call", lambda *_: STATUS)
    told = Feed(Paths("test"), model.Wanted().question, lambda _: None, clock=clock)
    other = {**ANSWER, "sources": [], "status": {**STATUS_NOW, "controller": {"running": True, "pid": 8}}}
    answers += [{**ANSWER, "sources": []}, NoControllerError("gone"), other]
    assert told.ask().restarted_ms is None
    clock.advance_ms(4_000)
    silent = told.ask()
    assert (silent.silent_ms, silent.error is not None) == (4_000, True)
    assert silent.answer == {"status": STATUS, "may_write": False}
    back = told.ask()
    assert (back.error, back.restarted_ms) == (None, ANSWER["at_ms"])
