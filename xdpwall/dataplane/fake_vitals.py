# SPDX-License-Identifier: Apache-2.0
"""The vitals of the wall in memory: all is well, until a test says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdpwall.dataplane.audit import Soundness
from xdpwall.dataplane.standing import Standing
from xdpwall.dataplane.vitals import Counted, Fill, Moment, Rings

if TYPE_CHECKING:
    from xdpwall.dataplane.fake import FakeWall

TAG = "0123456789abcdef"


class FakeVitals:
    """Implements :class:`xdpwall.dataplane.vitals.Vitals`; tests set what it should say."""

    def __init__(self, wall: FakeWall) -> None:
        self._wall = wall
        self.stands: list[Standing] | None = None
        self.at_work = False
        self.stage_programs: dict[str, int] = {"over (stages)": 51}
        self.lost_entries: list[str] = []
        self.unsound = Soundness()
        self.early = 0
        self.touched: list[str] = []
        self.lanes_unasked = 0
        self.meta_lost = False
        self.counters: Counted | None = None
        self.clocks: Moment | None = None
        self.full: list[Fill] = []
        self.lost = Rings()

    def standings(self) -> list[Standing]:
        """See :class:`Vitals`."""
        if self.stands is not None:
            return self.stands
        return [
            Standing(
                name=state.name,
                mode="native" if state.mode is None else state.mode,
                index=state.ifindex,
                link_index=state.ifindex,
                link_name=state.name if state.ifindex else "",
                program=state.program_id,
                tag=TAG if state.program_id == state.expected_id else "",
                expected=state.expected_id,
                pinned=state.expected_id,
                pinned_tag=TAG,
                kernel_mode=state.mode,
                kernel_program=state.program_id,
                mtu=1500,
                egress=(60,) if state.ifindex else None,
                egress_pinned=60,
            )
            for state in self._wall.interfaces()
        ]

    def loading(self) -> bool:
        """See :class:`Vitals`."""
        return self.at_work

    def stages(self) -> Mapping[str, int]:
        """See :class:`Vitals`."""
        return self.stage_programs

    def unlisted(self) -> list[str]:
        """See :class:`Vitals`."""
        return self.lost_entries

    def ban_digest(self) -> int:
        """See :class:`Vitals`."""
        return hash(frozenset((ban.prefix, ban.remaining_ms is None) for ban in self._wall.bans.entries()))

    def mend_bans(self) -> Soundness:
        """See :class:`Vitals`."""
        found, self.unsound = self.unsound, Soundness()
        return found

    def trie_repairs(self) -> int:
        """See :class:`Vitals`."""
        return self.early

    def tampered(self) -> list[str]:
        """See :class:`Vitals`."""
        return self.touched

    def mend_rules(self) -> int:
        """See :class:`Vitals`."""
        found, self.lanes_unasked = self.lanes_unasked, 0
        return found

    def mend_meta(self) -> bool:
        """See :class:`Vitals`."""
        found, self.meta_lost = self.meta_lost, False
        return found

    def counted(self) -> Counted:
        """See :class:`Vitals`."""
        if self.counters is not None:
            return self.counters
        counts = self._wall.verdicts()
        by_interface = {
            name: sum(count.packets for count in found.values()) for name, found in counts.items()
        }
        return Counted(by_interface, (sum(by_interface.values()),))

    def moment(self) -> Moment:
        """See :class:`Vitals`."""
        if self.clocks is not None:
            return self.clocks
        now = self._wall.clock.mono_ns()
        return Moment(now * self._wall.info.tick_hz // 1_000_000_000, now, now)

    def fill(self) -> list[Fill]:
        """See :class:`Vitals`."""
        return self.full

    def rings(self) -> Rings:
        """See :class:`Vitals`."""
        return self.lost
