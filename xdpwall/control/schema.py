# SPDX-License-Identifier: Apache-2.0
"""The tables of the state file, as a list of steps: version n is reached by the first n steps.

Never change a step that was released: add one. ``PRAGMA user_version`` holds the version of a file.
"""

from __future__ import annotations

import sqlite3

from xdpwall.control import incident_tables, learned, past_tables

STEPS: tuple[tuple[str, ...], ...] = (
    (
        # Addresses are packed, network byte order: half the size of text, and no parsing of 100,000 of them at start.
        """CREATE TABLE bans (
            packed BLOB NOT NULL, length INTEGER NOT NULL,
            created_ms INTEGER NOT NULL, expires_ms INTEGER,
            origin TEXT NOT NULL, strikes INTEGER NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (packed, length)) WITHOUT ROWID""",
        """CREATE TABLE allow (
            packed BLOB NOT NULL, length INTEGER NOT NULL,
            created_ms INTEGER NOT NULL, origin TEXT NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (packed, length)) WITHOUT ROWID""",
        """CREATE TABLE strikes (
            packed BLOB NOT NULL, length INTEGER NOT NULL,
            strikes INTEGER NOT NULL, last_ms INTEGER NOT NULL,
            PRIMARY KEY (packed, length)) WITHOUT ROWID""",
        # Text on purpose: this is the table that people open by hand.
        """CREATE TABLE history (
            id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, event TEXT NOT NULL,
            prefix TEXT, origin TEXT NOT NULL, detail TEXT NOT NULL)""",
        "CREATE INDEX history_at ON history (at_ms)",
        # What verbs without a controller need to know of the configuration in force.
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (learned.TABLE,),
    (incident_tables.TABLE,),
    past_tables.TABLES,
)
VERSION = len(STEPS)


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a file of this version to :data:`VERSION`, in one transaction."""
    if version == VERSION:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        for step in STEPS[version:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
