# SPDX-License-Identifier: Apache-2.0
"""What samples tell of each lane: the packets of an attack, and what good traffic looks like. Pure, times passed in.

Good is what passed in quiet times, and what passed with proof while others had none: their senders stand for those who
have no proof yet. Packets of known flows do not count: no rule is ever asked about them. A packet of quiet times is
believed only after a while without drops in its lane, for an attack's first packets pass, too.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xdpwall.detection.fingerprint_fields import FIELDS, Matrix, matrix
from xdpwall.detection.fingerprint_search import Sources
from xdpwall.fingerprint import Pattern, features
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

ATTACK_MS = 1_500
"""Only what an attack sent lately counts: it may have changed."""
ATTACK_MOST = 384
GOOD_MOST = 4_096
"""Known-good packets kept for a lane; when full, a new one takes the place of any."""
DOUBT_MS = 3_000
"""A packet of quiet times is good once nothing was dropped in its lane for this long after it."""
CALM_MS = 5_000
"""And when nothing had been for this long before it."""
_WAITING_MOST = 2_048

_DROPS = frozenset(
    {
        Reason.LANE_SYN, Reason.LANE_TCP, Reason.LANE_UDP, Reason.LANE_ICMP, Reason.LANE_FRAGMENT, Reason.LANE_OTHER,
        Reason.CLOSED_TCP, Reason.CLOSED_UDP, Reason.COOKIE_SENT,
    }
)  # fmt: skip
"""Over budget and without proof: what an attack is made of, and whoever had bad luck beside it."""
_PROVEN = frozenset({Reason.PASS_PROVEN, Reason.PASS_HANDSHAKE})
_MIX = 0x9E3779B97F4A7C15


@dataclass(slots=True)
class _Lane:
    attack: deque[tuple[int, bytes, int]] = field(default_factory=lambda: deque(maxlen=ATTACK_MOST))
    waiting: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_WAITING_MOST))
    good: Matrix = field(default_factory=lambda: np.empty((GOOD_MOST, len(FIELDS)), np.uint16))
    known: int = 0
    last_drop_ms: int | None = None


class Evidence:
    """The memory of samples, one part for each lane.

    Args:
        seed: of the choice of what is forgotten, so that tests can repeat it.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lanes = {lane: _Lane() for lane in Lane}
        self._random = random.Random(seed)

    def take(self, samples: Iterable[Sample], now_ms: int) -> dict[Lane, list[bytes]]:
        """Take in what came since the last time.

        Args:
            samples: in order.
            now_ms: now, on any clock that only goes forward.

        Returns:
            Features of the packets that are known to be good from now on.
        """
        fresh: dict[Lane, list[bytes]] = {}
        for sample in samples:
            if sample.reason in _DROPS or sample.reason is Reason.FINGERPRINT:
                self._lanes[sample.lane].last_drop_ms = now_ms
            if not sample.is_cut:  # else its features are not those that the kernel would compare
                self._sort(sample, now_ms, fresh)
        for name, lane in self._lanes.items():
            while lane.attack and lane.attack[0][0] <= now_ms - ATTACK_MS:
                lane.attack.popleft()
            if lane.last_drop_ms is not None and now_ms - lane.last_drop_ms < DOUBT_MS:
                lane.waiting.clear()
            while lane.waiting and lane.waiting[0][0] <= now_ms - DOUBT_MS:
                fresh.setdefault(name, []).append(lane.waiting.popleft()[1])
        for name, packets in fresh.items():
            self._keep(self._lanes[name], packets)
        return fresh

    def _sort(self, sample: Sample, now_ms: int, fresh: dict[Lane, list[bytes]]) -> None:
        """To the attack, to what is good, or to what may turn out to be."""
        lane = self._lanes[sample.lane]
        if sample.reason in _DROPS:
            lane.attack.append((now_ms, features(sample), source_number(sample)))
        elif sample.reason in _PROVEN:
            fresh.setdefault(sample.lane, []).append(features(sample))
        elif sample.reason is Reason.PASS and not self.is_stressed(sample.lane, now_ms):
            lane.waiting.append((now_ms, features(sample)))

    def _keep(self, lane: _Lane, packets: list[bytes]) -> None:
        for row in matrix(packets):
            if lane.known < GOOD_MOST:
                place, lane.known = lane.known, lane.known + 1
            else:
                place = self._random.randrange(GOOD_MOST)
            lane.good[place] = row

    def is_stressed(self, lane: Lane, now_ms: int) -> bool:
        """Whether packets of the lane were dropped lately."""
        last = self._lanes[lane].last_drop_ms
        return last is not None and now_ms - last < CALM_MS

    def attack(self, lane: Lane, known: Sequence[Pattern] = ()) -> tuple[Matrix, Sources]:
        """What was dropped lately and none of these patterns matches, and the sources of these packets."""
        held = [
            (packet, number)
            for _, packet, number in self._lanes[lane].attack
            if not any(pattern.matches(packet) for pattern in known)
        ]
        if not held:
            return np.empty((0, len(FIELDS)), np.uint16), np.empty(0, np.uint64)
        return matrix([packet for packet, _ in held]), np.array([number for _, number in held], np.uint64)

    def size(self, lane: Lane) -> int:
        """How many packets :meth:`attack` would give, with no pattern known."""
        return len(self._lanes[lane].attack)

    def good(self, lane: Lane) -> Matrix:
        """Known-good packets of the lane."""
        held = self._lanes[lane]
        return held.good[: held.known]


def source_number(sample: Sample) -> int:
    """A number that differs between sources: of IPv6 the /64 is the source."""
    packed = sample.source
    return int.from_bytes(packed[:8], "big") * _MIX & 0xFFFFFFFFFFFFFFFF
