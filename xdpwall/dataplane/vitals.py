# SPDX-License-Identifier: Apache-2.0
"""What a loaded wall says of itself when asked whether all is as it should be. Reads, and mends what only it can.

Judging is for ``control.checks``. Each method is cheap enough for every few seconds, but :meth:`Vitals.fill`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from xdpwall.dataplane.audit import Soundness
    from xdpwall.dataplane.standing import Standing


@dataclass(frozen=True, slots=True)
class Fill:
    """How much of a table of the kernel is taken. ``key`` of the configuration makes it larger; empty: none does."""

    table: str
    entries: int
    capacity: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """The wall's own counters of one moment, added up in several ways that must agree.

    ``by_interface``: packets by interface. ``by_cpu``: by CPU. ``stray``: packets under numbers that no reason and no
    interface has. ``lanes``: packets that reached a lane.
    """

    by_interface: Mapping[str, int] = field(default_factory=dict)
    by_cpu: tuple[int, ...] = ()
    stray: int = 0
    lanes: int = 0

    @property
    def packets(self) -> int:
        """All of them."""
        return sum(self.by_cpu)


@dataclass(frozen=True, slots=True)
class Moment:
    """The clocks of one moment: the kernel's ticks and its CLOCK_MONOTONIC as a program reads them, and ours."""

    ticks: int
    kernel_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Rings:
    """What was lost on its way to the controller since it opened the wall: ``samples`` counts times, not packets."""

    samples: int = 0
    watch_held_back: int = 0
    watch_overwritten: int = 0


class Vitals(Protocol):
    """The face, for the real wall (:class:`WallVitals`) and the one in memory."""

    def standings(self) -> list[Standing]:
        """How the wall stands on each interface."""

    def loading(self) -> bool:
        """Whether a load is putting its programs in place, or was cut short while it did."""

    def stages(self) -> Mapping[str, int]:
        """Programs that the wall goes on in: id by name, 0 for none. Empty where there are to be none."""

    def unlisted(self) -> list[str]:
        """Interfaces that a link is pinned for, and that the table of interfaces does not know."""

    def ban_digest(self) -> int:
        """Of all bans of single sources: differs once one of them, or what leads to it, does."""

    def mend_bans(self) -> Soundness:
        """Put right what makes a ban that stands in its table stop nothing."""

    def trie_repairs(self) -> int:
        """Bans of prefixes that would have lapsed too early, put right since the wall was opened."""

    def tampered(self) -> list[str]:
        """Tables that only we write, and that are no longer as we wrote them."""

    def mend_rules(self) -> int:
        """Make the kernel look at every fingerprint rule that stands. Gives for how many lanes it did not."""

    def mend_meta(self) -> bool:
        """Write down again what the load wrote down of itself. Gives whether it was needed."""

    def counted(self) -> Counted:
        """The counters."""

    def moment(self) -> Moment:
        """The clocks."""

    def fill(self) -> list[Fill]:
        """How full tables are."""

    def rings(self) -> Rings:
        """What was lost on the way."""
