# SPDX-License-Identifier: Apache-2.0
"""What opens over the screen: help, the full list of problems, and the questions before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static

from xdpwall.errors import AddressError
from xdpwall.interface.tui.actions import network_of
from xdpwall.model import parse_duration_ms

HELP = """\
[b]Am I under attack?[/b]  The word at the top left: QUIET, UNDER ATTACK, OBSERVE (nothing is dropped), DEGRADED.
[b]Is it being stopped?[/b]  The sentence beside it, and the charts of the last minutes.
[b]Do my users notice?[/b]  The line below the charts: what is over budget, and who of it is known.

 [b]b[/b]  ban the selected source or ban it for longer      [b]u[/b]  lift the selected ban
 [b]a[/b]  allow it: it is never dropped                     [b]enter[/b]  all about the selected row
 [b]s[/b]  sort the sources by something else                [b]/[/b]  filter: a prefix, or any text; empty: off
 [b]space[/b]  hold the picture still                        [b]r[/b]  ask again now
 [b]1 2 3 4[/b]  sources, bans, incidents, reasons           [b]tab[/b]  next table
 [b]e[/b]  export the report of an incident                  [b]d[/b]  everything that is wrong
 [b]?[/b]  this help                                         [b]q[/b]  quit; the wall stays as it is

Nothing is changed without a question. Rates are per second; a source is an IPv4 address or an IPv6 /64.
Colours: [red]banned or dropped[/red], [yellow]over a limit[/yellow], [green]allowed or passed[/green]."""


class Closing(ModalScreen[None]):
    """A text that any of the usual keys closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", "close", show=False),
    ]

    def __init__(self, title: str, text: str, *, markup: bool = False) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._markup = markup

    def compose(self) -> ComposeResult:
        """A box with a title."""
        with VerticalScroll(classes="box") as box:
            box.border_title = self._title
            box.border_subtitle = "esc closes"
            yield Static(self._text, markup=self._markup)


@dataclass(frozen=True, slots=True)
class Decided:
    """What somebody confirmed: to what, for how long (bans), and why."""

    prefix: str
    length: str = ""
    reason: str = ""


class Confirm(ModalScreen[Decided | None]):
    """A yes-or-no question about one prefix."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "dismiss", "no", show=False),
        Binding("y", "yes", "yes", show=False),
    ]

    def __init__(self, question: str, prefix: str, *, yes: str, reason: str = "") -> None:
        super().__init__()
        self._question = question
        self._decided = Decided(prefix, reason=reason)
        self._yes = yes

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="box"):
            yield Label(self._question, markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._yes} (y)", variant="warning", id="yes")
                yield Button("No (esc)", id="no")

    def on_mount(self) -> None:
        """The safe answer has the focus."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the two."""
        self.dismiss(self._decided if event.button.id == "yes" else None)

    def action_yes(self) -> None:
        """The key y."""
        self.dismiss(self._decided)


class BanDialog(ModalScreen[Decided | None]):
    """Ban one source or its network: for how long, and why."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "cancel", show=False)]

    def __init__(self, source: str, facts: str) -> None:
        super().__init__()
        self._source = source
        self._facts = facts

    def compose(self) -> ComposeResult:
        """Scope, duration, reason, and two buttons."""
        wide = network_of(self._source)
        choices = [(self._source, self._source)]
        if wide != self._source:
            choices.append((f"{wide}  (its whole network)", wide))
        with Vertical(classes="box") as box:
            box.border_title = "Ban"
            yield Label(self._facts, markup=False)
            yield Label("Whom: the source, or its whole network" if len(choices) > 1 else "Whom")
            yield Select(choices, value=self._source, allow_blank=False, id="scope")
            yield Label("How long: 10m, 1h30m, 7d or perm")
            yield Input("10m", id="length")
            yield Label(" ", id="fault", markup=False)
            yield Input(
                "", placeholder="why, for whoever looks at the list later", max_length=200, id="reason"
            )
            with Horizontal(classes="buttons"):
                yield Button("Ban (enter)", variant="error", id="yes")
                yield Button("Cancel (esc)", id="no")

    def on_mount(self) -> None:
        """Most people only want to change the duration."""
        self.query_one("#length", Input).focus()

    def on_input_submitted(self) -> None:
        """Enter in a field confirms."""
        self._decide()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the two."""
        if event.button.id == "yes":
            self._decide()
        else:
            self.dismiss(None)

    def _decide(self) -> None:
        length = self.query_one("#length", Input).value
        try:
            parse_duration_ms(length)
        except AddressError as error:
            self.query_one("#fault", Label).update(f"{error.message}: {error.hint}")
            self.query_one("#length", Input).focus()
            return
        scope = self.query_one("#scope", Select).value
        self.dismiss(Decided(str(scope), length, self.query_one("#reason", Input).value))


class FilterDialog(ModalScreen[str | None]):
    """One line of text: the filter."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "cancel", show=False)]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """One input."""
        with Vertical(classes="box") as box:
            box.border_title = "Filter"
            yield Label("A prefix like 198.51.100.0/24, a country, a network, a verdict. Empty shows all.")
            yield Input(self._text, id="filter")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes it."""
        self.dismiss(event.value.strip())
