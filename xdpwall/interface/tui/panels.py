# SPDX-License-Identifier: Apache-2.0
"""The parts of the screen that are drawn as text: header, notices, traffic, lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.widget import Widget

from xdpwall.interface.tui import model
from xdpwall.interface.tui.feed import News
from xdpwall.interface.tui.glyphs import bar, cut, sparkline

_STATE_STYLE = {
    "QUIET": "bold black on green",
    "UNDER ATTACK": "bold white on red",
    "OBSERVE": "bold black on cyan",
    "DEGRADED": "bold black on yellow",
    "OFF": "bold white on red",
    "NO ANSWER": "bold white on magenta",
}
_COLOURS = {"passed": "green", "dropped": "red", "would drop": "yellow"}


class Panel(Widget):
    """Draws one text from the newest news."""

    DEFAULT_CSS = "Panel { height: auto; }"

    def __init__(self, *, id: str) -> None:  # noqa: A002  (Textual's word)
        super().__init__(id=id)
        self._news = News(None)
        self._drawn: tuple[str, int, int] | None = None

    def show(self, news: News) -> None:
        """Take in the news; drawn again only when something differs."""
        self._news = news
        text = self.draw(self.size.width or 80, self.size.height or 1)
        now = (text.markup, self.size.width, self.size.height)
        if now != self._drawn:
            self._drawn = now
            self.refresh()

    def render(self) -> Text:
        """What Textual asks for."""
        return self.draw(self.size.width, self.size.height)

    def draw(self, width: int, height: int) -> Text:
        """The text for this much room."""
        raise NotImplementedError


class StateBar(Panel):
    """One line: state, sentence, interface and mode."""

    paused = False
    read_only = False

    def draw(self, width: int, height: int) -> Text:
        """See :meth:`Panel.draw`."""
        del height
        state = model.state_of(self._news)
        head = Text(f" {state} ", _STATE_STYLE.get(state, "bold"))
        flags = "".join(
            f" [{word}]" for word, on in (("PAUSED", self.paused), ("read-only", self.read_only)) if on
        )
        tail = f"{flags}  {model.place_of(self._news)} "
        room = width - len(head) - len(tail)
        sentence = cut(f"  {model.sentence(self._news)}", room)
        line = Text.assemble(head, sentence.ljust(max(0, room)), (tail, "bold" if flags else ""))
        line.truncate(width)
        return line


class NoticeBar(Panel):
    """One line: the worst of what is wrong, and how much more there is."""

    def draw(self, width: int, height: int) -> Text:
        """See :meth:`Panel.draw`."""
        del height
        found = model.notices(self._news)
        if not found:
            return Text("")
        more = f"  (+{len(found) - 1}: d)" if len(found) > 1 else ""
        first = cut(f"! {found[0]}", width - len(more) - 1)
        if first.endswith("…") and not more:
            more = " (d)"
            first = cut(f"! {found[0]}", width - len(more) - 1)
        return Text.assemble((first, "bold yellow"), (more, "yellow"))


class TrafficPanel(Panel):
    """What passes and what is dropped: figures, and the last minutes as a chart. Each chart has its own scale."""

    def draw(self, width: int, height: int) -> Text:
        """See :meth:`Panel.draw`."""
        answer = self._news.answer
        if answer is None:
            return Text("")
        figures = model.traffic_figures(answer)
        if not figures:
            return Text(cut(_totals_line(answer), width), "dim")
        lines = max(1, (height - 2 - len(figures)) // max(1, len(figures)))
        drawn = Text()
        for name, (packets, size, trend) in figures.items():
            colour = _COLOURS[name]
            drawn.append(f"{name:<10}", f"bold {colour}")
            drawn.append(f"{model.rate_words(packets, size)}\n", "bold" if packets else "")
            for line in sparkline(trend, width, lines):
                drawn.append(line + "\n", colour)
        drawn.append(cut(_users_line(answer), width) + "\n")
        drawn.append(cut(model.bans_line(answer), width))
        return drawn


def _totals_line(answer: Mapping[str, Any]) -> str:
    totals = answer["status"]["totals"]
    seen, dropped = (model.figure(totals[key]) for key in ("packets", "dropped_packets"))
    return f"since load {seen}, {dropped} dropped"


def _users_line(answer: Mapping[str, Any]) -> str:
    """What is known of those who belong here."""
    lanes = answer.get("lanes") or ()
    proven = sum(lane.get("passed_on_proof_pps") or 0 for lane in lanes)
    over = sum(lane.get("over_pps") or 0 for lane in lanes)
    if lanes and over:
        return f"over budget {model.figure(over)}, known users {model.figure(proven)}"
    if lanes:
        return "within every budget: no proof needed"
    return _totals_line(answer)


class LanesPanel(Panel):
    """Each lane against its budget. Where lanes are not known: the reasons instead."""

    def draw(self, width: int, height: int) -> Text:
        """See :meth:`Panel.draw`."""
        answer = self._news.answer
        if answer is None:
            return Text("")
        lanes = answer.get("lanes")
        if not lanes:
            return reasons_text(answer, width, height)
        drawn = Text(f"{'lane':<9}{'now/budget':>13} {'':{max(0, width - 32)}} {'dropped':>7}"[:width], "dim")
        for lane in lanes[: max(1, height - 1)]:
            drawn.append("\n")
            drawn.append_text(_lane_line(lane, width))
        return drawn


def _lane_line(lane: Mapping[str, Any], width: int) -> Text:
    now, budget = lane.get("pps") or 0, lane.get("budget_pps") or 0
    dropped, over = lane.get("dropped_pps") or 0, lane.get("over_pps") or 0
    room = max(3, width - 32)
    limit = model.figure(budget) if budget else "-"
    colour = "red" if dropped else "yellow" if over else "green"
    line = Text(f"{lane['lane']:<9}", "bold")
    line.append(f"{model.figure(now):>6}/{limit:<6} ")
    line.append(bar(now, budget, room), colour)
    line.append(f" {model.figure(dropped) if dropped else '':>7}", "bold red")
    return line


class ReasonsPanel(Panel):
    """What happens to packets right now, by reason."""

    def draw(self, width: int, height: int) -> Text:
        """See :meth:`Panel.draw`."""
        answer = self._news.answer
        # Without lanes the reasons stand in their place already.
        return reasons_text(answer, width, height) if answer and answer.get("lanes") else Text("")


def reasons_text(answer: Mapping[str, Any], width: int, height: int) -> Text:
    """The busiest reasons, each with a bar."""
    rows = [row for row in answer.get("reasons", ()) if row["pps"]][: max(1, height - 1)]
    drawn = Text(f"{'reason':<18}{'now':>8}", "dim")
    highest = max((row["pps"] for row in rows), default=0)
    for row in rows:
        drawn.append(f"\n{row['reason']:<18}{model.figure(row['pps']):>8} ")
        drawn.append(
            bar(row["pps"], highest, max(3, width - 28)), "red" if row["action"] == "drop" else "green"
        )
    if not rows:
        drawn.append("\nno packet right now", "dim")
    return drawn
