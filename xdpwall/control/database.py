# SPDX-License-Identifier: Apache-2.0
"""The state file: bans, allowlist, strikes and history in SQLite.

Synchronous, for one thread at a time; ``control.store`` puts a thread around it. Folder 0700, file 0600. WAL with
``synchronous=NORMAL``: a killed process loses nothing that was committed; a power cut may lose the last commits, never
the file. A file that is damaged or of a newer version is kept aside, and a fresh one begun: the wall must come up.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from xdpwall.control.schema import VERSION, migrate
from xdpwall.errors import StoreError
from xdpwall.model import Ban, Origin, Prefix

T = TypeVar("T")

HISTORY_ROWS = 2_000_000
"""Most lines of history, whatever their age: about 250 MB. A flood of bans must not fill the disk."""
STRIKE_ROWS = 262_144
"""Most repeat offenders that are read back: as many as detection remembers."""
BUSY_SECONDS = 5.0
_CHECK_BYTES = 64 << 20
"""Files up to this size are checked whole when opened (about a second); larger ones when a page is met."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One prefix of the allowlist, with who put it there (``config`` entries are not stored) and why."""

    prefix: Prefix
    created_ms: int
    reason: str = ""
    origin: str = "operator"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history. ``event`` is one of :data:`EVENTS`."""

    at_ms: int
    event: str
    prefix: Prefix | None = None
    origin: str = ""
    detail: str = ""


EVENTS = (
    "start", "stop", "load", "reload", "ban", "unban", "flush", "expire", "allow", "disallow", "collapse", "held_back",
    "repair", "adopt", "interface", "incident", "diversion", "rule", "rule_end",
    "protect", "unprotect", "cut", "spared", "problem", "solved", "mended",
)  # fmt: skip
"""What history records."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A repeat offender: how many bans, and when the last one ended."""

    prefix: Prefix
    strikes: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What one action writes, in one transaction, in this order.

    Args:
        clear: first of all forget every ban (``flush``, or before a whole new list).
        clear_allow: the same for the allowlist.
        lifted: bans to forget. ``bans``: to add or replace; read once, in the writer's thread.
        disallowed: allowlist entries to forget. ``allowed``: to add or replace.
        forgiven: strikes to forget. ``strikes``: to add or replace.
        events: lines of history.
        settings: texts by name, to add or replace.
    """

    clear: bool = False
    clear_allow: bool = False
    lifted: tuple[Prefix, ...] = ()
    bans: Iterable[Ban] = ()
    disallowed: tuple[Prefix, ...] = ()
    allowed: tuple[AllowEntry, ...] = ()
    forgiven: tuple[Prefix, ...] = ()
    strikes: tuple[Strike, ...] = ()
    events: tuple[Event, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


class Database:
    """The open state file.

    Args:
        path: the file; it and its folder are made when missing.
        now_ms: Unix milliseconds, for the name of a file kept aside.

        read_only: only look: nothing is made, mended or kept aside.

    ``notes`` says in plain words what had to be done to open it. ``fresh`` is whether it began empty.

    Raises:
        StoreError: the file can be neither opened nor replaced.
    """

    def __init__(self, path: Path, *, now_ms: int = 0, read_only: bool = False) -> None:
        self.path = path
        self.notes: list[str] = []
        self.fresh = False
        self._read_only = read_only
        try:
            if read_only:
                self._db = self._look()
                return
            _make_private(path)
            try:
                self._db = self._open()
            except _UnusableError as error:
                self._set_aside(str(error), now_ms)
                self._db = self._open()
        except (OSError, sqlite3.Error, _UnusableError) as error:
            raise StoreError(
                f"{path}: the state database cannot be opened: {error}",
                hint="is the disk full or read-only? what is banned stays banned meanwhile",
            ) from error

    def apply(self, batch: Iterable[Changes]) -> None:
        """Write all of them in one transaction, or none.

        Raises:
            StoreError: nothing was written.
            DamagedError: nothing was written, and nothing will be: the file itself is at fault.
        """
        try:
            with self._db:  # commits, or rolls back on an exception
                self._db.execute("BEGIN IMMEDIATE")
                for changes in batch:
                    self._write(changes)
        except sqlite3.Error as error:
            raise self._fault("written", error) from error

    def _write(self, changes: Changes) -> None:
        many = self._db.executemany
        if changes.clear:
            self._db.execute("DELETE FROM bans")
        if changes.clear_allow:
            self._db.execute("DELETE FROM allow")
        many(
            "DELETE FROM bans WHERE packed = ? AND length = ?", ((p.packed, p.length) for p in changes.lifted)
        )
        many(
            "INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    b.prefix.packed,
                    b.prefix.length,
                    b.created_ms,
                    b.expires_ms,
                    b.origin.value,
                    b.strikes,
                    b.reason,
                )
                for b in changes.bans
            ),
        )
        many(
            "DELETE FROM allow WHERE packed = ? AND length = ?",
            ((p.packed, p.length) for p in changes.disallowed),
        )
        many(
            "INSERT OR REPLACE INTO allow VALUES (?, ?, ?, ?, ?)",
            ((a.prefix.packed, a.prefix.length, a.created_ms, a.origin, a.reason) for a in changes.allowed),
        )
        many(
            "DELETE FROM strikes WHERE packed = ? AND length = ?",
            ((p.packed, p.length) for p in changes.forgiven),
        )
        many(
            "INSERT OR REPLACE INTO strikes VALUES (?, ?, ?, ?)",
            ((s.prefix.packed, s.prefix.length, s.strikes, s.last_ms) for s in changes.strikes),
        )
        many(
            "INSERT INTO history (at_ms, event, prefix, origin, detail) VALUES (?, ?, ?, ?, ?)",
            (
                (e.at_ms, e.event, None if e.prefix is None else str(e.prefix), e.origin, e.detail)
                for e in changes.events
            ),
        )

        many("INSERT OR REPLACE INTO settings VALUES (?, ?)", changes.settings)

    def setting(self, key: str) -> str | None:
        """A text by name."""
        for (value,) in self._rows("SELECT value FROM settings WHERE key = ?", key):
            return str(value)
        return None

    def bans(self) -> Iterator[Ban]:
        """Every stored ban, also those that lapsed and were not taken out yet."""
        query = "SELECT packed, length, created_ms, expires_ms, origin, strikes, reason FROM bans"
        for packed, length, created, expires, origin, strikes, reason in self._rows(query):
            yield Ban(Prefix(packed, length), created, expires, reason, Origin(origin), strikes)

    def allow(self) -> list[AllowEntry]:
        """Every stored allowlist entry."""
        rows = self._rows(
            "SELECT packed, length, created_ms, origin, reason FROM allow ORDER BY packed, length"
        )
        return [
            AllowEntry(Prefix(packed, length), at, reason, origin)
            for packed, length, at, origin, reason in rows
        ]

    def strikes(self, since_ms: int) -> Iterator[Strike]:
        """The newest repeat offenders whose last ban ended at or after this time."""
        query = "SELECT packed, length, strikes, last_ms FROM strikes WHERE last_ms >= ? ORDER BY last_ms DESC LIMIT ?"
        for packed, length, strikes, last in self._rows(query, since_ms, STRIKE_ROWS):
            yield Strike(Prefix(packed, length), strikes, last)

    def history(self, limit: int, since_ms: int = 0) -> list[tuple[int, str, str | None, str, str]]:
        """The newest lines, newest first: ``(at_ms, event, prefix, origin, detail)``."""
        query = "SELECT at_ms, event, prefix, origin, detail FROM history WHERE at_ms >= ? ORDER BY id DESC LIMIT ?"
        return list(self._rows(query, since_ms, limit))

    def work(self, what: Callable[[sqlite3.Connection], T]) -> T:
        """Do something of one's own in one transaction, for the parts that have tables of their own.

        Raises:
            StoreError: it could not be done; nothing was written.
        """
        try:
            with self._db:
                if not self._read_only:
                    self._db.execute("BEGIN IMMEDIATE")
                return what(self._db)
        except sqlite3.Error as error:
            raise self._fault("used", error) from error

    def prune(self, *, history_before_ms: int, strikes_before_ms: int) -> int:
        """Forget old lines of history and old strikes. Gives how many lines of history went."""
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                gone = self._db.execute("DELETE FROM history WHERE at_ms < ?", (history_before_ms,)).rowcount
                gone += self._db.execute(
                    "DELETE FROM history WHERE id <= (SELECT MAX(id) FROM history) - ?", (HISTORY_ROWS,)
                ).rowcount
                self._db.execute("DELETE FROM strikes WHERE last_ms < ?", (strikes_before_ms,))
            return gone
        except sqlite3.Error as error:
            raise self._fault("pruned", error) from error

    def replace_damaged(self, now_ms: int) -> None:
        """Keep the damaged file aside and begin a fresh one in its place.

        Raises:
            StoreError: that failed too.
        """
        self.close()
        try:
            self._set_aside("it is damaged", now_ms)
            self._db = self._open()
        except (OSError, sqlite3.Error, _UnusableError) as error:
            raise StoreError(f"{self.path}: no fresh state database can be begun: {error}") from error

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _rows(self, query: str, *args: int | str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, args)
        except sqlite3.Error as error:
            raise self._fault("read", error) from error

    def _fault(self, verb: str, error: sqlite3.Error) -> StoreError:
        kind = DamagedError if _is_damage(error) else StoreError
        return kind(f"{self.path}: the state database cannot be {verb}: {error}")

    def _look(self) -> sqlite3.Connection:
        try:
            return self._look_at("mode=ro")
        except sqlite3.OperationalError:
            wal = self.path.with_name(f"{self.path.name}-wal")
            if wal.exists() and wal.stat().st_size:
                raise  # part of what was written is in there
            return self._look_at(
                "immutable=1"
            )  # no room, or no right, for the files that SQLite needs beside it

    def _look_at(self, how: str) -> sqlite3.Connection:
        db = sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
        try:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version != VERSION:
                raise _UnusableError(f"it has schema {version}, this xdpwall reads {VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def _open(self) -> sqlite3.Connection:
        known = self.path.exists() and self.path.stat().st_size > 0
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA journal_size_limit=33554432")
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                raise _UnusableError(
                    f"it was written by a newer xdpwall (schema {version}, this one knows {VERSION})"
                )
            if known and self.path.stat().st_size <= _CHECK_BYTES:
                verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise _UnusableError(f"it is damaged: {verdict}")
            migrate(db, version)
        except sqlite3.DatabaseError as error:
            db.close()
            if _is_damage(error):
                raise _UnusableError(f"it is damaged: {error}") from error
            raise
        except _UnusableError:
            db.close()
            raise
        self.fresh = self.fresh or not known
        return db

    def _set_aside(self, why: str, now_ms: int) -> None:
        kept = self.path.with_name(f"{self.path.name}.kept-{now_ms}")
        for tail in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + tail)
            with contextlib.suppress(FileNotFoundError):
                part.rename(kept.with_name(kept.name + tail))
        self.fresh = True
        _make_private(self.path)
        self.notes.append(
            f"{self.path} could not be used: {why}. It was kept as {kept.name}, and a fresh one begun"
        )


class DamagedError(StoreError):
    """The file itself is damaged: :meth:`Database.replace_damaged` is the way out."""


class _UnusableError(Exception):
    """The file is there, and is none that we can use."""


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _DAMAGED


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    path.chmod(0o600)
