# SPDX-License-Identifier: Apache-2.0
"""Who comes near a limit, and what they send each second of this minute. Pure; fed with what the limiters see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys
from xdpwall.detection.limits import KINDS
from xdpwall.detection.past import BANNED, GUESSED, PROVEN, SECONDS, TENTH, Flags, Rows, no_rows
from xdpwall.detection.rates import Amounts, Rates

_FEWEST = 64
_CROWD = 32_768
"""With more slots on the move, newcomers are looked for in one look of :data:`_SELDOM` only: it costs milliseconds."""
_SELDOM = 5
_UNKNOWN = np.zeros(3)


@dataclass(frozen=True, slots=True)
class Taken:
    """A minute that is over, for another thread to make sense of."""

    keys: Keys
    flags: Flags
    total: npt.NDArray[np.float32]
    tenth: npt.NDArray[np.float32]
    floors: npt.NDArray[np.float64]
    left_out: int

    def rows(self) -> Rows:
        """Who reached a floor in it. Takes some milliseconds for a thousand."""
        seconds = self.total.shape[2]
        if not len(self.keys) or not seconds:
            return no_rows(seconds)
        near = (self.total.max(axis=2) >= self.floors[:, None]).any(axis=0)
        total = self.total[:, near].astype(np.float64)
        tenth = np.minimum(self.tenth[:, near].astype(np.float64), total)
        return Rows(self.keys[near], self.flags[near], total, tenth, self.left_out)


class Near:
    """One scope: the sources, or the prefixes.

    Somebody is followed from the look on in which he sent his floor's worth, and two packets at least: a steady sender
    above the floor shows in his first or second tick. At the end of the minute those stay who reached the floor in a
    whole second.

    Args:
        most: how many are followed at most. Of more, those that send most (measured by the floors) stay.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._floors = np.ones(len(KINDS))
        self._looks = 0
        self._mixes: dict[int, npt.NDArray[np.float64]] = {}
        self._clear()

    def begin(self, floors: tuple[float, ...]) -> None:
        """A minute begins. ``floors``: per second, in the order of ``KINDS``."""
        self._floors = np.array(floors, np.float64)
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._left_out = 0
        self._bar = 1.0
        self._keys = np.zeros(_FEWEST, np.uint64)
        self._flags: Flags = np.zeros(_FEWEST, np.uint8)
        self._worth = np.zeros(_FEWEST)
        self._total = np.zeros((len(KINDS), _FEWEST, SECONDS), np.float32)
        self._tenth = np.zeros((len(KINDS), _FEWEST, SECONDS), np.float32)
        self._sorted()

    @property
    def keys(self) -> Keys:
        """Who is followed now, ascending."""
        return self._ascending

    def look(self, rates: Rates, second: int) -> None:
        """Take in one look at the meters.

        Args:
            rates: of this scope's meters.
            second: of the minute in which the look ended. One over several seconds is spread over those before it.
        """
        seconds = rates.dt_ns / 1e9
        if seconds <= 0:
            return
        self._looks += 1
        if (rates.slots <= _CROWD and self._count < self._most) or self._looks % _SELDOM == 0:
            self._look_for_new(rates, max(seconds, TENTH))
        if not self._count:
            return
        sent = rates.of(self._ascending, KINDS)
        first = max(0, second - max(1, round(seconds)) + 1)
        share = sent / (second - first + 1)
        tenth = sent * min(1.0, TENTH / seconds)
        places = self._order
        self._total[:, places, first : second + 1] += share[:, :, None]
        peaks = self._tenth[:, places, first : second + 1]
        self._tenth[:, places, first : second + 1] = np.maximum(peaks, tenth[:, :, None])
        self._worth[places] = np.maximum(self._worth[places], (share / self._floors[:, None]).max(axis=0))

    def knock(self, keys: Keys, sent: Amounts, first: int, shares: npt.NDArray[np.float64]) -> None:
        """Take in what standing bans dropped.

        Args:
            keys: whose, unique, ascending.
            sent: packets and bits of each, shape ``(2, n)``.
            first: second of the minute in which that began.
            shares: how much of it came in that second and in each after it; they add up to 1.
        """
        rates = np.zeros((len(KINDS), len(keys)))
        rates[:2] = sent
        mixes = [self._mixes.get(key) for key in keys.tolist()]
        for place, mix in enumerate(mixes):
            rates[2:, place] = sent[0, place] * (_UNKNOWN if mix is None else mix)
        worth = (rates * shares.max() / self._floors[:, None]).max(axis=0)
        self._admit(keys[worth >= 1], worth[worth >= 1])
        known = np.isin(keys, self._ascending)
        places = self._order[self._ascending.searchsorted(keys[known])]
        spread = rates[:, known, None] * shares
        self._total[:, places, first : first + len(shares)] += spread
        self._tenth[:, places, first : first + len(shares)] += spread * TENTH
        self._flags[places] |= BANNED
        guessed = np.array([mix is None for mix in mixes], np.bool_)
        self._flags[places] |= np.where(guessed[known], GUESSED, 0).astype(np.uint8)

    def prove(self, proven: npt.NDArray[np.bool_]) -> None:
        """Say which of :attr:`keys` have completed a handshake."""
        self._flags[self._order[proven]] |= PROVEN

    def take(self, seconds: int) -> Taken:
        """The minute is over after so many seconds. What is next needs :meth:`begin`."""
        count = self._count
        self._mixes.clear()
        if count and seconds:
            self._mix_now()
        taken = Taken(
            self._keys[:count],
            self._flags[:count],
            self._total[:, :count, :seconds],
            self._tenth[:, :count, :seconds],
            self._floors,
            self._left_out,
        )
        self._clear()  # with tables of its own
        return taken

    def _mix_now(self) -> None:
        sums = self._total[:, : self._count].sum(axis=2)
        for place in np.flatnonzero(sums[0] > 0).tolist():
            self._mixes.setdefault(int(self._keys[place]), sums[2:, place] / sums[0, place])

    def learn_mixes(self) -> None:
        """Before :meth:`knock`: remember the kinds of those who were followed before they were banned."""
        if self._count:
            self._mix_now()

    def _look_for_new(self, rates: Rates, seconds: float) -> None:
        least = self._floors * (seconds * self._bar)
        np.maximum(least, 2, out=least)
        found = [rates.keys_with(kind, enough) for kind, enough in zip(KINDS, least.tolist(), strict=True)]
        keys = np.setdiff1d(np.concatenate(found), self._ascending)
        if len(keys):
            sent = rates.of(keys, KINDS)
            near = (sent >= least[:, None]).any(axis=0)
            self._admit(keys[near], (sent[:, near] / seconds / self._floors[:, None]).max(axis=0))

    def _admit(self, keys: Keys, worth: npt.NDArray[np.float64]) -> None:
        """Follow these, too."""
        fresh = ~np.isin(keys, self._ascending)
        keys, worth = keys[fresh], worth[fresh]
        surplus = self._count + len(keys) - self._most
        if surplus > 0:
            self._left_out += surplus
            everyone = np.concatenate([self._worth[: self._count], worth])
            stay = np.ones(len(everyone), np.bool_)
            stay[np.argpartition(everyone, surplus - 1)[:surplus]] = False
            # Who sends no more than the least of those who stay need not be looked at again.
            self._bar = max(self._bar, 1.01 * float(everyone[stay].min()))
            self._keep(np.flatnonzero(stay[: self._count]))
            keys, worth = keys[stay[len(stay) - len(keys) :]], worth[stay[len(stay) - len(worth) :]]
        if not len(keys):
            return
        self._grow(self._count + len(keys))
        places = slice(self._count, self._count + len(keys))
        self._keys[places], self._worth[places] = keys, worth
        self._flags[places] = 0
        self._total[:, places] = 0
        self._tenth[:, places] = 0
        self._count += len(keys)
        self._sorted()

    def _keep(self, places: npt.NDArray[np.intp]) -> None:
        if len(places) == self._count:
            return
        for table in (self._keys, self._flags, self._worth):
            table[: len(places)] = table[places]
        for cube in (self._total, self._tenth):
            cube[:, : len(places)] = cube[:, places]
        self._count = len(places)
        self._sorted()

    def _grow(self, wanted: int) -> None:
        room = len(self._keys)
        if wanted <= room:
            return
        more = max(wanted, 2 * room) - room
        self._keys = np.append(self._keys, np.zeros(more, np.uint64))
        self._flags = np.append(self._flags, np.zeros(more, np.uint8))
        self._worth = np.append(self._worth, np.zeros(more))
        self._total, self._tenth = (
            np.concatenate([cube, np.zeros((len(KINDS), more, SECONDS), np.float32)], axis=1)
            for cube in (self._total, self._tenth)
        )

    def _sorted(self) -> None:
        self._order = np.argsort(self._keys[: self._count])
        self._ascending: Keys = self._keys[self._order]
