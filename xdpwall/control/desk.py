# SPDX-License-Identifier: Apache-2.0
"""What people ask for: ban, lift, allow. The same work with a controller and without one.

Each method acts on the kernel first and then on the book, and gives the result for the asker with the changes that the
database must still take. The kernel comes first because that is what protects; a database that cannot be written is a
warning, not a reason to leave an attacker in.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.database import AllowEntry, Changes, Event
from xdpwall.control.guard import Guard
from xdpwall.control.results import (
    AllowAddResult,
    AllowDelResult,
    BanAddResult,
    BanDelResult,
    BanFlushResult,
    BanTestResult,
    RefusedResult,
)
from xdpwall.control.views import ban_result
from xdpwall.dataplane.interface import Dataplane
from xdpwall.errors import DataplaneError, KernelError, XdpwallError
from xdpwall.model import Ban, Origin, Prefix, format_duration_ms

NO_WALL = "no wall is loaded: this is on record and takes effect with the next `xdpwall load`"
_OPERATOR = Origin.OPERATOR.value


@dataclass
class Desk:
    """The intended state of one wall, and the wall.

    Args:
        wall: the loaded wall, or None while there is none: then only the record changes.
        book: intended bans. ``guard``: what must not be banned.
        clock: Unix time.
        ban_time_ms: length of a ban given without one; None is for ever.
    """

    wall: Dataplane | None
    book: Book
    guard: Guard
    clock: Clock
    ban_time_ms: int | None

    def ban_add(
        self, items: Iterable[Mapping[str, Any]], *, defaults: Mapping[str, Any]
    ) -> tuple[BanAddResult, Changes]:
        """Ban each of these. One that stands gets the new time, be it shorter: an operator's word counts.

        Args:
            items: each with ``prefix`` as text, and maybe ``reason`` and ``for_ms``.
            defaults: ``reason`` and maybe ``for_ms`` of items that have none.
        """
        now = self.clock.wall_ms()
        result = BanAddResult(added=0, updated=0, refused=[], warnings=[])
        wanted: dict[Prefix, Ban] = {}
        standing: set[Prefix] = set()
        for item in items:
            for_ms = self.ban_time_ms
            for given in (defaults, item):
                if "for_ms" in given:
                    for_ms = given["for_ms"]
            reason = item.get("reason", defaults.get("reason", ""))
            try:
                prefix = Prefix.parse_source(item["prefix"])
                self.guard.check(prefix)
            except XdpwallError as error:
                result["refused"].append(_refused(item["prefix"], error))
                continue
            before, strikes = self.book.get(prefix), 1
            if before is not None:
                strikes = before.strikes
                if not before.is_over(now):
                    standing.add(prefix)
            wanted[prefix] = Ban(
                prefix, now, None if for_ms is None else now + for_ms, reason, Origin.OPERATOR, strikes
            )
        faults = write_bans(self.wall, wanted.values(), now)
        for prefix, fault in faults.items():
            result["refused"].append(_refused(str(prefix), _full_or_not(prefix, fault)))
            del wanted[prefix]
        events = []
        for prefix, ban in wanted.items():
            result["updated" if prefix in standing else "added"] += 1
            self.book.put(ban)
            events.append(Event(now, "ban", prefix, _OPERATOR, describe(ban)))
        self._warn(result["warnings"])
        return result, Changes(bans=tuple(wanted.values()), events=tuple(events))

    def ban_del(self, texts: Iterable[str]) -> tuple[BanDelResult, Changes]:
        """Lift the ban on exactly each of these.

        Raises:
            AddressError: one of them is no prefix; then nothing is done.
        """
        prefixes = list(dict.fromkeys(Prefix.parse_source(text) for text in texts))
        now = self.clock.wall_ms()
        result = BanDelResult(removed=0, missing=[], covered_by={}, warnings=[])
        lifted = []
        for prefix in prefixes:
            in_kernel = self.wall is not None and self.wall.bans.remove(prefix)
            on_record = self.book.remove(prefix)
            live = on_record is not None and not on_record.is_over(now)
            if in_kernel or live:
                lifted.append(prefix)
            else:
                result["missing"].append(str(prefix))
            wider = self.book.covering(prefix, now)
            if wider is not None:
                result["covered_by"][str(prefix)] = str(wider.prefix)
        result["removed"] = len(lifted)
        self._warn(result["warnings"])
        events = tuple(Event(now, "unban", prefix, _OPERATOR) for prefix in lifted)
        return result, Changes(lifted=tuple(prefixes), forgiven=tuple(lifted), events=events)

    def ban_flush(self) -> tuple[BanFlushResult, Changes]:
        """Lift every ban, also those in the kernel that are not on record."""
        now = self.clock.wall_ms()
        removed = self.book.clear()
        if self.wall is not None:
            removed = max(removed, self.wall.bans.clear())
        result = BanFlushResult(removed=removed, warnings=[])
        self._warn(result["warnings"])
        event = Event(now, "flush", None, _OPERATOR, f"{removed} bans lifted")
        return result, Changes(clear=True, events=(event,))

    def ban_test(self, text: str) -> BanTestResult:
        """Whether this address or prefix is banned as a whole, and by which ban.

        Raises:
            AddressError: it is no prefix.
        """
        now = self.clock.wall_ms()
        prefix = Prefix.parse(text)
        ban = self.book.covering(prefix, now)
        allowed = self.guard.allowed_by(prefix)
        kernel = self.wall.bans.get(ban.prefix) if self.wall is not None and ban is not None else None
        return BanTestResult(
            prefix=str(prefix),
            banned=ban is not None and allowed is None,
            ban=None if ban is None else ban_result(ban, now, kernel),
            allowed_by=None if allowed is None else str(allowed.prefix),
        )

    def allow_add(self, texts: Iterable[str], reason: str) -> tuple[AllowAddResult, Changes]:
        """Put these on the allowlist, and lift the bans that lie inside. A wider ban stands: allow wins over it.

        Raises:
            AddressError: one of them is no prefix; then nothing is done.
        """
        prefixes = list(dict.fromkeys(Prefix.parse(text) for text in texts))
        now = self.clock.wall_ms()
        result = AllowAddResult(added=0, existing=0, lifted=[], refused=[], warnings=[])
        entries: list[AllowEntry] = []
        lifted: list[Prefix] = []
        for prefix in prefixes:
            if self.guard.allow.get(prefix) is not None:
                result["existing"] += 1
                continue
            try:
                if self.wall is not None:
                    self.wall.allow.put(prefix)
            except DataplaneError as error:
                result["refused"].append(_refused(str(prefix), _allow_full_or_not(prefix, error)))
                continue
            entry = AllowEntry(prefix, now, reason)
            self.guard.allow.put(prefix, entry)
            entries.append(entry)
            lifted += [ban.prefix for ban in self.book.inside(prefix)]
        if self.wall is not None:
            self.wall.bans.remove_many(lifted)
        for prefix in lifted:
            self.book.remove(prefix)
        result["added"] = len(entries)
        result["lifted"] = [str(prefix) for prefix in lifted]
        self._warn(result["warnings"])
        events = [Event(now, "allow", entry.prefix, _OPERATOR, reason) for entry in entries]
        events += [Event(now, "unban", prefix, _OPERATOR, "allowlisted") for prefix in lifted]
        return result, Changes(
            lifted=tuple(lifted), allowed=tuple(entries), forgiven=tuple(lifted), events=tuple(events)
        )

    def allow_del(self, texts: Iterable[str]) -> tuple[AllowDelResult, Changes]:
        """Take these off the allowlist. Entries of the config file stay: only an edit of the file removes them.

        Raises:
            AddressError: one of them is no prefix; then nothing is done.
        """
        prefixes = list(dict.fromkeys(Prefix.parse(text) for text in texts))
        now = self.clock.wall_ms()
        result = AllowDelResult(removed=0, missing=[], refused=[], warnings=[])
        gone: list[Prefix] = []
        for prefix in prefixes:
            entry = self.guard.allow.get(prefix)
            if entry is not None and entry.origin == "config":
                result["refused"].append(
                    RefusedResult(
                        prefix=str(prefix),
                        message=f"{prefix} is allowed by the configuration",
                        hint="take it out of [allow] there, then reload",
                    )
                )
                continue
            in_kernel = self.wall is not None and self.wall.allow.remove(prefix)
            if self.guard.allow.pop(prefix) is not None or in_kernel:
                gone.append(prefix)
            else:
                result["missing"].append(str(prefix))
        result["removed"] = len(gone)
        self._warn(result["warnings"])
        events = tuple(Event(now, "disallow", prefix, _OPERATOR) for prefix in gone)
        return result, Changes(disallowed=tuple(gone), events=events)

    def _warn(self, warnings: list[str]) -> None:
        if self.wall is None:
            warnings.append(NO_WALL)


def write_bans(wall: Dataplane | None, bans: Iterable[Ban], now_ms: int) -> dict[Prefix, DataplaneError]:
    """Put bans into the kernel. Gives those that it did not take, each with its error.

    Once the kernel refuses many in a row, the rest is given back with the same error, untried.
    """
    rows = [(ban.prefix, ban.remaining_ms(now_ms)) for ban in bans]
    if wall is None or not rows:
        return {}
    try:
        if wall.bans.put_many(rows) == len(rows):
            return {}
    except DataplaneError:
        pass  # some of them are in now; which ones, the next loop finds out
    faults: dict[Prefix, DataplaneError] = {}
    in_a_row = 0
    for number, (prefix, remaining_ms) in enumerate(rows):
        try:
            wall.bans.put(prefix, remaining_ms)
            in_a_row = 0
        except DataplaneError as error:
            faults[prefix] = error
            in_a_row += 1
            if in_a_row == 64:
                faults.update(_left_out(wall, rows[number + 1 :], error))
                break
    return faults


def _left_out(
    wall: Dataplane, rows: list[tuple[Prefix, int | None]], error: DataplaneError
) -> dict[Prefix, DataplaneError]:
    """Of those that are not tried any more: which ones stand for all that, since the bulk got as far as them."""
    faults: dict[Prefix, DataplaneError] = {}
    for prefix, remaining_ms in rows:
        if wall.bans.get(prefix) is None:
            faults[prefix] = error
        else:
            wall.bans.put(prefix, remaining_ms)  # takes no room
    return faults


def _full_or_not(prefix: Prefix, error: DataplaneError) -> DataplaneError:
    """The error of a ban that the kernel did not take, in words for people when its table is full."""
    if not _is_full(error):
        return error
    kind, key = ("single sources", "capacity") if prefix.is_source else ("prefixes", "prefix_capacity")
    return DataplaneError(
        f"{prefix} is not banned: the kernel's table of bans of {kind} is full",
        hint=f"ban wider prefixes, or raise bans.{key}, then unload and load; bans that lapse make room",
    )


def _allow_full_or_not(prefix: Prefix, error: DataplaneError) -> DataplaneError:
    if not _is_full(error):
        return error
    return DataplaneError(
        f"{prefix} is not allowed: the allowlist is full", hint="allow wider prefixes instead"
    )


def _is_full(error: DataplaneError) -> bool:
    return isinstance(error, KernelError) and error.errno in (errno.E2BIG, errno.ENOSPC)


def describe(ban: Ban) -> str:
    """A ban in a few words, for history and log: reason and length."""
    words = _length(None if ban.expires_ms is None else ban.expires_ms - ban.created_ms)
    return f"{ban.reason}, {words}" if ban.reason else words


@functools.lru_cache(maxsize=64)  # of a list of 100,000 bans nearly all have the same length
def _length(milliseconds: int | None) -> str:
    return "for ever" if milliseconds is None else f"for {format_duration_ms(milliseconds)}"


def _refused(text: str, error: XdpwallError) -> RefusedResult:
    return RefusedResult(prefix=text, message=error.message, hint=error.hint)
