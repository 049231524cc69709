# SPDX-License-Identifier: Apache-2.0
"""The lanes of the wall in memory, see ``dataplane.fake``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from xdpwall.dataplane.interface import Count, Flow, LaneCount
from xdpwall.lanes import Lane

if TYPE_CHECKING:
    from xdpwall.config_lanes import LanesConfig, ProofConfig
    from xdpwall.dataplane.interface import Bools, Keys

_NONE = LaneCount(Count(), Count(), Count())


class FakeLanes:
    """Remembers what it was told: ``budgets``, ``ports`` (TCP, UDP, admin), ``flows`` and how often each was noted."""

    def __init__(self) -> None:
        self.budgets: tuple[LanesConfig, ProofConfig] | None = None
        self.ports: tuple[frozenset[int], frozenset[int], frozenset[int]] | None = None
        self.flows: dict[Flow, int] = {}
        self.proven_keys: set[int] = set()
        self.vouched: set[int] = set()
        self.barred: set[int] = set()
        self.cookies = False
        self.cookies_possible = False
        self._lanes: dict[Lane, LaneCount] = {lane: _NONE for lane in Lane if lane is not Lane.CLOSED}

    def lanes(self) -> Mapping[Lane, LaneCount]:
        """See :meth:`Dataplane.lanes`."""
        return dict(self._lanes)

    def set_cookies(self, on: bool) -> bool:
        """See :meth:`Dataplane.set_cookies`."""
        self.cookies = on and self.cookies_possible
        return self.cookies

    def set_budgets(self, lanes: LanesConfig, proof: ProofConfig) -> None:
        """See :meth:`Dataplane.set_budgets`."""
        self.budgets = (lanes, proof)

    def set_ports(self, tcp: Collection[int], udp: Collection[int], admin: Collection[int] = ()) -> None:
        """See :meth:`Dataplane.set_ports`."""
        self.ports = (frozenset(tcp), frozenset(udp), frozenset(admin))

    def note_flows(self, flows: Iterable[Flow]) -> int:
        """See :meth:`Dataplane.note_flows`."""
        count = 0
        for flow in flows:
            self.flows[flow] = self.flows.get(flow, 0) + 1
            count += 1
        return count

    def proven(self, keys: Keys) -> Bools:
        """See :meth:`Dataplane.proven`."""
        import numpy as np

        return np.isin(keys, np.array(sorted(self.proven_keys), dtype=np.uint64))

    def known(self, flows: Sequence[Flow]) -> list[bool]:
        """See :meth:`Dataplane.known`."""
        return [flow in self.flows for flow in flows]

    def vouch(self, keys: Iterable[int]) -> None:
        """See :meth:`Dataplane.vouch`; kept in ``vouched``, of the last call alone."""
        self.vouched = set(keys)

    def bar(self, keys: Iterable[int]) -> None:
        """See :meth:`Dataplane.bar`; kept in ``barred``, of the last call alone."""
        self.barred = set(keys)

    def count_lane(
        self,
        lane: Lane,
        packets: int,
        *,
        over: int = 0,
        dropped: int = 0,
        known: int = 0,
        size: int = 60,
    ) -> None:
        """For tests: packets of a lane; of them over its budget, of those dropped; of all, those of known flows."""
        before = self._lanes[lane]
        self._lanes[lane] = LaneCount(
            _added(before.seen, packets, size),
            _added(before.over, over, size),
            _added(before.dropped, dropped, size),
            _added(before.known, known, size),
        )


def _added(count: Count, packets: int, size: int) -> Count:
    return Count(count.packets + packets, count.bytes + packets * size)
