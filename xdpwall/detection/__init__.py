# SPDX-License-Identifier: Apache-2.0
"""Who is attacking: pure work over meter snapshots. No I/O, no clock, nothing of ours but the leaves.

From a snapshot to a ban, in the order of one tick:

    rates.RateMeter        two snapshots -> what each source or prefix sent between them
    limiter.Limiter        token buckets -> findings, with hysteresis
    prefixes.attribute     a finding on a prefix that a few sources cause becomes findings on them
    detector.Detector      the three above for sources and prefixes together
    banning.BanPolicy      findings -> bans: for how long, how many a minute
    collapse.collapse      many banned sources of one /24 or /48 -> one ban

``top`` sorts sources for people. ``keys`` and ``prefixset`` hold sets of sources and prefixes for lookups by the
thousand. numpy arrays of keys are ``uint64``, packed as the kernel packs them.
"""

from __future__ import annotations
