# SPDX-License-Identifier: Apache-2.0
"""What is asked of the wall: the one place where the bars stand."""

from __future__ import annotations

RATIO_TO_BARE: dict[str, float] = {
    "blocked-1k": 1.3,
    "blocked-100k": 1.4,
    "over-limit": 1.8,
    "flood": 2.0,
    "pass-1k": 2.0,
    "pass-100k": 2.0,
}
"""By job, both families: nanoseconds a packet, at most this many times those of bare XDP_DROP in the same round."""

RATIO_V6_TO_V4 = 1.15
"""A job in IPv6, at most this many times the same in IPv4."""

RATIO_TO_PEER: dict[str, tuple[str, float | None]] = {
    "xdp-filter-1k": ("blocked-1k", 0.9),
    "nft-set-1k": ("blocked-1k", 0.25),
    "nft-set-100k": ("blocked-100k", 0.25),
    "nft-meter": ("over-limit", 0.25),
    "nft-meter-flood": ("flood", 0.25),
    "hashlimit": ("over-limit", None),
    "hashlimit-flood": ("flood", None),
}
"""By row of a peer: our row that does the same job, and at most how many times the peer's nanoseconds it may take;
None asks for nothing."""

CONTROL: dict[str, float] = {
    "snapshot_1m_ms": 20.0,
    "insert_100k_ms": 50.0,
    "controller_rss_mb": 64.0,
    "controller_cpu_rest_percent": 2.0,
    "controller_cpu_flood_percent": 15.0,
    "load_ms": 1500.0,
    "status_ms": 150.0,
}
"""By figure: at most."""

ACCURACY_MEDIAN_PERCENT, ACCURACY_WORST_PERCENT = 0.1, 1.0
"""Counters of heavy sources in a flood of random ones: how far off at most, of what was sent to them."""


def met(value: float, bar: float | None) -> bool | None:
    """Whether a figure keeps its bar; None where there is none."""
    return None if bar is None else value <= bar
