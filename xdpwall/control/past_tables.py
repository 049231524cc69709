# SPDX-License-Identifier: Apache-2.0
"""The tables of recorded traffic: minutes in which something came near a limit, and when anybody looked.

Functions over an open connection; whoever calls holds the transaction (``Database.work``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

TABLES = (
    "CREATE TABLE traffic_parts (at_ms INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    # A quiet minute leaves no part. This says that somebody looked.
    "CREATE TABLE traffic_spans (from_ms INTEGER PRIMARY KEY, to_ms INTEGER NOT NULL) WITHOUT ROWID",
)
"""For ``control.schema``."""
MOST_BYTES = 128 << 20
"""The oldest parts go beyond this."""


def add(db: sqlite3.Connection, span: tuple[int, int], part: tuple[int, bytes] | None) -> None:
    """Write down that somebody looked from ``span[0]`` to ``span[1]``, and the newest part of it if there is one."""
    db.execute("INSERT OR REPLACE INTO traffic_spans VALUES (?, ?)", span)
    if part is not None:
        db.execute("INSERT OR REPLACE INTO traffic_parts VALUES (?, ?)", part)


def prune(db: sqlite3.Connection, before_ms: int) -> None:
    """Forget what is older, and the oldest of what is too much."""
    db.execute("DELETE FROM traffic_parts WHERE at_ms < ?", (before_ms,))
    db.execute("DELETE FROM traffic_spans WHERE to_ms < ?", (before_ms,))
    total = 0
    for at_ms, size in db.execute("SELECT at_ms, LENGTH(body) FROM traffic_parts ORDER BY at_ms DESC"):
        total += size
        if total > MOST_BYTES:
            db.execute("DELETE FROM traffic_parts WHERE at_ms <= ?", (at_ms,))
            # What is gone must not look like quiet.
            db.execute("DELETE FROM traffic_spans WHERE to_ms <= ?", (at_ms,))
            db.execute(
                "UPDATE OR REPLACE traffic_spans SET from_ms = ? WHERE from_ms <= ?", (at_ms + 1, at_ms)
            )
            break


def spans(db: sqlite3.Connection, since_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """When anybody looked, within these times, oldest first."""
    rows = db.execute(
        "SELECT from_ms, to_ms FROM traffic_spans WHERE to_ms > ? AND from_ms < ? ORDER BY from_ms",
        (since_ms, until_ms),
    )
    return [(max(since_ms, start), min(until_ms, stop)) for start, stop in rows]


def whole(db: sqlite3.Connection) -> tuple[int, int] | None:
    """From when to when there is any record at all."""
    first, last = db.execute("SELECT MIN(from_ms), MAX(to_ms) FROM traffic_spans").fetchone()
    return None if first is None else (first, last)


def parts(db: sqlite3.Connection, since_ms: int, until_ms: int) -> Iterator[bytes]:
    """Packed parts that begin within these times, oldest first."""
    rows = db.execute(
        "SELECT body FROM traffic_parts WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms", (since_ms, until_ms)
    )
    for (body,) in rows:
        yield bytes(body)


def real_bans(db: sqlite3.Connection, since_ms: int, until_ms: int) -> int:
    """How many automatic bans history has within these times."""
    query = (
        "SELECT COUNT(*) FROM history WHERE at_ms >= ? AND at_ms < ? AND event IN ('ban', 'collapse') "
        "AND origin = 'auto'"
    )
    return int(db.execute(query, (since_ms, until_ms)).fetchone()[0])
