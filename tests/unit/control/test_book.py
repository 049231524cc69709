# SPDX-License-Identifier: Apache-2.0
"""The ban book and the map of prefixes below it, against plain models."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from xdpwall.control.book import Book
from xdpwall.control.prefixmap import PrefixMap
from xdpwall.model import Ban, Origin, Prefix

NOW = 1_700_000_000_000


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Crowded together on purpose, so that they meet and cover each other."""
    if draw(st.booleans()):
        packed = bytes([10, draw(st.integers(0, 1)), draw(st.integers(0, 1)), draw(st.integers(0, 3))])
        return Prefix.covering(packed, draw(st.sampled_from([0, 8, 15, 16, 24, 30, 31, 32])))
    packed = (
        b"\x20\x01\x0d\xb8"
        + bytes([draw(st.integers(0, 1))]) * 4
        + bytes(7)
        + bytes([draw(st.integers(0, 1))])
    )
    return Prefix.covering(packed, draw(st.sampled_from([0, 32, 33, 48, 64, 127, 128])))


@given(st.lists(st.tuples(st.booleans(), prefixes(), st.integers(1, 9))), prefixes())
def test_the_map_agrees_with_a_dict(steps: list[tuple[bool, Prefix, int]], probe: Prefix) -> None:
    ours: PrefixMap[int] = PrefixMap()
    model: dict[Prefix, int] = {}
    for add, prefix, value in steps:
        if add:
            ours.put(prefix, value)
            model[prefix] = value
        else:
            assert ours.pop(prefix) == model.pop(prefix, None)
    assert len(ours) == len(model)
    assert dict(ours.items()) == model
    assert ours.get(probe) == model.get(probe)
    covering = [p for p in model if p.contains(probe)]
    assert [p for p, _ in ours.covering(probe)] == sorted(covering, key=lambda p: -p.length)
    assert {p for p, _ in ours.inside(probe)} == {p for p in model if probe.contains(p)}


ACTIONS = st.tuples(st.sampled_from(["put", "remove", "wait"]), prefixes(), st.integers(0, 5_000))


@given(st.lists(ACTIONS, max_size=40))
def test_bans_lapse_when_due_and_only_then(actions: list[tuple[str, Prefix, int]]) -> None:
    book, now = Book(), NOW
    model: dict[Prefix, Ban] = {}
    for action, prefix, number in actions:
        if action == "put":
            end = None if number == 0 else now + number
            ban = Ban(prefix, now, end, f"reason {number}", Origin.AUTO, number)
            book.put(ban)
            model[prefix] = ban
        elif action == "remove":
            assert book.remove(prefix) == model.pop(prefix, None)
        else:
            now += number
            due = {p: b for p, b in model.items() if b.is_over(now)}
            assert {ban.prefix: ban for ban in book.take_lapsed(now)} == due
            for gone in due:
                del model[gone]
        assert {ban.prefix: ban for ban in book.bans()} == model
        assert book.exact == sum(p.is_source for p in model)
        assert book.exact + book.wide == len(book)


def test_the_narrowest_live_ban_is_told() -> None:
    book = Book()
    wide, narrow = Prefix.parse("10.0.0.0/8"), Prefix.parse("10.1.0.0/16")
    book.put(Ban(wide, NOW, None))
    book.put(Ban(narrow, NOW, NOW + 1_000))
    probe = Prefix.parse("10.1.2.3")
    for at, expected in ((NOW, narrow), (NOW + 1_000, wide)):
        ban = book.covering(probe, at)
        assert ban is not None
        assert ban.prefix == expected
    assert book.covering(Prefix.parse("11.0.0.1"), NOW) is None


def test_a_ban_prolonged_a_thousand_times_leaves_no_litter() -> None:
    book = Book()
    prefix = Prefix.parse("10.1.2.3")
    for step in range(20_000):
        book.put(Ban(prefix, NOW, NOW + 1_000 + step * 1_000))
    assert book._queued < 10_000
    assert book.take_lapsed(NOW + 19_999_999) == []
    assert [ban.prefix for ban in book.take_lapsed(NOW + 20_000_000)] == [prefix]


def test_a_hundred_thousand_bans_stay_small() -> None:
    tracemalloc.start()
    book = Book()
    for number in range(100_000):
        prefix = Prefix((0x0B000000 + number * 257).to_bytes(4, "big"), 32)
        book.put(Ban(prefix, NOW, NOW + number * 7, f"syn {number}/s over 100/s", Origin.AUTO))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 25_000_000


def test_shifted_ends_keep_all_else() -> None:
    book = Book()
    ban = Ban(Prefix.parse("10.1.2.3"), NOW, NOW + 5_000, "why", Origin.FEED, 3)
    forever = Ban(Prefix.parse("2001:db8::/48"), NOW, None)
    book.put(ban)
    book.put(forever)
    book.shift(-3_000)
    assert book.get(forever.prefix) == forever
    assert book.get(ban.prefix) == Ban(ban.prefix, NOW, NOW + 2_000, "why", Origin.FEED, 3)
    assert [gone.prefix for gone in book.take_lapsed(NOW + 2_000)] == [ban.prefix]
