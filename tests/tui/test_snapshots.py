# SPDX-License-Identifier: Apache-2.0
"""How the screen looks: pictures of made-up moments, compared run by run of text with their colours.

Textual draws an SVG; what is compared is each piece of text with its place and its colour, not the wrapping around it.
To take a change over, then look at the files: `XDPWALL_UPDATE_SNAPSHOTS=1 python -m pytest tests/tui/test_snapshots.py`
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import Screen, screen_text
from tests.unit.interface.test_tui_model import ANSWER, BAN, SOURCE, STATUS_NOW
from xdpwall.errors import NoControllerError
from xdpwall.interface.cli.command import Settings
from xdpwall.interface.tui.app import Came, Top
from xdpwall.interface.tui.feed import Feed, News
from xdpwall.lanes import Lane
from xdpwall.paths import Paths
from xdpwall.reasons import Reason

SNAPSHOTS = Path(__file__).parent / "snapshots"
SVG = "{http://www.w3.org/2000/svg}"
SIZES = [(80, 24), (160, 50)]


def lane(number: int, *, busy: bool) -> dict[str, Any]:
    return {
        "lane": Lane(number).label,
        "pps": 40_000 * (number + 1) if busy else number,
        "bps": 1_000,
        "budget_pps": [400, 400, 10_000, 400, 50, 400, 100][number],
        "budget_bps": 0,
        "over_pps": 39_000 if busy and number < 3 else 0,
        "dropped_pps": 38_000 if busy and number < 3 else 0,
        "passed_on_proof_pps": 1_000 if busy else 0,
    }


def reason(kind: Reason, pps: int) -> dict[str, Any]:
    return {
        "reason": kind.label,
        "action": "drop" if kind.drops else "pass",
        "packets": pps * 60,
        "bytes": pps * 3_840,
        "pps": pps,
        "meaning": kind.meaning,
    }


CURVE = [0] * 40 + [round(2_000_000 * min(1.0, n / 8)) for n in range(60)]
FLOOD = News(
    {
        **ANSWER,
        "sources": [
            {**SOURCE, "source": f"203.0.113.{n}", "pps": 90_000 - 1_000 * n, "verdict": verdict}
            for n, verdict in enumerate(["banned", "banned", "limited", "allowed", "passed"] * 6, 1)
        ],
        "metered": 1_000_000,
        "bans": [
            {**BAN, "prefix": f"203.0.113.{n}", "dropped_pps": 90_000 - 1_000 * n if n < 9 else 0}
            for n in range(1, 30)
        ],
        "lanes": [lane(number, busy=True) for number in Lane],
        "reasons": [
            reason(Reason.BANNED_SOURCE, 1_800_000),
            reason(Reason.LANE_UDP, 190_000),
            reason(Reason.PASS, 9_000),
        ],
        "trend": {"passed_pps": [9_000] * 100, "dropped_pps": CURVE, "passed_bps": [], "dropped_bps": []},
    }
)
QUIET = News(
    {
        **ANSWER,
        "status": {
            **STATUS_NOW,
            "state": "QUIET",
            "rates": {
                **STATUS_NOW["rates"],
                "pps": 9_000,
                "bps": 24_000_000,
                "dropped_pps": 0,
                "dropped_bps": 0,
            },
        },
        "sources": [{**SOURCE, "verdict": "passed", "pps": 900, "dropped_pps": 0, "ban": None}],
        "bans": [],
        "incidents": [],
        "lanes": [lane(number, busy=False) for number in Lane],
        "reasons": [reason(Reason.PASS, 9_000)],
        "trend": {
            "passed_pps": [9_000, 8_000] * 50,
            "dropped_pps": [0] * 100,
            "passed_bps": [],
            "dropped_bps": [],
        },
    }
)
GONE = News(
    {"status": {**STATUS_NOW, "state": "DEGRADED", "rates": None}},
    NoControllerError("nobody listens"),
    65_000,
)
MOMENTS = {"quiet": QUIET, "flood": FLOOD, "gone": GONE}


def pieces(svg: str) -> list[list[str]]:
    """Every piece of text: line, column, style, characters. Styles are looked up, ids of the drawing ignored."""
    root = ET.fromstring(svg)
    css = "".join(style.text or "" for style in root.iter(f"{SVG}style"))
    styles = dict(re.findall(r"\.[\w-]+?-(r\d+)\s*\{([^}]*)\}", css))
    found = []
    for text in root.iter(f"{SVG}text"):
        name = (text.get("class") or "").rsplit("-", 1)[-1]
        characters = (text.text or "").replace("\xa0", " ")
        if name in styles and characters.strip():
            where = [f"{float(text.get(axis) or 0):.0f}" for axis in ("y", "x")]
            found.append([*where, " ".join(styles[name].split()), characters])
    return found


def picture(
    news: News, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *keys: str
) -> tuple[str, str]:
    """The screen showing one moment: as SVG, and as text."""
    monkeypatch.setattr(Feed, "start", lambda _: None)
    monkeypatch.setattr("xdpwall.interface.cli.units.group_separator", lambda: ",")

    async def main() -> tuple[str, str]:
        app = Top(Settings(paths=Paths("snapshot")))
        async with app.run_test(size=size) as pilot:
            app.post_message(Came(news))
            screen = Screen(app, pilot)
            await screen.until(lambda: app.news is news, "the news is shown")
            await pilot.press(*keys)
            await pilot.pause(0.3)
            return app.export_screenshot(), screen_text(app)

    return asyncio.run(main())


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "160x50"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_pictures(moment: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    svg, text = picture(MOMENTS[moment], size, monkeypatch)
    now = pieces(svg)
    assert len(now) > 20
    path = SNAPSHOTS / f"{moment}-{size[0]}x{size[1]}"
    if os.environ.get("XDPWALL_UPDATE_SNAPSHOTS"):
        path.with_suffix(".json").write_text("\n".join(map(json.dumps, now)) + "\n", encoding="utf-8")
        path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    before = [json.loads(line) for line in path.with_suffix(".json").read_text(encoding="utf-8").splitlines()]
    assert text + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert now == before


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: another figure, another colour."""
    base = pieces(picture(QUIET, (80, 24), monkeypatch)[0])
    assert base == pieces(picture(QUIET, (80, 24), monkeypatch)[0])
    changed = News({**(QUIET.answer or {}), "sources": [{**SOURCE, "pps": 901, "verdict": "limited"}]})
    assert base != pieces(picture(changed, (80, 24), monkeypatch)[0])


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "160x50"])
def test_no_color(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only greys are left; the words are the same."""
    coloured = picture(FLOOD, size, monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    svg, text = picture(FLOOD, size, monkeypatch)
    assert text == coloured[1]
    colours = {match for piece in pieces(svg) for match in re.findall(r"#([0-9a-f]{6})", piece[2])}
    assert colours
    assert all(c[:2] == c[2:4] == c[4:] for c in colours), colours


def test_nothing_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """From very small to very large: no crash, the state stays in view."""
    for size in [(20, 5), (40, 12), (119, 24), (120, 24), (250, 80)]:
        _, text = picture(FLOOD, size, monkeypatch)
        assert "UNDER ATTACK" in text.splitlines()[0]
        assert all(len(line) <= size[0] for line in text.splitlines())
