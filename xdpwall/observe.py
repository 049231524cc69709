# SPDX-License-Identifier: Apache-2.0
"""What can be observed by itself: parts of the wall that count what they would drop, and drop nothing.

``observe = ["lanes.udp"]`` in the configuration. The kernel gets a bit for each reason (``OBSERVED`` in
``bpf/observe.h``); a packet that such a reason would have dropped goes on, and is judged by everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xdpwall.lanes import Lane
from xdpwall.reasons import Reason

_MALFORMED = (
    Reason.TRUNCATED,
    Reason.VLAN_DEPTH,
    Reason.IP_HEADER,
    Reason.IP_LENGTH,
    Reason.SOURCE_IMPOSSIBLE,
    Reason.EXTENSION_CHAIN,
    Reason.FRAGMENT,
    Reason.TCP_HEADER,
    Reason.TCP_FLAGS,
    Reason.UDP_LENGTH,
    Reason.ICMP_HEADER,
)

PARTS: Mapping[str, tuple[Reason, ...]] = {
    "checks.malformed": _MALFORMED,
    "checks.own_source": (Reason.SOURCE_OWN,),
    "bans.source": (Reason.BANNED_SOURCE,),
    "bans.prefix": (Reason.BANNED_PREFIX,),
    "limits.source": (Reason.SOURCE_PPS, Reason.SOURCE_BPS, Reason.SOURCE_SYN),
    "limits.prefix": (Reason.PREFIX_PPS, Reason.PREFIX_BPS, Reason.PREFIX_SYN),
    "fingerprints": (Reason.FINGERPRINT,),
    "lanes.syn": (Reason.LANE_SYN, Reason.COOKIE_SENT),
    "lanes.tcp": (Reason.LANE_TCP,),
    "lanes.udp": (Reason.LANE_UDP,),
    "lanes.icmp": (Reason.LANE_ICMP,),
    "lanes.fragment": (Reason.LANE_FRAGMENT,),
    "lanes.other": (Reason.LANE_OTHER,),
    "lanes.closed": (Reason.CLOSED_TCP, Reason.CLOSED_UDP),
}
"""Each part that can be observed, with the reasons that are its own."""

PART_OF: Mapping[Reason, str] = {reason: part for part, reasons in PARTS.items() for reason in reasons}
"""The part that a reason for a drop belongs to."""

ALL = sum(1 << reason for reason in PART_OF)
"""A bit for each reason for a drop: what ``policy = "observe"`` observes."""


def bits(parts: Iterable[str]) -> int:
    """A bit for each reason of these parts."""
    return sum(1 << reason for part in set(parts) for reason in PARTS[part])


def parts_of(mask: int) -> tuple[str, ...]:
    """The parts whose reasons have their bits set. The inverse of :func:`bits`."""
    return tuple(part for part, reasons in PARTS.items() if all(mask >> reason & 1 for reason in reasons))


def compiled(policy: str, parts: Iterable[str]) -> int:
    """What is compiled into the program: under ``policy = "observe"`` nothing, for there the verdict alone differs."""
    return 0 if policy == "observe" else bits(parts)


def in_force(policy: str, parts: Iterable[str]) -> int:
    """The reasons that drop nothing, one bit each."""
    return ALL if policy == "observe" else bits(parts)


def covers_rules_of(lane: Lane, parts: Iterable[str]) -> bool:
    """Whether fingerprint rules of a lane should only observe: the lane does, or all rules do."""
    return bool({"fingerprints", f"lanes.{lane.label}"} & set(parts))
