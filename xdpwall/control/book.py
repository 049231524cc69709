# SPDX-License-Identifier: Apache-2.0
"""The ban book: which bans ought to stand. The kernel holds them; the database remembers them; this compares.

Compact: 100,000 bans cost some 20 MB, because each is one packed record. The order of expiry is kept by whole
seconds, so that asking what has lapsed costs nothing when nothing has. Holds no clock: times are passed in, Unix
milliseconds.
"""

from __future__ import annotations

import heapq
import struct
from array import array
from collections.abc import Iterator

from xdpwall.control.prefixmap import PrefixMap
from xdpwall.model import Ban, Origin, Prefix

_RECORD = struct.Struct("<qqHB")  # created, expires (-1: for ever), strikes, origin; then the reason in UTF-8
_ORIGINS = tuple(Origin)
_ORIGIN_NUMBER = {origin: number for number, origin in enumerate(_ORIGINS)}
_FOREVER = -1
_SLACK = 4_096


class Book:
    """All intended bans by prefix."""

    def __init__(self) -> None:
        self._held: PrefixMap[bytes] = PrefixMap()
        self._exact = 0
        # Second of expiry -> what is due in it. A prolonged or lifted ban leaves its old place behind, unseen.
        self._due: dict[int, _Due] = {}
        self._seconds: list[int] = []
        self._queued = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, prefix: Prefix) -> bool:
        return prefix in self._held

    @property
    def exact(self) -> int:
        """How many bans are on one source."""
        return self._exact

    @property
    def wide(self) -> int:
        """How many bans are on a prefix of another length."""
        return len(self._held) - self._exact

    def get(self, prefix: Prefix) -> Ban | None:
        """The ban on exactly this prefix, lapsed or not."""
        record = self._held.get(prefix)
        return None if record is None else _unpack(prefix, record)

    def expires_ms(self, prefix: Prefix) -> int | None:
        """When the ban on exactly this prefix ends; None is for ever.

        Raises:
            KeyError: it is not banned.
        """
        record = self._held.get(prefix)
        if record is None:
            raise KeyError(str(prefix))
        end = int(_RECORD.unpack_from(record)[1])
        return None if end == _FOREVER else end

    def put(self, ban: Ban) -> None:
        """Add, or replace what stands on this prefix."""
        if ban.prefix.is_source and ban.prefix not in self._held:
            self._exact += 1
        self._held.put(ban.prefix, _pack(ban))
        if ban.expires_ms is not None:
            self._queue(ban.prefix, ban.expires_ms)

    def remove(self, prefix: Prefix) -> Ban | None:
        """Take a ban out, and give it."""
        record = self._held.pop(prefix)
        if record is None:
            return None
        self._exact -= prefix.is_source
        return _unpack(prefix, record)

    def clear(self) -> int:
        """Take all out. Gives how many there were."""
        count = len(self._held)
        self._held.clear()
        self._exact = 0
        self._forget_queue()
        return count

    def bans(self) -> Iterator[Ban]:
        """All bans as they are now; the book may change while they are read."""
        return (_unpack(prefix, record) for prefix, record in self._held.items())

    def newest(self, limit: int) -> list[Ban]:
        """The last ``limit`` bans, newest first. One that was prolonged keeps its place."""
        found = [_unpack(prefix, record) for prefix, record in self._held.newest(limit)]
        found.sort(key=lambda ban: ban.created_ms, reverse=True)
        return found[:limit]

    def covering(self, prefix: Prefix, now_ms: int) -> Ban | None:
        """The narrowest live ban that covers the whole of ``prefix``."""
        for found, record in self._held.covering(prefix):
            ban = _unpack(found, record)
            if not ban.is_over(now_ms):
                return ban
        return None

    def inside(self, prefix: Prefix) -> list[Ban]:
        """Every ban that lies in ``prefix``, itself included."""
        return [_unpack(found, record) for found, record in self._held.inside(prefix)]

    def take_lapsed(self, now_ms: int) -> list[Ban]:
        """Take out and give every ban whose time is up."""
        lapsed: list[Ban] = []
        while self._seconds and self._seconds[0] * 1000 <= now_ms:
            second = heapq.heappop(self._seconds)
            due = self._due.pop(second)
            self._queued -= len(due)
            for prefix in due:
                ban = self.get(prefix)
                # It may have been lifted, prolonged, or be due later in this very second.
                if ban is None or ban.expires_ms is None or ban.expires_ms // 1000 != second:
                    continue
                if ban.is_over(now_ms):
                    self.remove(prefix)
                    lapsed.append(ban)
                else:
                    self._queue(prefix, ban.expires_ms)
            if second * 1000 + 1000 > now_ms:
                break
        return lapsed

    def shift(self, delta_ms: int) -> None:
        """Move every end by this much: the machine's clock was set, and a ban lasts as long as was said."""
        for ban in list(self.bans()):
            if ban.expires_ms is not None:
                end = ban.expires_ms + delta_ms
                self._held.put(
                    ban.prefix,
                    _pack(Ban(ban.prefix, ban.created_ms, end, ban.reason, ban.origin, ban.strikes)),
                )
        self._rebuild_queue()

    def _queue(self, prefix: Prefix, expires_ms: int) -> None:
        second = expires_ms // 1000
        due = self._due.get(second)
        if due is None:
            due = self._due[second] = _Due()
            heapq.heappush(self._seconds, second)
        due.add(prefix)
        self._queued += 1
        if self._queued > 2 * len(self._held) + _SLACK:  # prolonged again and again: drop the outdated places
            self._rebuild_queue()

    def _forget_queue(self) -> None:
        self._due.clear()
        self._seconds.clear()
        self._queued = 0

    def _rebuild_queue(self) -> None:
        self._forget_queue()
        for prefix, record in self._held.items():
            end = int(_RECORD.unpack_from(record)[1])
            if end != _FOREVER:
                second = end // 1000
                if second not in self._due:
                    self._due[second] = _Due()
                    self._seconds.append(second)
                self._due[second].add(prefix)
                self._queued += 1
        heapq.heapify(self._seconds)


class _Due:
    """Prefixes that are due in one second, packed: 6 bytes for IPv4, 18 for IPv6."""

    __slots__ = ("_count", "_raw")

    def __init__(self) -> None:
        self._raw = array("B")
        self._count = 0

    def add(self, prefix: Prefix) -> None:
        self._raw.append(len(prefix.packed))
        self._raw.append(prefix.length)
        self._raw.frombytes(prefix.packed)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Prefix]:
        raw = self._raw.tobytes()
        at = 0
        while at < len(raw):
            size = raw[at]
            yield Prefix(raw[at + 2 : at + 2 + size], raw[at + 1])
            at += 2 + size


def _pack(ban: Ban) -> bytes:
    end = _FOREVER if ban.expires_ms is None else ban.expires_ms
    head = _RECORD.pack(ban.created_ms, end, min(ban.strikes, 0xFFFF), _ORIGIN_NUMBER[ban.origin])
    return head + ban.reason.encode("utf-8", "replace")


def _unpack(prefix: Prefix, record: bytes) -> Ban:
    created, end, strikes, origin = _RECORD.unpack_from(record)
    reason = record[_RECORD.size :].decode()
    return Ban(prefix, created, None if end == _FOREVER else end, reason, _ORIGINS[origin], strikes)
