# SPDX-License-Identifier: Apache-2.0
"""The incidents on record: their names and numbers, which are linked, and the way to the disk and back."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from xdpwall.control import incident_tables as tables
from xdpwall.control.database import Changes, Database
from xdpwall.control.store import Store
from xdpwall.errors import StoreError
from xdpwall.incident.account import Account
from xdpwall.incident.model import Incident

log = logging.getLogger(__name__)

LEARNED = "incident.learned"
"""The setting that holds what was learned in quiet times."""
_MOST_LINKED = 10


@dataclass(frozen=True, slots=True)
class AtStart:
    """What a starting controller finds: the newest incident, and what was learned."""

    last: tables.Stored | None = None
    learned: dict[str, Any] | None = None


class Archive:
    """Remembers the summaries of all incidents on record, newest first.

    Args:
        store: where records go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[dict[str, Any]] = []

    def start(self) -> AtStart:
        """Read what is on record. When it cannot be read, begin with nothing."""
        try:
            self._rows, last, learned = self._store.read(_read).result(10)
        except (StoreError, TimeoutError, ValueError) as error:
            log.error("the incidents on record cannot be read: %s", error)
            return AtStart()
        return AtStart(last, learned)

    def name(self, at_ms: int) -> tuple[int, str]:
        """Number and key of a new one: the key is its day (UTC) and how many there were that day."""
        day = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        same = (int(row["key"].rsplit("-", 1)[1]) for row in self._rows if row["key"].startswith(day))
        return max((row["id"] for row in self._rows), default=0) + 1, f"{day}-{max(same, default=0) + 1}"

    def linked(self, over: set[str], since_ms: int) -> tuple[int, ...]:
        """Earlier ones that passed one of the same thresholds and ended at or after this time, nearest first."""
        found = [
            int(row["id"])
            for row in self._rows
            if (row["ended_ms"] or row["opened_ms"]) >= since_ms and over & set(row["crossed"])
        ]
        return tuple(found[:_MOST_LINKED])

    def write(self, account: Account, now_ms: int, last_over_ms: int) -> Incident:
        """Put the record as it stands on its way to the disk. Gives it."""
        record = account.record(now_ms)
        going_on = account.state() | {"last_over_ms": last_over_ms}
        self._store.read(lambda database: database.work(lambda db: tables.put(db, record, going_on)))
        row = tables.summary(record)
        if self._rows and self._rows[0]["id"] == record.id:
            self._rows[0] = row
        else:
            self._rows.insert(0, row)
        return record

    def learned(self, data: dict[str, Any]) -> Changes:
        """What was learned, as a change of the record."""
        return Changes(settings=((LEARNED, json.dumps(data)),))

    def prune(self, before_ms: int, most_bytes: int, sizes: dict[int, int], forget: Any) -> None:
        """Forget what is too old or too much, in the store's thread.

        Args:
            before_ms: incidents that ended before this go.
            most_bytes: for all together.
            sizes: of the samples of each.
            forget: is called with the ids of those that went.
        """
        self._store.read(
            lambda database: forget(database.work(lambda db: tables.prune(db, before_ms, most_bytes, sizes)))
        )
        self._rows = [row for row in self._rows if (row["ended_ms"] or row["opened_ms"]) >= before_ms]


def _read(
    database: Database,
) -> tuple[list[dict[str, Any]], tables.Stored | None, dict[str, Any] | None]:
    learned = database.setting(LEARNED)
    past, last = database.work(lambda db: (tables.summaries(db), tables.get(db, "last")))
    return past, last, None if learned is None else json.loads(learned)
