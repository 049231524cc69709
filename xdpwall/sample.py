# SPDX-License-Identifier: Apache-2.0
"""One packet that the kernel showed us: its head, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

HEAD_BYTES = 168
"""Bytes of a packet that a sample keeps, from the Ethernet header on (``SAMPLE_HEAD`` of ``bpf/samples.h``)."""
NOT_FRAGMENT, FIRST_FRAGMENT, LATER_FRAGMENT = 0, 1, 2
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58

_ASKED = 68
"""Bytes from the transport header on that a rule can ask for: of TCP the longest header, and eight of its data."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A packet over budget, or now and then one of quiet times.

    Args:
        tick: the kernel's tick when it came.
        length: of the whole frame, bytes.
        reason: what became of it; of quiet times ``PASS``, or ``PASS_FLOW`` for one of a known flow.
        lane: where it belongs.
        slot: of its interface.
        version: IP version, 4 or 6.
        protocol: what stands at ``l4``.
        fragment: ``NOT_FRAGMENT``, ``FIRST_FRAGMENT`` or ``LATER_FRAGMENT``.
        l3, l4: offsets of the IP header and of what follows it and its extension headers.
        captured: how many bytes of ``head`` are the packet's.
        would_drop: it passed all the same, for its reason only observes.
        head: its first :data:`HEAD_BYTES` bytes, filled up with zeros.
    """

    tick: int
    length: int
    reason: Reason
    lane: Lane
    slot: int
    version: int
    protocol: int
    fragment: int
    l3: int
    l4: int
    captured: int
    head: bytes
    would_drop: bool = False

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return not self.reason.drops

    @property
    def source(self) -> bytes:
        """Its source address, 4 or 16 bytes in network order."""
        return self._address(12, 8)

    @property
    def target(self) -> bytes:
        """Its target address."""
        return self._address(16, 24)

    def _address(self, at4: int, at6: int) -> bytes:
        at, size = (at4, 4) if self.version == 4 else (at6, 16)
        return self.head[self.l3 + at : self.l3 + at + size]

    @property
    def source_port(self) -> int | None:
        """Of TCP and UDP; None for all others and for later fragments."""
        return self._port(0)

    @property
    def target_port(self) -> int | None:
        """See :attr:`source_port`."""
        return self._port(2)

    def _port(self, at: int) -> int | None:
        if (
            self.protocol not in (_TCP, _UDP)
            or self.fragment == LATER_FRAGMENT
            or self.l4 + 4 > len(self.head)
        ):
            return None
        return int.from_bytes(self.head[self.l4 + at : self.l4 + at + 2], "big")

    @property
    def tcp_flags(self) -> int | None:
        """Of TCP, None for all others and for later fragments."""
        if self.protocol != _TCP or self.fragment == LATER_FRAGMENT or self.l4 + 14 > len(self.head):
            return None
        return self.head[self.l4 + 13]

    @property
    def is_cut(self) -> bool:
        """Whether it ends before what a rule may ask for: behind long extension headers, say, stands no transport."""
        return self.captured < self.length and self.captured < self.l4 + _ASKED

    @property
    def hop_limit(self) -> int:
        """TTL or hop limit as it arrived."""
        return self.head[self.l3 + (8 if self.version == 4 else 7)]

    @property
    def ip_length(self) -> int:
        """Bytes from the IP header on, by that header."""
        if self.version == 4:
            return int.from_bytes(self.head[self.l3 + 2 : self.l3 + 4], "big")
        return int.from_bytes(self.head[self.l3 + 4 : self.l3 + 6], "big") + 40

    @property
    def is_icmp(self) -> bool:
        """ICMP or ICMPv6."""
        return self.protocol in (_ICMP, _ICMPV6)
