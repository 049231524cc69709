# SPDX-License-Identifier: Apache-2.0
"""Judges the clocks. Bans end by the kernel's ticks: a rate that was taken wrongly makes all of them end wrongly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from xdpwall.control.checks.place import Finding

if TYPE_CHECKING:
    from xdpwall.dataplane.vitals import Moment

_TOLERANCE = 0.03
_SPAN_NS = 4_000_000_000
_APART_NS = 1_000_000_000
_EARLY_MS = 60_000


def judge_ticks(before: Moment, now: Moment, hz: int) -> list[Finding]:
    """Whether the kernel's ticks go on, and as fast as the load took them to.

    Args:
        before: an earlier moment; nothing is said before 4 s have passed since.
        now: this one.
        hz: ticks per second by which the ends of bans are computed.
    """
    span = now.mono_ns - before.mono_ns
    if span < _SPAN_NS:
        return []
    ticks, kernel = now.ticks - before.ticks, now.kernel_ns - before.kernel_ns
    if ticks <= 0:
        return [Finding("clock", "stopped", f"the kernel's ticks stand still: no ban lapses. {_RELOAD}")]
    found = []
    measured = ticks * 1e9 / span
    if abs(measured - hz) > hz * _TOLERANCE:
        found.append(
            Finding(
                "clock",
                "rate",
                f"the kernel ticks {measured:.0f} times a second, and the wall was loaded for {hz}: bans last "
                f"{hz / measured:.1f} times as long as they should. {_RELOAD}",
            )
        )
    if abs(kernel - span) > _APART_NS:
        found.append(
            Finding("clock", "apart", f"the clock of programs and that of processes drift apart. {_RELOAD}")
        )
    return found


_RELOAD = "`xdpwall unload` and `xdpwall load` measure anew; bans and allowlist come back"


def judge_date(wall_ms: int, loaded_ms: int) -> list[Finding]:
    """Whether the machine's clock is possible at all.

    Args:
        wall_ms: what it shows, Unix time.
        loaded_ms: what it showed when the wall was loaded.
    """
    if wall_ms >= loaded_ms - _EARLY_MS:
        return []
    return [
        Finding(
            "clock",
            "date",
            f"the machine's clock shows {_date(wall_ms)}, but the wall was loaded at {_date(loaded_ms)}: times in "
            "records are wrong, bans are not. Set the clock (`timedatectl`)",
        )
    ]


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
