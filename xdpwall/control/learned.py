# SPDX-License-Identifier: Apache-2.0
"""The table of what lanes brought in: a row for each hour, lane, and quiet or not; old hours are put together to days.

A month of it is some hundred kilobytes, a few megabytes with the noisiest traffic there can be.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable

from xdpwall.control.learning import Learned
from xdpwall.detection.levels import Levels, Observed
from xdpwall.errors import StoreError
from xdpwall.lanes import Lane

TABLE = """CREATE TABLE lane_levels (
    hour_ms INTEGER NOT NULL, lane TEXT NOT NULL, quiet INTEGER NOT NULL,
    pps BLOB NOT NULL, bps BLOB NOT NULL,
    PRIMARY KEY (hour_ms, lane, quiet)) WITHOUT ROWID"""
"""For ``control.schema``."""
DAY_MS = 86_400_000
KEEP_MS = 30 * DAY_MS
"""What is older is forgotten."""
HOURS_MS = 2 * DAY_MS
"""Hours older than this become part of their day's row."""
_BY_LABEL = {lane.label: lane for lane in Lane}


def add(db: sqlite3.Connection, learned: Iterable[Learned], now_ms: int) -> None:
    """Add to the hours on record, thin out old ones and forget the oldest. Whoever calls holds the transaction."""
    for part in learned:
        _put(db, part.hour_ms, part.lane.label, int(part.quiet), part.observed)
    old = db.execute(
        "SELECT hour_ms, lane, quiet, pps, bps FROM lane_levels WHERE hour_ms < ? AND hour_ms % ? != 0",
        (now_ms - HOURS_MS, DAY_MS),
    ).fetchall()
    for hour_ms, lane, quiet, pps, bps in old:
        with contextlib.suppress(ValueError):  # a row that cannot be read says nothing
            hour = Observed(Levels.unpack(pps), Levels.unpack(bps))
            _put(db, hour_ms // DAY_MS * DAY_MS, lane, quiet, hour)
        db.execute(
            "DELETE FROM lane_levels WHERE hour_ms = ? AND lane = ? AND quiet = ?", (hour_ms, lane, quiet)
        )
    db.execute("DELETE FROM lane_levels WHERE hour_ms < ?", (now_ms - KEEP_MS - DAY_MS,))


def _put(db: sqlite3.Connection, at_ms: int, lane: str, quiet: int, observed: Observed) -> None:
    key = (at_ms, lane, quiet)
    row = db.execute(
        "SELECT pps, bps FROM lane_levels WHERE hour_ms = ? AND lane = ? AND quiet = ?", key
    ).fetchone()
    total = Observed()
    total.take(observed)
    if row is not None:
        with contextlib.suppress(ValueError):
            total.take(Observed(Levels.unpack(row[0]), Levels.unpack(row[1])))
    db.execute(
        "INSERT OR REPLACE INTO lane_levels VALUES (?, ?, ?, ?, ?)",
        (*key, total.pps.pack(), total.bps.pack()),
    )


def read(db: sqlite3.Connection, since_ms: int) -> dict[tuple[Lane, bool], Observed]:
    """What each lane brought in since then (by whole days), by lane and quiet or not.

    Raises:
        StoreError: a row is no histogram.
    """
    found: dict[tuple[Lane, bool], Observed] = {}
    rows = db.execute(
        "SELECT lane, quiet, pps, bps FROM lane_levels WHERE hour_ms >= ?", (since_ms // DAY_MS * DAY_MS,)
    )
    for label, quiet, pps, bps in rows:
        lane = _BY_LABEL.get(label)
        if lane is None:
            continue  # of another version
        try:
            part = Observed(Levels.unpack(pps), Levels.unpack(bps))
        except ValueError as error:
            raise StoreError(f"the record of lane {label} cannot be read: {error}") from None
        found.setdefault((lane, bool(quiet)), Observed()).take(part)
    return found
