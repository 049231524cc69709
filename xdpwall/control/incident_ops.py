# SPDX-License-Identifier: Apache-2.0
"""Answers about incidents, from the database: with a controller and without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from xdpwall.control import incident_tables as tables
from xdpwall.control.database import Database
from xdpwall.control.store import Store
from xdpwall.errors import NotFoundError

OPS = frozenset({"incident.list", "incident.show"})


def answer(database: Database, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one of :data:`OPS`.

    ``incident.list``: ``{"incidents": [...]}``, newest first, see ``incident_tables.summary``. ``incident.show``:
    ``{"incident": {...}}``, the record (``incident.model.Incident``).

    Raises:
        NotFoundError: there is no such incident.
        StoreError: the database cannot be read.
    """
    if op == "incident.list":
        limit, since_ms = args["limit"], args["since_ms"]
        return {"incidents": database.work(lambda db: tables.summaries(db, limit, since_ms))}
    name = args["id"]
    found = database.work(lambda db: tables.get(db, name))
    if found is None:
        raise NotFoundError(
            "no incident is on record" if name == "last" else f"there is no incident {name!r}",
            hint="`xdpwall incident list` shows those on record",
        )
    return {"incident": found.record}


class IncidentOps:
    """The ops of a running controller.

    Args:
        store: asks the database in its thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]]:
        """Each op by its name."""
        return {op: self._bound(op) for op in OPS}

    def _bound(self, op: str) -> Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]:
        async def carry_out(args: dict[str, Any]) -> Mapping[str, Any]:
            import asyncio  # noqa: PLC0415  (verbs without a controller need none)

            return await asyncio.wrap_future(self._store.read(lambda database: answer(database, op, args)))

        return carry_out
