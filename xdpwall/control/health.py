# SPDX-License-Identifier: Apache-2.0
"""What is wrong right now, in plain words, since when, and what was mended: one board that every check writes to.

A check has a name of :mod:`xdpwall.control.checks.names`; under it stand its troubles, each with a key of its own (an
interface, say). A trouble is the same one as long as its key is, whatever figures its text carries meanwhile.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdpwall.clock import Clock

_FIGURES = re.compile(r"[\d.,]*\d")
_MOST_WAITING = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. ``since_ms``: Unix time, 0 where nobody keeps it."""

    check: str
    text: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Something went wrong (``wrong``), came right again after ``lasted_ms``, or was put right at once (``mended``)."""

    check: str
    text: str
    wrong: bool
    lasted_ms: int = 0
    mended: bool = False


@dataclass(slots=True)
class _Entry:
    text: str
    since_ms: int
    since_ns: int


class Health:
    """Troubles by check, in the order in which they came.

    Args:
        clock: says since when; None: nobody asks.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._entries: dict[str, dict[str, _Entry]] = {}
        self._changes: deque[Change] = deque(maxlen=_MOST_WAITING)
        self.repairs: dict[str, int] = {}
        """How often something was mended since start, by check."""

    def set(self, name: str, text: str) -> None:
        """This is wrong."""
        self.report(name, {"": text})

    def clear(self, name: str) -> None:
        """This is right again."""
        self.report(name, {})

    def put(self, name: str, text: str | None) -> None:
        """:meth:`set`, or :meth:`clear` with None."""
        self.report(name, {} if text is None else {"": text})

    def replace(self, name: str, texts: Iterable[str]) -> list[str]:
        """All that is wrong with this. Gives what is new. Texts that differ only in figures are the same trouble."""
        given = list(texts)
        before = [entry.text for entry in self._entries.get(name, {}).values()]
        self.report(name, {_FIGURES.sub("#", text): text for text in given})
        return [text for text in given if text not in before]

    def report(self, name: str, troubles: Mapping[str, str]) -> None:
        """All that is wrong with this, by key."""
        if not troubles and name not in self._entries:
            return
        held = self._entries.setdefault(name, {})
        for key in [key for key in held if key not in troubles]:
            gone = held.pop(key)
            self._changes.append(Change(check_of(name), gone.text, False, self._ms_since(gone)))
        for key, text in troubles.items():
            known = held.get(key)
            if known is not None:
                known.text = text
                continue
            held[key] = _Entry(text, *self._now())
            self._changes.append(Change(check_of(name), text, True))
        if not held:
            del self._entries[name]

    def mended(self, check: str, text: str, count: int = 1) -> None:
        """Something was wrong and was put right at once."""
        self.repairs[check] = self.repairs.get(check, 0) + count
        self._changes.append(Change(check, text, False, mended=True))

    def changes(self) -> list[Change]:
        """What changed since the last call, oldest first. Each is given once."""
        found = list(self._changes)
        self._changes.clear()
        return found

    @property
    def problems(self) -> list[str]:
        """All texts."""
        return [trouble.text for trouble in self.troubles]

    @property
    def troubles(self) -> list[Trouble]:
        """All of them."""
        return [
            Trouble(check_of(name), entry.text, entry.since_ms)
            for name, held in self._entries.items()
            for entry in held.values()
        ]

    def wrong(self) -> frozenset[str]:
        """Names of the checks that found something."""
        return frozenset(check_of(name) for name in self._entries)

    def _now(self) -> tuple[int, int]:
        return (0, 0) if self._clock is None else (self._clock.wall_ms(), self._clock.mono_ns())

    def _ms_since(self, entry: _Entry) -> int:
        return 0 if self._clock is None else (self._clock.mono_ns() - entry.since_ns) // 1_000_000


def check_of(name: str) -> str:
    """The check that a name on the board belongs to: what follows a space tells several of one check apart."""
    return name.split(" ", 1)[0]
