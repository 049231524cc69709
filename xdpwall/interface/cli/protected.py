# SPDX-License-Identifier: Apache-2.0
"""Shows who is protected: never banned, whoever asks for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from xdpwall.clock import SystemClock
from xdpwall.interface.cli.output import Column, note, say, table
from xdpwall.model import format_duration_ms

_COLUMNS = (Column("PROTECTED"), Column("AS"), Column("SINCE"), Column("WHY"), Column("FOUND IN"))


def show_protected(result: dict[str, Any]) -> None:
    """The second part of `xdpwall allow list`. ``result`` is the answer of ``allow.list``."""
    rows: list[dict[str, Any]] = result.get("protected", [])
    say("")
    if not rows:
        say("nobody is protected beside it")
        return
    table(_COLUMNS, [[row["prefix"], row["kind"], since(row), why(row), row["source"]] for row in rows])
    used = result.get("evidence", [])
    say(f"logins are looked for in: {', '.join(used) or 'nothing, for there is no trace of any'}")
    for text in result.get("unseen", []):
        note(text)


def why(row: dict[str, Any]) -> str:
    """Why it is protected, and for how much longer, once its time is running out."""
    until = row["until_ms"]
    if until is None:
        return str(row["reason"])
    left = max(1_000, until - SystemClock().wall_ms()) // 1_000 * 1_000
    return f"{row['reason']}, or was: protected for {format_duration_ms(left)} more"


def since(row: dict[str, Any]) -> str:
    """When that began, in local time."""
    return datetime.fromtimestamp(row["since_ms"] / 1000).strftime("%Y-%m-%d %H:%M")
