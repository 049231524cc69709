# SPDX-License-Identifier: Apache-2.0
"""The table of incidents: the record as JSON, with the columns that a list needs beside it.

Functions over an open connection; whoever calls holds the transaction (``Database.work``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xdpwall.incident.model import Incident

TABLE = """CREATE TABLE incidents (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
    opened_ms INTEGER NOT NULL, ended_ms INTEGER, closed_ms INTEGER,
    summary TEXT NOT NULL, record TEXT NOT NULL, going_on TEXT NOT NULL)"""
"""For ``control.schema``. ``going_on``: what a restarted controller needs beside the record."""
MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One incident read back."""

    record: dict[str, Any]
    going_on: dict[str, Any]


def summary(incident: Incident) -> dict[str, Any]:
    """What a list shows of an incident; plain values."""
    totals = incident.totals
    return {
        "id": incident.id,
        "key": incident.key,
        "state": incident.state,
        "opened_ms": incident.opened_ms,
        "first_packet_ms": incident.first_packet_ms,
        "updated_ms": incident.updated_ms,
        "ended_ms": incident.ended_ms,
        "closed_ms": incident.closed_ms,
        "severity": incident.severity,
        "confidence": incident.confidence,
        "peak_pps": incident.peak_pps,
        "peak_bps": incident.peak_bps,
        "packets": totals.packets,
        "bytes": totals.bytes,
        "dropped_packets": totals.dropped_packets,
        "passed_packets": totals.passed_packets,
        "bursts": len(incident.bursts),
        "sources": incident.sources.seen,
        "vectors": [vector.name for vector in incident.vectors],
        "targets": [{"address": target.address, "port": target.port} for target in incident.targets[:5]],
        "countries": [
            {"code": share.code, "share": round(share.share_packets, 4)}
            for share in incident.origin.by_country[:10]
        ],
        "diversion": len(incident.diversion),
        "linked": list(incident.linked),
        "crossed": sorted({crossing.what for crossing in incident.thresholds}),
    }


def put(db: sqlite3.Connection, incident: Incident, going_on: Mapping[str, Any]) -> None:
    """Write one, or write it anew."""
    db.execute(
        "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            incident.id,
            incident.key,
            incident.state,
            incident.opened_ms,
            incident.ended_ms,
            incident.closed_ms,
            json.dumps(summary(incident), separators=(",", ":")),
            json.dumps(incident.to_json(), separators=(",", ":")),
            json.dumps(going_on, separators=(",", ":")),
        ),
    )


def summaries(db: sqlite3.Connection, limit: int = MOST_LISTED, since_ms: int = 0) -> list[dict[str, Any]]:
    """The newest, newest first; those that were open or ended at or after a time."""
    rows = db.execute(
        "SELECT summary FROM incidents WHERE COALESCE(ended_ms, ?) >= ? ORDER BY id DESC LIMIT ?",
        (1 << 62, since_ms, limit),
    )
    return [json.loads(text) for (text,) in rows]


def get(db: sqlite3.Connection, name: str) -> Stored | None:
    """One by its id, its key, or ``last``."""
    query = "SELECT record, going_on FROM incidents"
    if name == "last":
        row = db.execute(f"{query} ORDER BY id DESC LIMIT 1").fetchone()
    elif name.isascii() and name.isdigit() and len(name) < 19:
        row = db.execute(f"{query} WHERE id = ?", (int(name),)).fetchone()
    else:
        row = db.execute(f"{query} WHERE key = ?", (name,)).fetchone()
    return None if row is None else Stored(json.loads(row[0]), json.loads(row[1]))


def prune(
    db: sqlite3.Connection, before_ms: int, most_bytes: int, sample_bytes: Mapping[int, int]
) -> list[int]:
    """Forget closed incidents that are older, and the oldest beyond a size. Gives the ids of those that went.

    Args:
        db: the open database.
        before_ms: ended before this.
        most_bytes: records and samples together.
        sample_bytes: size of the samples' file of each incident.
    """
    rows = db.execute(
        "SELECT id, state, ended_ms, LENGTH(record) + LENGTH(summary) FROM incidents ORDER BY id DESC"
    ).fetchall()
    gone: list[int] = []
    total = 0
    for number, state, ended_ms, size in rows:
        total += size + sample_bytes.get(number, 0)
        if state == "closed" and (total > most_bytes or (ended_ms is not None and ended_ms < before_ms)):
            gone.append(number)
    db.executemany("DELETE FROM incidents WHERE id = ?", ((number,) for number in gone))
    return gone
