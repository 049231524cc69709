# SPDX-License-Identifier: Apache-2.0
"""Time: the kernel compares it, with nobody running.

``ago`` gives a ban in the past, by what the wall takes for now while it writes: a ban of half an hour given an hour
ago is over, and the kernel finds out by its own clock. One test waits a real second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bpf.packets import frame4, frame6, frame_from
from tests.bpf.scene import DROP, PASS, Probe
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

MINUTE, HOUR = 60_000, 3_600_000
BANNED_SOURCE, BANNED_PREFIX = (DROP, Reason.BANNED_SOURCE), (DROP, Reason.BANNED_PREFIX)
PASSES = (PASS, Reason.PASS)


@contextmanager
def ago(probe: Probe, ms: int) -> Iterator[None]:
    """Let the wall write as it would have this long ago."""
    clock = probe.wall.bans._clock
    shift = ms * clock.hz // 1000
    with pytest.MonkeyPatch.context() as patch:
        right = clock.now
        patch.setattr(clock, "now", lambda: right() - shift)
        yield


def put(probe: Probe, text: str, ms: int | None) -> None:
    probe.wall.bans.put(Prefix.parse(text), ms)


def remaining(probe: Probe, text: str) -> int | None:
    held = probe.wall.bans.get(Prefix.parse(text))
    assert held is not None
    return held.remaining_ms


def test_a_second_is_over_after_a_second(lists: Probe) -> None:
    """Every kind of ban, by the kernel's clock alone: nothing of ours runs between put and packet."""
    kinds = {
        "1.2.3.4": "1.2.3.4",
        "5.6.7.0/24": "5.6.7.8",
        "2001:db8:1::/64": "2001:db8:1::9",
        "2001:db8:2::/48": "2001:db8:2::9",
        "2001:db8:3::9": "2001:db8:3::9",
    }
    for text, source in kinds.items():
        put(lists, text, 1_000)
        outcome = lists.run(frame_from(source))
        assert (
            outcome.verdict == DROP or remaining(lists, text) == 0
        )  # a machine that stood still for a second
    time.sleep(1.1 + 64 / lists.wall.info.tick_hz)  # expiries are counted in units of 64 ticks, rounded up
    for source in kinds.values():
        assert lists.run(frame_from(source)) == PASSES
    assert len(lists.wall.bans) == len(kinds), "the slots are still there"
    assert lists.wall.bans.sweep() == len(kinds)
    assert len(lists.wall.bans) == 0


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.0.0/16", "1.2.9.9"),
        ("2001:db8:1::/64", "2001:db8:1::9"),
        ("2001:db8::/32", "2001:db8:1::9"),
        ("2001:db8:1::9", "2001:db8:1::9"),
    ],
)
def test_over_is_over(lists: Probe, text: str, source: str) -> None:
    bans, prefix = lists.wall.bans, Prefix.parse(text)
    with ago(lists, HOUR):
        bans.put(prefix, 30 * MINUTE)
    assert lists.run(frame_from(source)) == PASSES
    assert remaining(lists, text) == 0
    with ago(lists, HOUR):
        bans.put(prefix, 90 * MINUTE)
    assert lists.run(frame_from(source)).verdict == DROP
    assert 29 * MINUTE < (remaining(lists, text) or 0) < 31 * MINUTE
    with ago(lists, HOUR):
        bans.put(prefix, None)
    assert lists.run(frame_from(source)).verdict == DROP
    assert remaining(lists, text) is None
    assert bans.sweep() == 0
    with ago(lists, HOUR):
        bans.put(prefix, 30 * MINUTE)
    assert lists.run(frame_from(source)) == PASSES
    assert bans.sweep() == 1
    assert bans.get(prefix) is None


def test_a_lapsed_ban_passes_no_counter(lists: Probe) -> None:
    with ago(lists, HOUR):
        put(lists, "1.2.3.4", MINUTE)
    lists.push(frame4(source="1.2.3.4"), 3)
    held = lists.wall.bans.get(Prefix.parse("1.2.3.4"))
    assert held is not None
    assert held.packets == 0


def test_the_outer_holds_when_the_inner_lapses(lists: Probe) -> None:
    """The trie gives the longest match alone: a short ban inside a long one must not make a hole."""
    for inner_first in (True, False):
        lists.wall.bans.clear()
        with ago(lists, HOUR):
            pairs = [("10.1.2.0/24", MINUTE), ("10.1.0.0/16", 30 * MINUTE), ("10.0.0.0/8", 2 * HOUR)]
            for text, ms in pairs if inner_first else reversed(pairs):
                put(lists, text, ms)
            put(lists, "2001:db8:1::/96", MINUTE)
            put(lists, "2001:db8::/32", None)
        for source in ("10.1.2.3", "10.1.3.3", "10.2.2.2", "2001:db8:1::9"):
            assert lists.run(frame_from(source)) == BANNED_PREFIX
        assert remaining(lists, "10.1.2.0/24") == 0, "its own time, not that of the outer"
        assert lists.wall.bans.sweep() == 3
        for source in ("10.1.2.3", "10.1.3.3", "10.2.2.2", "2001:db8:1::9"):
            assert lists.run(frame_from(source)) == BANNED_PREFIX
        assert {str(entry.prefix) for entry in lists.wall.bans.entries()} == {"10.0.0.0/8", "2001:db8::/32"}


def test_the_inner_holds_when_the_outer_lapses(lists: Probe) -> None:
    with ago(lists, HOUR):
        put(lists, "10.0.0.0/8", MINUTE)
        put(lists, "10.1.2.0/24", 2 * HOUR)
    assert lists.run(frame4(source="10.1.2.3")) == BANNED_PREFIX
    assert lists.run(frame4(source="10.1.3.3")) == PASSES


def test_the_inner_lapses_once_the_outer_is_lifted(lists: Probe) -> None:
    """What the outer lent to the inner goes with it."""
    with ago(lists, HOUR):
        put(lists, "10.0.0.0/8", None)
        put(lists, "10.1.2.0/24", MINUTE)
    assert lists.run(frame4(source="10.1.2.3")) == BANNED_PREFIX
    lists.wall.bans.remove(Prefix.parse("10.0.0.0/8"))
    assert lists.run(frame4(source="10.1.2.3")) == PASSES


def test_shortening_the_outer_shortens_what_it_lent(lists: Probe) -> None:
    with ago(lists, HOUR):
        put(lists, "10.1.2.0/24", MINUTE)
        put(lists, "10.0.0.0/8", None)
        put(lists, "10.0.0.0/8", 30 * MINUTE)
    assert lists.run(frame4(source="10.1.2.3")) == PASSES


def test_exact_and_prefix_bans_lapse_each_by_itself(lists: Probe) -> None:
    with ago(lists, HOUR):
        put(lists, "10.1.2.3", MINUTE)
        put(lists, "10.1.2.0/24", 2 * HOUR)
        put(lists, "10.9.9.9", 2 * HOUR)
        put(lists, "10.9.9.0/24", MINUTE)
        put(lists, "2001:db8:1:1::/64", MINUTE)
        put(lists, "2001:db8:1::/48", None)
    assert lists.run(frame4(source="10.1.2.3")) == BANNED_PREFIX
    assert lists.run(frame4(source="10.9.9.9")) == BANNED_SOURCE
    assert lists.run(frame4(source="10.9.9.8")) == PASSES
    assert lists.run(frame6(source="2001:db8:1:1::1")) == BANNED_PREFIX


def test_a_lapsed_place_is_taken_again(lists: Probe) -> None:
    """With new counters, whoever takes it."""
    with ago(lists, HOUR):
        put(lists, "1.2.3.4", 90 * MINUTE)
        lists.push(frame4(source="1.2.3.4"), 4)
        put(lists, "1.2.3.4", MINUTE)
    put(lists, "1.2.3.4", HOUR)
    assert lists.run(frame4(source="1.2.3.4")) == BANNED_SOURCE


@pytest.mark.parametrize("many", [False, True], ids=["put", "put_many"])
def test_a_ban_lasts_at_least_what_was_asked(lists: Probe, many: bool) -> None:
    for ms in (1, 100, 255, 256, 257, 1_000, 59_999, HOUR, 24 * HOUR):
        prefix = Prefix.parse("1.2.3.4")
        if many:
            lists.wall.bans.put_many([(prefix, ms)])
        else:
            lists.wall.bans.put(prefix, ms)
        unit = -(-64_000 // lists.wall.info.tick_hz)
        left = remaining(lists, "1.2.3.4")
        assert left is not None
        assert left <= ms + unit + 1000 // lists.wall.info.tick_hz
