# SPDX-License-Identifier: Apache-2.0
"""From the state file and the config to what ought to be: the book of bans and the guard."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from xdpwall.control.book import Book
from xdpwall.control.database import AllowEntry, Changes, Database, Event, Strike
from xdpwall.control.guard import Guard
from xdpwall.control.protection import SETTING, Kept
from xdpwall.errors import AddressError, StoreError
from xdpwall.model import Ban, Prefix

log = logging.getLogger(__name__)

RULES = "rules"
"""The name of the setting that holds :meth:`Rules.text`."""
_NUMBERS = ("ban_time_ms", "forget_ms", "min_prefix_v4", "min_prefix_v6")


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the config that what people ask for depends on.

    Args:
        ban_time_ms: length of a ban given without one. ``forget_ms``: strikes are forgotten after this quiet time.
        min_prefix_v4, min_prefix_v6: shorter prefixes are not banned.
        allow: the config's allowlist.
    """

    ban_time_ms: int | None = 600_000
    forget_ms: int = 86_400_000
    min_prefix_v4: int = 8
    min_prefix_v6: int = 16
    allow: tuple[Prefix, ...] = ()

    def text(self) -> str:
        """For the database: what verbs without a controller go by."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return json.dumps({**numbers, "allow": [str(prefix) for prefix in self.allow]})

    @classmethod
    def parse(cls, text: str) -> Rules:
        """The inverse of :meth:`text`.

        Raises:
            StoreError: it is none.
        """
        try:
            values = json.loads(text)
            numbers = {name: values[name] for name in _NUMBERS}
            return cls(**numbers, allow=tuple(Prefix.parse(prefix) for prefix in values["allow"]))
        except (ValueError, KeyError, TypeError, AddressError) as error:
            raise StoreError(f"the rules in the state database cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Record:
    """What was read: live bans, the guard, the bans that lapsed while nobody looked, and who was logged in.

    ``blank``: there was nothing to read it from (the file is new, or could not be read), so what the kernel holds is
    all that is known.
    """

    book: Book
    guard: Guard
    lapsed: tuple[Ban, ...]
    strikes: tuple[Strike, ...]
    kept: Kept
    blank: bool = False


def read(database: Database | None, rules: Rules, now_ms: int) -> Record:
    """Read the whole record; without a database, what the config says.

    Raises:
        StoreError: the file cannot be read.
    """
    book = Book()
    guard = Guard(rules.min_prefix_v4, rules.min_prefix_v6)
    lapsed: list[Ban] = []
    strikes: tuple[Strike, ...] = ()
    if database is not None:
        for ban in database.bans():
            if ban.is_over(now_ms):
                lapsed.append(ban)
            else:
                book.put(ban)
        for entry in database.allow():
            guard.allow.put(entry.prefix, entry)
        strikes = tuple(database.strikes(now_ms - rules.forget_ms))
    set_config_allow(guard, rules.allow, now_ms)
    blank = database is None or database.fresh
    return Record(book, guard, tuple(lapsed), strikes, _kept(database), blank)


def _kept(database: Database | None) -> Kept:
    text = None if database is None else database.setting(SETTING)
    try:
        return Kept() if text is None else Kept.parse(text)
    except StoreError as error:
        log.warning("%s; who is logged in now is found all the same", error.message)
        return Kept()


def set_config_allow(
    guard: Guard, prefixes: Iterable[Prefix], now_ms: int
) -> tuple[list[Prefix], list[Prefix]]:
    """Make these the config's part of the allowlist. An operator's entry of the same prefix stays the operator's.

    Returns:
        What was added and what was taken off.
    """
    wanted = set(prefixes)
    gone = [p for p, entry in guard.allow.items() if entry.origin == "config" and p not in wanted]
    added = [p for p in wanted if guard.allow.get(p) is None]
    for prefix in gone:
        guard.allow.pop(prefix)
    for prefix in added:
        guard.allow.put(prefix, AllowEntry(prefix, now_ms, origin="config"))
    return added, gone


def ended(bans: Iterable[Ban]) -> Changes:
    """What the database takes when bans lapse: they go, their strikes and a line of history stay."""
    bans = tuple(bans)
    return Changes(
        lifted=tuple(ban.prefix for ban in bans),
        strikes=tuple(Strike(ban.prefix, ban.strikes, ban.expires_ms or 0) for ban in bans),
        events=tuple(
            Event(ban.expires_ms or 0, "expire", ban.prefix, ban.origin.value, ban.reason) for ban in bans
        ),
    )
