# SPDX-License-Identifier: Apache-2.0
"""What the life cycle asks of the parts around it: who looks up origins, and what it hands to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xdpwall.incident.model import Origin

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class SourceTable:
    """What each metered source sent during an incident. All arrays have the same length; no source stands twice.

    Args:
        keys: sources as the kernel packs them (``dataplane.keys``).
        packets: packets of each, ``uint64``.
        bytes: L2 bytes of each, ``uint64``.
        proven: bool; True where its owner completed a handshake with this host during the incident or just before.
    """

    keys: U64
    packets: U64
    bytes: U64
    proven: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one source is registered; None where it is not known."""

    country: str | None = None
    asn: int | None = None
    as_name: str | None = None


class Attributor(Protocol):
    """Looks up origins offline. Called in a worker thread, never in the tick."""

    def origin(self, table: SourceTable) -> Origin:
        """Countries and networks of a whole incident, biggest first."""

    def places(self, sources: list[str]) -> list[Place]:
        """Where each source is, in the same order. A source is an address, or an IPv6 prefix ``2001:db8::/64``."""

    def about(self, table: SourceTable, sources: list[str]) -> tuple[Origin, list[Place]]:
        """Both at once, for little more than one of them."""
