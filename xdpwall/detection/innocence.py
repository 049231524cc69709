# SPDX-License-Identifier: Apache-2.0
"""Whether a source that this host talks to may be banned for what seems to come from it.

Anybody can send packets in another's name. So a source with a completed handshake or an open flow ("known") is not
banned for UDP, ICMP, connection requests or TCP of no flow, however much of it comes: that may be forged, to have it
banned. What is over its limits and over the budgets is dropped all the same, and its own flows go on.

It is banned for what it alone can have sent: packets that its own connections took. Behind one address with many
connections there may be many people (CGNAT), whose TCP slows down once their excess is dropped: such a source gets
time for that first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from xdpwall.detection.finding import Finding
from xdpwall.detection.keys import Keys, Mask, no_keys, prefix_keys
from xdpwall.detection.limits import Kind
from xdpwall.detection.rates import Rates

OWN_SHARE = 0.9
"""Of what passed of a source, this much must have been taken by its own connections for it to be its own doing."""
MANY_FLOWS = 8
PATIENCE_NS = 10_000_000_000
"""How long the excess of a source with many connections is dropped before it can be banned ..."""
STUBBORN = 2.0
"""... and so many times its limit it must send then still: TCP that slows down does not."""
_LEAST_PACKETS = 50
_MOST_HELD = 65_536
_VOLUME = frozenset({Kind.PPS, Kind.BPS})


@dataclass(frozen=True, slots=True)
class Own:
    """What a source's own connections took since the look before. ``connections``: how many are open."""

    packets: int
    connections: int


@dataclass(slots=True)
class Held:
    """A finding that no ban came of.

    ``known_ns``: when the source was last seen to be known. The counts are since the last review: what came in its
    name, and what of it was dropped.
    """

    finding: Finding
    since_ns: int
    known_ns: int
    packets: int = 0
    drops: int = 0
    kind_sum: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Review:
    """What became of findings that were held back: guilty ones, and those that are not known any more.

    ``too_many``: guilty as well, but there was no room; they stay held back.
    """

    guilty: list[Finding] = field(default_factory=list)
    unknown: list[Finding] = field(default_factory=list)
    too_many: list[Finding] = field(default_factory=list)


class Innocence:
    """Remembers who was not banned because he is known.

    Args:
        lapse_ns: one that was not seen to be known for this long is a stranger.
    """

    def __init__(self, lapse_ns: int = 300_000_000_000) -> None:
        self.lapse_ns = lapse_ns
        self.spared = 0
        """How many findings were held back since start."""
        self._held: dict[int, Held] = {}
        self._watched: Keys = no_keys()

    def screen(
        self, findings: list[Finding], known: Callable[[Keys], Mask], now_ns: int
    ) -> tuple[list[Finding], list[Finding]]:
        """Hold back findings on known sources.

        Args:
            findings: on single sources.
            known: which source keys are known.
            now_ns: monotonic time.

        Returns:
            Those that may be acted on, and those held back now.
        """
        if not findings:
            return [], []
        mask = known(np.array([finding.key for finding in findings], np.uint64)).tolist()
        free: list[Finding] = []
        held: list[Finding] = []
        for finding, is_known in zip(findings, mask, strict=True):
            if not is_known:
                free.append(finding)
                continue
            held.append(finding)
            if len(self._held) < _MOST_HELD:
                self._held.setdefault(finding.key, Held(finding, now_ns, now_ns))
        self.spared += len(held)
        return free, held

    def suspects(self, limit: int) -> list[Finding]:
        """Those that can turn out to be guilty, the worst first. From now on what comes in their name is counted."""
        found = [finding for finding in self.findings if finding.kind in _VOLUME][:limit]
        self._watched = np.sort(np.fromiter((finding.key for finding in found), np.uint64, len(found)))
        return found

    def count(self, rates: Rates) -> None:
        """Take in one look at the sources' meters, for the suspects."""
        keys = self._watched
        if not len(keys) or not rates.dt_ns:
            return
        seconds = rates.dt_ns / 1e9
        amounts, drops = rates.of(keys, (Kind.PPS, Kind.BPS)), rates.drops_of(keys)
        for place, key in enumerate(keys.tolist()):
            held = self._held.get(key)
            if held is None:
                continue
            held.packets += int(amounts[0, place])
            held.kind_sum += float(amounts[0 if held.finding.kind is not Kind.BPS else 1, place])
            held.drops += int(drops[place])
            held.seconds += seconds

    def review(
        self,
        over: tuple[Keys, Keys],
        known: Callable[[Keys], Mask],
        own: Mapping[int, Own],
        now_ns: int,
        *,
        room: int,
    ) -> Review:
        """Look again at those held back, every second or so.

        Args:
            over: sources and prefixes over a limit now. Who is not, nor his prefix, has calmed down, and is forgotten.
            known: as for :meth:`screen`.
            own: what their connections took since the last review, by key; one that is missing was not looked at.
            now_ns: monotonic time.
            room: no more than so many turn out guilty.
        """
        result = Review()
        keys = self.keys
        if not len(keys):
            return result
        sources, prefixes = over
        still = (np.isin(keys, sources) | np.isin(prefix_keys(keys), prefixes)).tolist()
        for key, is_over, is_known in zip(keys.tolist(), still, known(keys).tolist(), strict=True):
            held = self._held[key]
            if is_known:
                held.known_ns = now_ns
            if not is_over:
                del self._held[key]
            elif now_ns - held.known_ns > self.lapse_ns:
                del self._held[key]
                result.unknown.append(held.finding)
            elif key in own and self._is_guilty(held, own[key], now_ns):
                if len(result.guilty) >= room:
                    result.too_many.append(held.finding)
                    continue
                del self._held[key]
                rate = round(held.kind_sum / max(held.seconds, 0.001))
                result.guilty.append(replace(held.finding, rate=max(rate, held.finding.limit)))
            elif key in own:
                held.packets = held.drops = 0
                held.kind_sum = held.seconds = 0.0
        return result

    @property
    def keys(self) -> Keys:
        """Sources that are held back, ascending."""
        return np.sort(np.fromiter(self._held, np.uint64, len(self._held)))

    @property
    def findings(self) -> list[Finding]:
        """What they are held back for, the worst first."""
        return sorted((held.finding for held in self._held.values()), key=lambda found: -found.severity)

    def __len__(self) -> int:
        return len(self._held)

    @staticmethod
    def _is_guilty(held: Held, own: Own, now_ns: int) -> bool:
        passed = held.packets - held.drops
        if held.finding.kind not in _VOLUME or own.packets < _LEAST_PACKETS:
            return False
        if own.packets < OWN_SHARE * passed:
            return False
        if own.connections < MANY_FLOWS:
            return True
        sent = held.kind_sum / max(held.seconds, 0.001)
        return (
            now_ns - held.since_ns >= PATIENCE_NS and held.drops > 0 and sent >= STUBBORN * held.finding.limit
        )
