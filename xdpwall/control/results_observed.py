# SPDX-License-Identifier: Apache-2.0
"""The shapes of what is answered about parts that only observe; see ``control.results``."""

from __future__ import annotations

from typing import TypedDict


class ObservedBriefResult(TypedDict):
    """In ``status``. ``parts`` is empty while all is enforced; all of them under ``policy = "observe"``.

    ``good_sources``: so many known-good sources were seen among what would have been dropped; null without a
    controller, which alone looks for them.
    """

    parts: list[str]
    since_ms: int
    would_drop_packets: int
    would_drop_bytes: int
    good_sources: int | None


class ReasonCountResult(TypedDict):
    """Packets of one reason."""

    reason: str
    packets: int
    bytes: int


class ObservedPartResult(TypedDict):
    """One part. ``observes``: it does so now; else it was observed before, and its counts are of then."""

    part: str
    observes: bool
    packets: int
    bytes: int
    reasons: list[ReasonCountResult]
    good_sources: int


class ObservedRuleResult(TypedDict):
    """A fingerprint rule that only observes. ``proven_packets`` of ``packets`` would have passed all the same."""

    id: int
    text: str
    packets: int
    bytes: int
    proven_packets: int


class GoodSourceResult(TypedDict):
    """A source that is known to be good, and would have lost packets. ``samples``: how many of them were looked at.

    ``proof``: ``handshake`` (it completed one lately) or ``flow`` (the packet belongs to a flow of this host).
    """

    source: str
    proof: str
    reasons: list[str]
    samples: int
    first_ms: int
    last_ms: int


class ObservedResult(TypedDict):
    """``observed``. ``good_source_count`` is null without a controller. ``rules``: those that observe by themselves."""

    policy: str
    since_ms: int
    parts: list[ObservedPartResult]
    rules: list[ObservedRuleResult]
    good_sources: list[GoodSourceResult]
    good_source_count: int | None
