# SPDX-License-Identifier: Apache-2.0
"""The same screen without a screen: a block of lines each time, for dumb terminals, pipes and logs."""

from __future__ import annotations

import json
import threading
from typing import Any

from rich.table import Table
from rich.text import Text

from xdpwall.errors import PrivilegeError
from xdpwall.interface.cli.output import SCHEMA, draw, write
from xdpwall.interface.tui import model
from xdpwall.interface.tui.feed import Feed, News
from xdpwall.paths import Paths

_ROWS = 10


def run(paths: Paths, *, interval: float, rounds: int | None, as_json: bool) -> int:
    """Print a block each ``interval`` seconds until Ctrl-C, or ``rounds`` times. Gives the exit code.

    With ``as_json`` each block is one line, the answer of the op ``overview``.

    Raises:
        PrivilegeError: this user may not ask.
    """
    wanted = model.Wanted()
    feed = Feed(paths, wanted.question, lambda _: None)
    pause = threading.Event()
    done = 0
    news = feed.ask()  # finds no rates of sources yet: they need two looks
    if isinstance(news.error, PrivilegeError):
        raise news.error
    while rounds is None or done < rounds:
        pause.wait(interval)
        news = feed.ask()
        if as_json:
            write(json.dumps({"schema": SCHEMA, **_json(news)}) + "\n")
        else:
            show(news, wanted)
        done += 1
    return 0 if news.error is None else news.error.exit_code


def _json(news: News) -> dict[str, Any]:
    answer = dict(news.answer or {})
    if news.error is not None:
        answer["error"] = {"message": news.error.message, "hint": news.error.hint}
    return answer


def show(news: News, wanted: model.Wanted) -> None:
    """Draw one block."""
    answer = news.answer or {}
    head = Text.assemble(
        (model.state_of(news), "bold"), "  ", model.sentence(news), f"   {model.place_of(news)}"
    )
    parts: list[Any] = [head, *(Text(f"! {notice}", "yellow") for notice in model.notices(news))]
    if answer:
        for name, (packets, size, _) in model.traffic_figures(answer).items():
            parts.append(Text(f"{name:<10} {model.rate_words(packets, size)}"))
        parts.append(Text(model.bans_line(answer)))
    if answer.get("lanes"):
        parts.append(_lanes(answer["lanes"]))
    parts += _rows("SOURCE CC NETWORK PPS BIT/s SYN/s DROP/s VERDICT LEFT", model.source_rows(answer, wanted))
    parts += _rows("BAN LEFT DROP/s DROPPED BY STRIKES REASON", model.ban_rows(answer, wanted))
    parts += _rows("INCIDENT STATE LASTED PEAK KIND", model.incident_rows(answer))
    draw(*parts, "")


def _lanes(lanes: list[dict[str, Any]]) -> Table:
    table = _table("LANE NOW BUDGET OVER DROPPED PROVEN")
    for lane in lanes:
        figures = (lane.get(f"{key}_pps") or 0 for key in ("budget", "over", "dropped", "passed_on_proof"))
        table.add_row(lane["lane"], model.figure(lane.get("pps") or 0), *(model.figure(n) for n in figures))
    return table


def _rows(titles: str, rows: list[model.Row]) -> list[Any]:
    if not rows:
        return []
    table = _table(titles)
    for row in rows[:_ROWS]:
        table.add_row(*(Text(cell) for cell in row.cells), style=row.style)
    return ["", table]


def _table(titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles.split():
        table.add_column(title, justify="left" if title.isalpha() and title not in _NUMBERS else "right")
    return table


_NUMBERS = {"PPS", "LEFT", "DROPPED", "STRIKES", "PEAK", "LASTED", "NOW", "BUDGET", "OVER", "PROVEN"}
