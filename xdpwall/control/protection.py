# SPDX-License-Identifier: Apache-2.0
"""Whom this host must not cut off, each with what it is, and since when: the nouns, and the memory of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from xdpwall.errors import AddressError, StoreError
from xdpwall.model import Prefix

if TYPE_CHECKING:
    from xdpwall.config_protect import ProtectConfig

SETTING = "protected"
"""The name of the setting that holds :func:`to_text`, for verbs without a controller and for the next controller."""
_LOOPBACK = (Prefix(b"\x7f\0\0\0", 8), Prefix(bytes(15) + b"\1", 128))
_NOBODY = (
    Prefix(bytes(4), 8),
    Prefix(bytes(16), 128),
    Prefix(b"\xe0\0\0\0", 3),
    Prefix(b"\xff" + bytes(15), 8),
)
_MOST_WORDS = 160


class Kind(StrEnum):
    """What a protected address is. The first that fits names it."""

    OWN = "own"
    GATEWAY = "gateway"
    ROUTER = "router"
    ADMIN = "admin"
    RESOLVER = "resolver"
    TIME = "ntp"
    DHCP = "dhcp"


VOUCHED = frozenset(Kind) - {Kind.OWN}
"""Whose packets beyond a lane's budget pass. Not this host's own addresses: from outside they are forged."""


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of evidence: this address is that, and where it says so.

    ``since_ms``: Unix milliseconds, where the evidence tells.
    """

    prefix: Prefix
    kind: Kind
    why: str
    source: str
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Protected:
    """One protected address.

    Args:
        prefix: a single address.
        kind: what it is. ``why``: the same for people. ``source``: where it was found.
        since_ms: Unix milliseconds. ``until_ms``: when it ends, once nothing speaks for it any more; else None.
    """

    prefix: Prefix
    kind: Kind
    why: str
    source: str
    since_ms: int
    until_ms: int | None = None


def single(text: str) -> Prefix | None:
    """The address in a text, or None for what is none, or none that a packet from outside can have."""
    try:
        prefix = Prefix.parse(text.strip().partition("%")[0])
    except AddressError:
        return None  # a host name, or a display: not ours to resolve
    if prefix.length != len(prefix.packed) * 8 or any(p.contains(prefix) for p in (*_LOOPBACK, *_NOBODY)):
        return None
    return prefix


def merged(found: Iterable[Found], now_ms: int) -> dict[Prefix, Protected]:
    """One entry for each address. Of several pieces of evidence the first kind in :class:`Kind` counts."""
    ranks = list(Kind)
    by_prefix: dict[Prefix, list[Found]] = {}
    for piece in found:
        by_prefix.setdefault(piece.prefix, []).append(piece)
    result = {}
    for prefix, pieces in by_prefix.items():
        pieces.sort(key=lambda piece: ranks.index(piece.kind))
        sinces = [piece.since_ms for piece in pieces if piece.since_ms is not None]
        result[prefix] = Protected(
            prefix,
            pieces[0].kind,
            _joined(piece.why for piece in pieces),
            _joined(piece.source for piece in pieces),
            min(sinces, default=now_ms),
        )
    return result


class Memory:
    """Remembers who was seen, and keeps those from whose address somebody was logged in for a while longer."""

    def __init__(self) -> None:
        self._held: dict[Prefix, Protected] = {}

    def see(self, found: Iterable[Found], now_ms: int, grace_ms: int) -> dict[Prefix, Protected]:
        """Take in one look. Gives all who are protected now.

        Args:
            found: everything that speaks for somebody right now.
            now_ms: Unix milliseconds.
            grace_ms: how long after its last session an address stays.
        """
        fresh = merged(found, now_ms)
        held: dict[Prefix, Protected] = {}
        for prefix, entry in fresh.items():
            before = self._held.get(prefix)
            same = before is not None and before.kind is entry.kind
            held[prefix] = (
                replace(entry, since_ms=min(before.since_ms, entry.since_ms)) if same and before else entry
            )
        for prefix, entry in self._held.items():
            if prefix in fresh or entry.kind is not Kind.ADMIN:
                continue
            until = entry.until_ms if entry.until_ms is not None else now_ms + grace_ms
            until = min(until, now_ms + grace_ms)  # the grace was shortened, or the clock set back
            if until > now_ms:
                held[prefix] = replace(entry, until_ms=until)
        self._held = held
        return dict(held)

    def shift(self, delta_ms: int) -> None:
        """The machine's clock was set."""
        self._held = {
            prefix: replace(
                entry,
                since_ms=entry.since_ms + delta_ms,
                until_ms=None if entry.until_ms is None else entry.until_ms + delta_ms,
            )
            for prefix, entry in self._held.items()
        }

    def recall(self, entries: Iterable[Protected], now_ms: int, grace_ms: int) -> None:
        """At start: who was logged in when the last controller wrote it down gets his grace time."""
        for entry in entries:
            until = entry.until_ms if entry.until_ms is not None else now_ms + grace_ms
            if entry.kind is Kind.ADMIN and until > now_ms:
                self._held[entry.prefix] = replace(entry, until_ms=min(until, now_ms + grace_ms))

    def forget(self, never: Iterable[Prefix]) -> None:
        """Drop those that lie in one of these."""
        barred = tuple(never)
        self._held = {p: e for p, e in self._held.items() if not any(wide.contains(p) for wide in barred)}


def to_text(entries: Mapping[Prefix, Protected], rules: ProtectConfig) -> str:
    """What verbs without a controller go by: those who are logged in, and the rules of the configuration."""
    return json.dumps(
        {
            "admins": rules.admins,
            "services": rules.services,
            "grace_ms": rules.grace_ms,
            "never": [str(prefix) for prefix in rules.never],
            "entries": [
                {
                    "prefix": str(entry.prefix),
                    "why": entry.why,
                    "source": entry.source,
                    "since_ms": entry.since_ms,
                    "until_ms": entry.until_ms,
                }
                for entry in entries.values()
                if entry.kind is Kind.ADMIN
            ],
        }
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """The inverse of :func:`to_text`: who was logged in, and the rules."""

    entries: tuple[Protected, ...] = ()
    admins: bool = True
    services: bool = True
    grace_ms: int = 900_000
    never: tuple[Prefix, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Kept:
        """Read it.

        Raises:
            StoreError: it is none.
        """
        try:
            values = json.loads(text)
            return cls(
                tuple(
                    Protected(
                        Prefix.parse(row["prefix"]),
                        Kind.ADMIN,
                        str(row["why"]),
                        str(row["source"]),
                        int(row["since_ms"]),
                        None if row["until_ms"] is None else int(row["until_ms"]),
                    )
                    for row in values["entries"]
                ),
                bool(values["admins"]),
                bool(values["services"]),
                int(values["grace_ms"]),
                tuple(Prefix.parse(prefix) for prefix in values["never"]),
            )
        except (ValueError, KeyError, TypeError, AddressError) as error:
            raise StoreError(
                f"the protected addresses in the state database cannot be read: {error}"
            ) from None


def _joined(texts: Iterable[str]) -> str:
    """All that is said, each once; not longer than a line."""
    text = "; ".join(dict.fromkeys(texts))
    return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 3] + "..."
