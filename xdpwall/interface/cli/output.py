# SPDX-License-Identifier: Apache-2.0
"""Writes answers to stdout: JSON for programs, tables for people. rich is imported only to draw."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdpwall.interface.cli.failure import ReaderGoneError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SCHEMA = 1
PLAIN_ROWS = 1_000
"""A longer table is laid out by plain padding: rich takes a minute for 100,000 rows."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``style`` is a rich style; ``right`` aligns numbers."""

    title: str
    right: bool = False
    style: str = ""


def emit_json(result: Mapping[str, Any]) -> None:
    """Write one JSON object, with its schema; laid out for a reader when stdout is a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    # dumps, not dump: that one writes each token by itself.
    write(json.dumps({"schema": SCHEMA, **result}, indent=indent) + "\n")


def console() -> Console:
    """A rich console on stdout: colours only on a terminal, and not under NO_COLOR."""
    from rich.console import Console

    # A pipe gets lines as long as they are: cutting them at 80 columns would lose data.
    width = None if sys.stdout.isatty() else 200
    return Console(highlight=False, soft_wrap=False, width=width, emoji=False)


def draw(*parts: RenderableType) -> None:
    """Draw for people."""
    screen = console()
    with screen.capture() as drawn:
        for part in parts:
            screen.print(part)
    write("\n".join(line.rstrip() for line in drawn.get().split("\n")))


def write(text: str) -> None:
    """Write text as it is.

    Raises:
        ReaderGoneError: nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer must not fail again when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderGoneError from None


def say(text: str) -> None:
    """One line for people."""
    write(f"{text}\n")


def note(text: str) -> None:
    """One line beside the answer, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Draw a table: no lines, a bold head, numbers to the right.

    Args:
        columns: its columns.
        rows: as many texts a row as there are columns.
        styles: a rich style for each row, or none at all.
    """
    if len(rows) > PLAIN_ROWS:
        _plain_table(columns, rows)
        return
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(
            column.title, justify="right" if column.right else "left", style=column.style, overflow="fold"
        )
    for at, row in enumerate(rows):
        drawn.add_row(*(Text(cell) for cell in row), style=styles[at] if styles else None)
    draw(drawn)


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    everything = [[column.title for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*everything, strict=True)]
    lines = []
    for row in everything:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    write("\n".join(lines) + "\n")
