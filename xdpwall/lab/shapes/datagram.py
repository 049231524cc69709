# SPDX-License-Identifier: Apache-2.0
"""One kind of packet of an attack: what is the same in each of them, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58

Kind = Literal["udp", "syn", "tcp", "icmp", "fragment", "other"]
KINDS: tuple[Kind, ...] = ("udp", "syn", "tcp", "icmp", "fragment", "other")
"""What the tallies of ``bpf/lab/storm.c`` tell apart, in their order."""


@dataclass(frozen=True, slots=True)
class Vary:
    """A 16-bit word that differs from packet to packet: ``low + step * n``, n random from 0 to ``span - 1``.

    Args:
        at: offset from the first byte of the L4 header, even.
        low, span, step: ``span`` 1 to 65,536; the result must stay below 65,536.
    """

    at: int
    low: int = 0
    span: int = 65_536
    step: int = 1


@dataclass(frozen=True, slots=True)
class Datagram:
    """What one IP packet carries; longer than the link allows, it is sent in fragments, one after the other.

    Args:
        protocol: of IP.
        body: from the L4 header on; its check sum is zero here.
        kind: how it is counted, unless it goes in fragments.
        sum_at: where the check sum lies in ``body``; None: it has none.
        vary: at most six words that differ, all in the first fragment.
        weight: how often, beside the other datagrams of its shape.
        scrap: it is a lone fragment instead, of a packet whose rest never comes: the word of flags and offset as IPv4
            has it (0x2000: more follow; the rest in units of eight bytes).
        dont_fragment: IPv4's DF; never of what is sent in fragments.
    """

    protocol: int
    body: bytes
    kind: Kind
    sum_at: int | None = None
    vary: tuple[Vary, ...] = ()
    weight: float = 1.0
    scrap: Vary | None = None
    dont_fragment: bool = False


Shape = tuple[Datagram, ...]
"""The datagrams that a stream sends, in a random order, each as often as its weight says."""
