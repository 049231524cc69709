# SPDX-License-Identifier: Apache-2.0
"""Tables that follow the news: a cell is written only when it changed, and the selected row stays selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text
from textual.widgets import DataTable

from xdpwall.interface.tui.glyphs import cut
from xdpwall.interface.tui.model import Row


@dataclass(frozen=True, slots=True)
class Col:
    """A column: its title, its place in a row's cells, its width.

    ``wide``: only where there is room. ``grows``: as the last one it takes all the room there is.
    """

    title: str
    cell: int
    width: int
    right: bool = False
    wide: bool = False
    grows: bool = False


def _needed(columns: Sequence[Col]) -> int:
    """Characters that these take, each with a space on both sides."""
    return sum(column.width + 2 for column in columns)


SOURCES = (
    Col("SOURCE", 0, 22),
    Col("CC", 1, 2),
    Col("NETWORK", 2, 22, wide=True),
    Col("PPS", 3, 6, right=True),
    Col("BIT/s", 4, 6, right=True),
    Col("SYN/s", 5, 6, right=True),
    Col("DROP/s", 6, 6, right=True),
    Col("VERDICT", 7, 7),
    Col("LEFT", 8, 6, right=True),
)
BANS = (
    Col("PREFIX", 0, 22),
    Col("LEFT", 1, 6, right=True),
    Col("DROP/s", 2, 6, right=True),
    Col("DROPPED", 3, 7, right=True),
    Col("BY", 4, 8),
    Col("REASON", 6, 8, grows=True),
)
INCIDENTS = (
    Col("INCIDENT", 0, 14),
    Col("STATE", 1, 6),
    Col("LASTED", 2, 7, right=True),
    Col("PEAK", 3, 10, right=True),
    Col("KIND", 4, 12, grows=True),
)
REASONS = (
    Col("REASON", 0, 18),
    Col("NOW", 1, 7, right=True),
    Col("PACKETS", 2, 8, right=True),
    Col("MEANING", 3, 12, grows=True),
)


class RowTable(DataTable[Text]):
    """A table of :class:`Row`.

    Args:
        columns: what can be shown.
        id: its name.
    """

    def __init__(self, columns: Sequence[Col], *, id: str) -> None:  # noqa: A002  (Textual's word)
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._all = tuple(columns)
        self._shown: tuple[Col, ...] = ()
        self.rows_now: list[Row] = []

    def on_resize(self) -> None:
        """Choose the columns for the room there is."""
        self.lay_out(self.size.width)

    def lay_out(self, width: int) -> None:
        """Show the columns that fit; the last one takes what is left."""
        room = width - 1  # the scroll bar
        narrow = [column for column in self._all if not column.wide]
        shown = list(self._all) if _needed(self._all) <= room else narrow
        last = shown[-1]
        if last.grows:
            shown[-1] = replace(last, width=max(4, room - _needed(shown) + last.width))
        if tuple(shown) == self._shown or width <= 0:
            return
        rows, self.rows_now = self.rows_now, []
        self._shown = tuple(shown)
        self.clear(columns=True)
        for column in shown:
            title = Text(column.title, justify="right" if column.right else "left")
            self.add_column(title, width=column.width)
        self.put(rows)

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        at = self.cursor_row
        return self.rows_now[at] if 0 <= at < len(self.rows_now) else None

    def put(self, rows: list[Row]) -> None:
        """Show these rows instead."""
        if not self._shown:
            self.rows_now = rows
            return
        before, self.rows_now = self.rows_now, rows
        if [row.key for row in before] == [row.key for row in rows]:
            for at, (old, new) in enumerate(zip(before, rows, strict=True)):
                self._write(at, old, new)
            return
        # Who stays at the top wants to see whoever is first; a row that was chosen is followed.
        chosen = before[self.cursor_row].key if 0 < self.cursor_row < len(before) else None
        top = self.scroll_y
        self.clear()
        for row in rows:
            self.add_row(*(self._cell(row, column) for column in self._shown))
        keys = [row.key for row in rows]
        if chosen in keys:
            self.move_cursor(row=keys.index(chosen), animate=False, scroll=False)
            self.scroll_to(y=top, animate=False)

    def _write(self, at: int, old: Row, new: Row) -> None:
        for place, column in enumerate(self._shown):
            if old.cells[column.cell] != new.cells[column.cell] or old.style != new.style:
                self.update_cell_at((at, place), self._cell(new, column))  # type: ignore[arg-type]

    @staticmethod
    def _cell(row: Row, column: Col) -> Text:
        text = cut(row.cells[column.cell], column.width)
        return Text(text, row.style, justify="right" if column.right else "left", no_wrap=True)
