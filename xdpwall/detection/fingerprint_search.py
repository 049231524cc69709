# SPDX-License-Identifier: Apache-2.0
"""Finds what an attack's packets have in common and good traffic does not. Pure: samples in, rules out.

How: each value that a good part of the attack shares is a seed. The packets that have it are described as narrowly as
they can be: by every field that is the same in nearly all of them, and the range of those that nearly are. The
narrowest description costs no cover and risks least. (In frequent item set mining that is the closed set of the seed;
Pasquier and others, "Discovering frequent closed itemsets for association rules", 1999.) A description that still hits
too much good traffic is tried again together with a second seed. Of what may be installed, the one that covers most is
taken; then the same again for what is left of the attack.

When is it safe? A rule's share of good traffic is estimated from two sources: known-good packets of the same lane, and
a rough guess of how usual its fields are anywhere (:mod:`xdpwall.detection.fingerprint_prior`), which counts as much as
:data:`PRIOR_WEIGHT` good packets would. So with none the fields themselves must be out of the ordinary, and with many
the evidence decides; but a rule made of nothing but ordinary fields is refused whatever the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.fingerprint_fields import BY_NAME, RANGED, Matrix, Rows, Span, Terms, columns
from xdpwall.detection.fingerprint_prior import bits, usual
from xdpwall.lanes import Lane

PRIOR_WEIGHT = 20
LEAST_BOUND = 1e-4
"""A limit of 0 on collateral can never be proven; this is what counts as kept then."""
ORDINARY = 1 / 8
"""A rule whose fields are together more usual than this describes traffic, not an attack."""
ORDINARY_SYN = 1 / 100
"""Of connection requests: without a rule a real one over budget still gets a SYN cookie, with it nothing."""
_SAME = 0.985
_JOINT = 0.98
_RANGE_SHARE = 0.995
_RANGE_BITS = 1.0
_HIGHEST = {column: 0xFF if member == "ttl" else 0xFFFF for column, member in RANGED.items()}
_SEEDS_A_COLUMN = 4
_SEEDS, _SECOND_SEEDS = 64, 8
_RETRIES = 4

Sources = npt.NDArray[np.uint64]
"""Something that differs between sources, one for each packet."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rule must keep to.

    Args:
        collateral: the share of good packets that it may hit.
        support: how many of the attack's samples it must match.
        cover: the share of them that it must match.
        sources: how many different sources these must come from: few sources are banned, not described.
        most: how many rules at a time.
    """

    collateral: float = 0.001
    support: int = 48
    cover: float = 0.15
    sources: int = 8
    most: int = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that may be installed.

    Args:
        terms: what it compares.
        cover: the share of the attack's samples that match, of all that were looked at.
        support: how many they are.
        hits: how many known-good packets match. ``good``: of how many.
        estimate: the estimated share of good traffic that it hits.
    """

    terms: Terms
    cover: float
    support: int
    hits: int
    good: int
    estimate: float

    @property
    def collateral(self) -> float:
        """The measured share of known-good packets that match; 0 when none are known."""
        return self.hits / self.good if self.good else 0.0


def search(attack: Matrix, sources: Sources, good: Matrix, lane: Lane, bounds: Bounds) -> list[Finding]:
    """Rules for one lane, the one that covers most first. Empty when nothing is both common and safe.

    Args:
        attack: packets over budget that were dropped. Some of them may be good: a rule describes only what many share.
        sources: of these packets, in the same order.
        good: known-good packets of the lane.
        lane: of all of them.
        bounds: what a rule must keep to.
    """
    found: list[Finding] = []
    left = np.ones(len(attack), np.bool_)
    least = max(bounds.support, round(bounds.cover * len(attack)))
    while len(found) < bounds.most and int(left.sum()) >= least:
        hunt = _Hunt(attack[left], sources[left], good, lane, bounds, least)
        best = hunt.best()
        if best is None:
            break
        rows = best.terms.match(attack)
        support = int(rows.sum())
        found.append(Finding(best.terms, support / len(attack), support, best.hits, len(good), best.estimate))
        left &= ~rows
    return found


@dataclass(frozen=True, slots=True)
class _Candidate:
    terms: Terms
    support: int
    hits: int
    estimate: float
    safe: bool


class _Hunt:
    """One search among the attack's packets that no rule describes yet."""

    def __init__(
        self, attack: Matrix, sources: Sources, good: Matrix, lane: Lane, bounds: Bounds, least: int
    ) -> None:
        self._attack = attack
        self._sources = sources
        self._good = good
        self._lane = lane
        self._bounds = bounds
        self._least = least
        self._columns = columns(lane)
        self._tried: set[bytes] = set()

    def best(self) -> _Candidate | None:
        """The safe candidate that covers most."""
        everything = np.ones(len(self._attack), np.bool_)
        seeds = self._seeds(everything)[:_SEEDS]
        candidates = [self._describe(everything), *(self._describe(rows) for rows in seeds)]
        tried = [candidate for candidate in candidates if candidate is not None]
        chosen = _widest(tried)
        if chosen is not None:
            return chosen
        # None is safe alone: two seeds together, beginning with what comes nearest.
        near = sorted(
            (candidate for candidate in tried if candidate.support), key=lambda candidate: candidate.estimate
        )
        second: list[_Candidate | None] = []
        for candidate in near[:_RETRIES]:
            rows = candidate.terms.match(self._attack)
            second += [self._describe(rows & more) for more in self._seeds(rows)[:_SECOND_SEEDS]]
        return _widest(candidate for candidate in second if candidate is not None)

    def _seeds(self, within: Rows) -> list[Rows]:
        """Packets that share a value which enough of them have and not all, most first."""
        table, total = self._attack[within], int(within.sum())
        seeds: list[tuple[int, Rows]] = []
        for column in self._columns:
            values, counts = np.unique(table[:, column], return_counts=True)
            for at in np.argsort(-counts, kind="stable")[:_SEEDS_A_COLUMN]:
                if self._least <= counts[at] < total:
                    seeds.append((int(counts[at]), within & (self._attack[:, column] == values[at])))
        seeds.sort(key=lambda seed: -seed[0])
        return [rows for _, rows in seeds]

    def _describe(self, rows: Rows) -> _Candidate | None:
        """The narrowest description of these packets, held against the good ones. None: too few, or seen already."""
        if int(rows.sum()) < self._least:
            return None
        key = np.packbits(rows).tobytes()
        if key in self._tried:
            return None
        self._tried.add(key)
        values = self._constants(self._attack[rows])
        narrow = rows & Terms(values, {}).match(self._attack)
        terms = Terms(values, self._ranges(self._attack[narrow], values))
        matched = terms.match(self._attack)
        support = int(matched.sum())
        if support < self._least:
            return None
        if len(np.unique(self._sources[matched])) < self._bounds.sources:
            return None
        hits = int(terms.match(self._good).sum())
        guess = usual(terms, self._lane)
        estimate = (hits + PRIOR_WEIGHT * guess) / (len(self._good) + PRIOR_WEIGHT)
        return _Candidate(terms, support, hits, estimate, self._is_safe(guess, hits, estimate))

    def _constants(self, table: Matrix) -> dict[int, int]:
        """Fields with one value in nearly all packets; those that tell most first, while nearly all keep matching."""
        # A value that more than half have is the median.
        half = len(table) // 2
        middle = np.partition(np.ascontiguousarray(table.T), half, axis=1)[:, half]
        shares = (table == middle).mean(axis=0)
        fixed = [column for column in self._columns if shares[column] >= _SAME]
        fixed.sort(key=lambda column: -bits(column, int(middle[column]), self._lane))
        values: dict[int, int] = {}
        matched = np.ones(len(table), np.bool_)
        for column in fixed:
            narrower = matched & (table[:, column] == middle[column])
            if narrower.sum() >= _JOINT * len(table):
                values[column] = int(middle[column])
                matched = narrower
        return values

    def _ranges(self, table: Matrix, values: dict[int, int]) -> dict[int, Span]:
        """Ranges of what is not the same, where they say anything."""
        spans: dict[int, Span] = {}
        for column in RANGED:
            if column in values or column not in self._columns or not len(table):
                continue
            if column == BY_NAME["source_port"] and self._lane is Lane.ICMP:
                continue  # type and code: no order among them
            ordered = np.sort(table[:, column])
            cut = int((1 - _RANGE_SHARE) / 2 * len(ordered))
            low, high = int(ordered[cut]), int(ordered[len(ordered) - 1 - cut])
            # What was seen ends within what there is: by so much on average, twice over.
            margin = max(1, -(-2 * (high - low) // len(ordered)))
            span = (max(0, low - margin), min(_HIGHEST[column], high + margin))
            if usual(Terms({}, {column: span}), self._lane) <= 2**-_RANGE_BITS:
                spans[column] = span
        return spans

    def _is_safe(self, guess: float, hits: int, estimate: float) -> bool:
        bound = max(self._bounds.collateral, LEAST_BOUND)
        ordinary = ORDINARY_SYN if self._lane is Lane.SYN else ORDINARY
        if guess > ordinary or estimate > bound:
            return False
        return hits <= self._bounds.collateral * len(self._good)


def _widest(candidates: Iterable[_Candidate]) -> _Candidate | None:
    """The safe one with most support; of two that differ by less than a fiftieth the safer one."""
    safe = [candidate for candidate in candidates if candidate.safe]
    if not safe:
        return None
    most = max(candidate.support for candidate in safe)
    near: Sequence[_Candidate] = [candidate for candidate in safe if candidate.support >= 0.98 * most]
    return min(near, key=lambda candidate: (candidate.estimate, -candidate.support))
