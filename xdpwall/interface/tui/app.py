# SPDX-License-Identifier: Apache-2.0
"""The live screen: am I under attack, is it being stopped, do my users notice, who is it, what can I press."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message
from textual.widgets import Footer, Static

from xdpwall.errors import XdpwallError
from xdpwall.interface.cli.command import Settings
from xdpwall.interface.tui import actions, details, incident_text, model, tables
from xdpwall.interface.tui.feed import Feed, News
from xdpwall.interface.tui.panels import LanesPanel, NoticeBar, Panel, ReasonsPanel, StateBar, TrafficPanel
from xdpwall.interface.tui.screens import HELP, BanDialog, Closing, Confirm, Decided, FilterDialog
from xdpwall.interface.tui.tables import RowTable

_TABLES = ("sources", "bans", "incidents", "reasons")
_READ_ONLY = "read-only: "


class Came(Message):
    """The feed has news. Posted from its thread."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news


class Top(App[None]):
    """The screen.

    Args:
        settings: which instance.
        interval: seconds between two questions to the controller.
        read_only: whether keys that change something are off.
    """

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012  (Textual: of the instance)
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "ban", "ban"),
        Binding("u", "unban", "unban"),
        Binding("a", "allow", "allow"),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("space", "pause", "hold"),
        Binding("e", "export", "export"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("r", "ask_now", "ask now", show=False),
        Binding("d", "problems", "problems", show=False),
        *(Binding(str(at), f"table('{name}')", name, show=False) for at, name in enumerate(_TABLES, 1)),
    ]

    def __init__(self, settings: Settings, *, interval: float = 1.0, read_only: bool = False) -> None:
        super().__init__()
        self.animation_level = "none"
        self._settings = settings
        self._asked_read_only = read_only
        self._read_only = read_only
        self.wanted = model.Wanted()
        self.news = News(None)
        self.paused = False
        self._feed = Feed(
            settings.paths,
            self._question,
            lambda news: self.post_message(Came(news)),
            interval=interval,
        )

    # --- life ---

    def compose(self) -> ComposeResult:
        """Header, notice, figures, tables, keys."""
        yield StateBar(id="state")
        yield NoticeBar(id="notice")
        with Horizontal(id="upper"):
            yield TrafficPanel(id="traffic")
            yield LanesPanel(id="lanes")
            yield ReasonsPanel(id="reasons_panel")
        yield Static(id="tabs")
        with Container(id="tables"):
            with Vertical(id="left", classes="active"):
                yield Static(id="sources_caption", classes="caption")
                yield RowTable(tables.SOURCES, id="sources")
            with Vertical(id="right"):
                yield Static(id="bans_caption", classes="caption")
                yield RowTable(tables.BANS, id="bans")
                yield Static(id="incidents_caption", classes="caption")
                yield RowTable(tables.INCIDENTS, id="incidents")
                yield Static(id="reasons_caption", classes="caption")
                yield RowTable(tables.REASONS, id="reasons")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to ask."""
        self.title = "xdpwall"
        self.action_table("sources")
        self._feed.start()

    def on_unmount(self) -> None:
        """Stop asking."""
        self._feed.stop()

    def on_resize(self) -> None:
        """Another size has room for other things."""
        self.call_after_refresh(self._draw)

    # --- news ---

    def _question(self) -> dict[str, Any]:
        return self.wanted.question()

    def on_came(self, event: Came) -> None:
        """News from the feed: shown, unless the picture is held."""
        if self.paused or not self.query(StateBar):  # held, or the screen is being taken down
            return
        self.news = news = event.news
        answer = news.answer or {}
        self._read_only = self._asked_read_only or not answer.get("may_write", True)
        self._draw()

    def _draw(self) -> None:
        answer = self.news.answer or {}
        bar = self.query_one(StateBar)
        bar.paused, bar.read_only = self.paused, self._read_only
        for panel in self.query(Panel):
            panel.show(self.news)
        rows = {
            "sources": model.source_rows(answer, self.wanted),
            "bans": model.ban_rows(answer, self.wanted),
            "incidents": model.incident_rows(answer),
            "reasons": model.reason_rows(answer),
        }
        for name, found in rows.items():
            self.query_one(f"#{name}", RowTable).put(found)
        self._draw_captions(answer)

    def _draw_captions(self, answer: Any) -> None:
        captions = model.captions(answer, self.wanted)
        for name, text in captions.items():
            _set(self.query_one(f"#{name}_caption", Static), f" {text}")
        shown = self._active_name
        words = [
            f"[reverse]{at} {text}[/reverse]"
            if name == shown
            else f"[@click=app.table('{name}')]{at} {text}[/]"
            for at, (name, text) in enumerate(captions.items(), 1)
        ]
        _set(self.query_one("#tabs", Static), "  ".join(words))

    # --- which table ---

    @property
    def _active_name(self) -> str:
        return next((name for name in _TABLES if self.query_one(f"#{name}").has_class("active")), "sources")

    @property
    def active(self) -> RowTable:
        """The table that keys are about: the one with the focus, or the one that is shown."""
        focused = self.focused
        return focused if isinstance(focused, RowTable) else self.query_one(f"#{self._active_name}", RowTable)

    def action_table(self, name: str) -> None:
        """Show this table and give it the focus."""
        for other in _TABLES:
            self.query_one(f"#{other}").set_class(other == name, "active")
        self.query_one("#left").set_class(name == "sources", "active")
        self.query_one("#right").set_class(name != "sources", "active")
        self.query_one(f"#{name}", RowTable).focus()
        self._draw_captions(self.news.answer or {})

    def on_descendant_focus(self) -> None:
        """The mouse or the tab key chose a table."""
        focused = self.focused
        if isinstance(focused, RowTable) and focused.id != self._active_name and self.size.width >= 120:
            self.action_table(str(focused.id))

    # --- keys that only look ---

    def action_sort(self) -> None:
        """Another order of the sources."""
        self.wanted = self.wanted.next_sort()
        self._feed.poke()
        self._draw_captions(self.news.answer or {})

    def action_filter(self) -> None:
        """Ask for a filter."""

        def done(text: str | None) -> None:
            if text is not None:
                self.wanted = replace(self.wanted, text=text)
                self._feed.poke()
                self._draw()

        self.push_screen(FilterDialog(self.wanted.text), done)

    def action_pause(self) -> None:
        """Hold the picture, or let it go on."""
        self.paused = not self.paused
        self._draw()
        self._feed.poke()

    def action_ask_now(self) -> None:
        """Ask the controller at once."""
        self._feed.poke()

    def action_help(self) -> None:
        """The keys."""
        self.push_screen(Closing("xdpwall top", HELP, markup=True))

    def action_problems(self) -> None:
        """Everything that is wrong."""
        found = model.notices(self.news)
        self.push_screen(
            Closing("What is wrong", "\n\n".join(found) or "Nothing that the controller knows of.")
        )

    def on_data_table_row_selected(self) -> None:
        """Enter or a second click: all about the row."""
        row, answer = self.active.selected, self.news.answer
        if row is None or answer is None:
            return
        if self.active.id == "incidents":
            self._in_thread(lambda: incident_text.look_up(self._settings, row.key), self._show_details)
        else:
            self._show_details(details.of_row(str(self.active.id), row.key, answer))

    def _show_details(self, found: details.Details) -> None:
        self.push_screen(Closing(found.title, found.text))

    # --- keys that change something ---

    def _subject(self, *names: str) -> str | None:
        """The prefix that the keys are about, if they may do anything."""
        if self._read_only:
            why = "it was asked for" if self._asked_read_only else "this user may only look"
            self.notify(f"{_READ_ONLY}{why}", severity="warning")
            return None
        row = self.active.selected
        if row is None or self.active.id not in names:
            self.notify(f"select a row of {' or '.join(names)} first (keys 1 to 4)", severity="warning")
            return None
        return row.key

    def action_ban(self) -> None:
        """Ban the selected source."""
        prefix = self._subject("sources", "bans")
        if prefix is not None:
            facts = details.facts(prefix, self.news.answer or {})
            self.push_screen(BanDialog(prefix, facts), self._ban)

    def _ban(self, decided: Decided | None) -> None:
        if decided is not None:
            self._change(lambda: actions.ban(self._settings, decided.prefix, decided.length, decided.reason))

    def action_unban(self) -> None:
        """Lift the ban on the selected source."""
        prefix = self._subject("sources", "bans")
        if prefix is None:
            return
        ban = details.ban_on(prefix, self.news.answer or {})
        if ban is None:
            self.notify(f"{prefix} is not banned", severity="warning")
            return
        question = f"Lift the ban on {ban['prefix']}?\n{details.ban_words(ban)}"
        self.push_screen(Confirm(question, ban["prefix"], yes="Lift it"), self._unban)

    def _unban(self, decided: Decided | None) -> None:
        if decided is not None:
            self._change(lambda: actions.unban(self._settings, decided.prefix))

    def action_allow(self) -> None:
        """Allow the selected source."""
        prefix = self._subject("sources", "bans")
        if prefix is not None:
            question = (
                f"Allow {prefix}?\nNothing from there is ever dropped again, whatever it sends, "
                f"until `xdpwall allow del {prefix}`."
            )
            self.push_screen(
                Confirm(question, prefix, yes="Allow", reason="from the live screen"), self._allow
            )

    def _allow(self, decided: Decided | None) -> None:
        if decided is not None:
            self._change(lambda: actions.allow(self._settings, decided.prefix, decided.reason))

    def action_export(self) -> None:
        """Write the report of the selected incident."""
        row = self.query_one("#incidents", RowTable).selected
        if row is None:
            self.notify("there is no incident to report on", severity="warning")
            return
        self._in_thread(lambda: incident_text.export(self._settings, row.key), self.notify)

    def _change(self, work: Callable[[], str]) -> None:
        def done(text: str) -> None:
            self.notify(text)
            self._feed.poke()

        self._in_thread(work, done)

    def _in_thread(self, work: Callable[[], Any], done: Callable[[Any], object]) -> None:
        """Do what may take time beside the screen, and bring the result back to it."""

        def run() -> None:
            try:
                result = work()
            except XdpwallError as error:
                hint = f"\n{error.hint}" if error.hint else ""
                self.call_from_thread(self.notify, f"{error.message}{hint}", severity="error", timeout=10)
            else:
                self.call_from_thread(done, result)

        self.run_worker(run, thread=True, exit_on_error=False)


def _set(widget: Static, text: str) -> None:
    if getattr(widget, "_text_now", None) != text:
        widget._text_now = text  # type: ignore[attr-defined]
        widget.update(text)
