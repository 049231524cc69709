# SPDX-License-Identifier: Apache-2.0
"""From two successive meter snapshots to what each key sent between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys
from xdpwall.snapshot import MeterSnapshot

COUNTERS = ("packets", "bytes", "syn", "udp", "icmp", "fragments", "drops")
"""The rows of :attr:`Rates.deltas`."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What moved between two snapshots. Keys that sent nothing are left out.

    Args:
        keys: sources or prefixes, unique, ascending, shape ``(n,)``, uint64.
        deltas: what each sent since the snapshot before, summed over CPUs, shape ``(7, n)``, uint64, rows as in
            :data:`COUNTERS`.
        first_tick: kernel tick at which its oldest slot began, shape ``(n,)``, int64.
        last_tick: kernel tick of its newest packet, shape ``(n,)``, int64.
        dt_ns: time between the two snapshots; 0 when there is no rate to be had (the first snapshot, or time that
            stood still), and then there are no keys.
        mono_ns: when the newer one was read.
        put_off: slots that were read while the kernel wrote them; they are counted with the next snapshot.
        discarded: slots whose counters made no sense twice in a row; their count so far was given up.
    """

    keys: Keys
    deltas: npt.NDArray[np.uint64]
    first_tick: npt.NDArray[np.int64]
    last_tick: npt.NDArray[np.int64]
    dt_ns: int
    mono_ns: int
    put_off: int = 0
    discarded: int = 0

    @property
    def packets(self) -> npt.NDArray[np.uint64]:
        """Packets of each key."""
        return self._row(0)

    @property
    def bytes(self) -> npt.NDArray[np.uint64]:
        """L2 bytes of each key."""
        return self._row(1)

    @property
    def syn(self) -> npt.NDArray[np.uint64]:
        """TCP SYNs without ACK of each key."""
        return self._row(2)

    @property
    def udp(self) -> npt.NDArray[np.uint64]:
        """UDP packets of each key."""
        return self._row(3)

    @property
    def icmp(self) -> npt.NDArray[np.uint64]:
        """ICMP and ICMPv6 packets of each key."""
        return self._row(4)

    @property
    def fragments(self) -> npt.NDArray[np.uint64]:
        """Fragments of each key."""
        return self._row(5)

    @property
    def drops(self) -> npt.NDArray[np.uint64]:
        """Packets of each key that were dropped after the ban stages."""
        return self._row(6)

    def _row(self, number: int) -> npt.NDArray[np.uint64]:
        row: npt.NDArray[np.uint64] = self.deltas[number]
        return row

    def __len__(self) -> int:
        return len(self.keys)


class RateMeter:
    """Remembers one meter table and tells what moved since. One for the sources, one for the prefixes."""

    def update(self, snapshot: MeterSnapshot) -> Rates:
        """Take in the next snapshot. The first one gives no rates.

        The snapshot's array is not kept: the caller may fill the same buffer again.
        """
        raise NotImplementedError
