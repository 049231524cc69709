# SPDX-License-Identifier: Apache-2.0
"""Many banned sources of one /24 or /48 become one ban."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdpwall.detection.keys import Keys, Mask, find, prefix_keys, prefix_of
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.model import Prefix


@dataclass(frozen=True, slots=True)
class Collapse:
    """One prefix to ban as a whole. ``sources`` are the keys of the banned sources that it covers."""

    prefix: Prefix
    sources: Keys

    @property
    def text(self) -> str:
        """A ban's reason."""
        return self.words(len(self.sources))

    @staticmethod
    def words(count: int) -> str:
        """The reason of a ban for so many, for example ``40 banned sources within``."""
        return f"{count} banned sources within"


@dataclass(frozen=True, slots=True)
class CollapsePlan:
    """What to ban as a whole, the fullest prefix first, and what was spared though it is full enough.

    ``held_back`` have an allowlisted or protected address in them.
    """

    collapses: list[Collapse]
    held_back: list[Collapse]


def collapse(
    banned: Keys,
    threshold: int,
    *,
    standing: PrefixSet,
    spared: PrefixSet,
    only: Keys | None = None,
) -> CollapsePlan:
    """Find the /24 and /48 with at least ``threshold`` banned sources.

    Args:
        banned: keys of exact bans of sources, unique.
        threshold: how many make a prefix; 0 is off.
        standing: bans that stand: a prefix that one of them covers is left out.
        spared: what is never banned.
        only: keys of sources banned since the last call: then only their prefixes are looked at. Without it the same
            prefixes are held back in every call.
    """
    plan = CollapsePlan([], [])
    if threshold <= 0 or len(banned) < threshold or (only is not None and not len(only)):
        return plan
    above = prefix_keys(banned)
    if only is not None:
        touched = find(np.unique(prefix_keys(only)), above)[1]
        banned, above = banned[touched], above[touched]
    order = np.argsort(above, kind="stable")
    prefixes, starts, counts = np.unique(above[order], return_index=True, return_counts=True)
    full: Mask = counts >= threshold
    full[full] &= ~standing.covers_prefixes(prefixes[full])
    ranked = np.flatnonzero(full)
    ranked = ranked[np.argsort(-counts[ranked], kind="stable")]
    for place in ranked.tolist():
        prefix = prefix_of(int(prefixes[place]))
        members = order[starts[place] : starts[place] + counts[place]]
        found = Collapse(prefix, np.sort(banned[members]))
        (plan.held_back if spared.overlaps(prefix) else plan.collapses).append(found)
    return plan
