# SPDX-License-Identifier: Apache-2.0
"""Who asks over the control socket, as far as an op may care: whether it may change anything."""

from __future__ import annotations

from contextvars import ContextVar

_may_write: ContextVar[bool] = ContextVar("may_write", default=True)

READING = frozenset(
    {
        "ping", "status", "overview", "lanes", "sources", "verdicts", "ban.list", "ban.test", "allow.list", "history",
        "rules.list", "observed",
        "incident.list", "incident.show",
    }
)  # fmt: skip
"""Ops that change nothing."""


def may_write() -> bool:
    """Whether the client that is being answered may change anything."""
    return _may_write.get()


def set_may_write(allowed: bool) -> None:
    """Said once by the server for each client, in the client's own task."""
    _may_write.set(allowed)
