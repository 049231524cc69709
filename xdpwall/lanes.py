# SPDX-License-Identifier: Apache-2.0
"""The kinds of traffic that have a budget. The numbers index kernel tables (``bpf/lanes.h``) and never change."""

from __future__ import annotations

from enum import IntEnum


class Lane(IntEnum):
    """Each IP packet that no list decided belongs to exactly one lane, but for :attr:`CLOSED`.

    ``CLOSED`` has no packets of its own: it is the budget of TCP and UDP to ports where nobody listens, which are
    counted in their own lanes.
    """

    SYN = 0
    TCP = 1
    UDP = 2
    ICMP = 3
    FRAGMENT = 4
    OTHER = 5
    CLOSED = 6

    @property
    def label(self) -> str:
        """The name in the config, in JSON and for people, for example ``syn``."""
        return self.name.lower()
