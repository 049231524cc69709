# SPDX-License-Identifier: Apache-2.0
"""A ban that stands in its table and stops nothing, made on purpose: found, put right, and the program drops again.

Everything is written into the pinned maps from outside, as somebody with root could; the comparison that the controller
runs must leave the wall such that the packet is dropped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from tests.bpf import packets
from tests.bpf.scene import Probe, lean, loaded, scene
from xdpwall.clock import SystemClock
from xdpwall.control.book import Book
from xdpwall.control.database import AllowEntry, Changes
from xdpwall.control.guard import Guard
from xdpwall.control.reconcile import Mended, Reconciler
from xdpwall.dataplane import hashing, layout, sys_bpf
from xdpwall.dataplane.keys import source_key
from xdpwall.fingerprint import Pattern, Rule
from xdpwall.lanes import Lane
from xdpwall.model import Ban, Origin, Prefix
from xdpwall.reasons import Reason

V4, V6, WIDE = "81.2.69.160", "2a02:26f0:d7::1", "89.160.0.0/16"


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with loaded(lean()) as made:
        yield made


@dataclass
class Keeping:
    """A record of bans, and the wall that is held to it."""

    probe: Probe
    book: Book = field(default_factory=Book)
    guard: Guard = field(default_factory=Guard)

    def __post_init__(self) -> None:
        self.wall = self.probe.wall
        self.wall.bans.clear()
        self.changes: list[Changes] = []
        self.reconciler = Reconciler(self.book, self.guard, SystemClock(), self.changes.append)

    def ban(self, text: str, for_ms: int | None = 600_000) -> Prefix:
        prefix, now = Prefix.parse_source(text), SystemClock().wall_ms()
        self.book.put(Ban(prefix, now, None if for_ms is None else now + for_ms, "", Origin.OPERATOR))
        self.wall.bans.put(prefix, for_ms)
        return prefix

    def scan(self) -> Mended:
        last = Mended()
        for last in self.reconciler.scan(self.wall):  # noqa: B007  (the last is the whole)
            pass
        return last

    def drops(self, source: str) -> bool:
        frame = packets.frame_from(source)
        return self.probe.run(frame).reason in (Reason.BANNED_SOURCE, Reason.BANNED_PREFIX)


@pytest.fixture
def keeping(probe: Probe) -> Keeping:
    made = Keeping(probe)
    for text in (V4, V6, WIDE):
        made.ban(text)
    assert made.scan().words() == ""
    assert all(made.drops(source) for source in (V4, V6, "89.160.20.112"))
    return made


def place_of(keeping: Keeping, source: str) -> tuple[str, int]:
    """Table and index of the word of a banned source."""
    key = source_key(Prefix.parse_source(source))
    table = "ban4" if ip_address(source).version == 4 else "ban6"
    words = keeping.wall._array(table).words
    hashed = hashing.mix(key, keeping.wall._meta.seed)
    line = hashed >> (64 - (keeping.wall._array(table).entries.bit_length() - 1))
    found = next(at for at in range(line * 8, line * 8 + 8, 2) if words[at] >> 32 == hashing.tag(key, hashed))
    return table, found


def remove_word(keeping: Keeping, source: str) -> None:
    table, at = place_of(keeping, source)
    keeping.wall._array(table).words[at] = 0


def change_tag(keeping: Keeping, source: str) -> None:
    table, at = place_of(keeping, source)
    keeping.wall._array(table).words[at] ^= 0xABCD << 32


def end_it_early(keeping: Keeping, source: str) -> None:
    table, at = place_of(keeping, source)
    words = keeping.wall._array(table).words
    words[at] = words[at] >> 32 << 32 | 1


def move_it(keeping: Keeping, source: str) -> None:
    """Into a set where no packet of this source will ever look."""
    table, at = place_of(keeping, source)
    words = keeping.wall._array(table).words
    other = (at + 64) % len(words)
    words[other], words[at] = words[at], 0
    if table == "ban6":
        keys = keeping.wall._array("ban6_keys").words
        keys[other // 2] = keys[at // 2]


def close_gate(keeping: Keeping, source: str) -> None:
    table, _ = place_of(keeping, source)
    gate = keeping.wall._array(f"{table}_gate").words
    for at in range(len(gate)):
        gate[at] = 0


def change_key(keeping: Keeping, source: str) -> None:
    _, at = place_of(keeping, source)
    keeping.wall._array("ban6_keys").words[at // 2] ^= 1 << 40


HARMS = (remove_word, change_tag, end_it_early, move_it, close_gate)


@pytest.mark.parametrize(
    ("source", "harm"),
    [*((source, harm) for source in (V4, V6) for harm in HARMS), (V6, change_key)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)  # fmt: skip
def test_a_ban_of_a_source(keeping: Keeping, source: str, harm: Callable[[Keeping, str], None]) -> None:
    harm(keeping, source)
    assert not keeping.drops(source)
    assert keeping.scan().bans >= 1
    assert keeping.drops(source)
    assert keeping.scan().words() == ""
    assert len(keeping.wall.bans) == 3


def test_a_hidden_double_does_not_hide_a_missing_ban(keeping: Keeping) -> None:
    """One ban's word twice, the other's gone: as many words as bans."""
    other = keeping.ban("81.2.69.161")
    table, at = place_of(keeping, V4)
    words = keeping.wall._array(table).words
    words[(at + 64) % len(words)] = words[at]
    remove_word(keeping, "81.2.69.161")
    keeping.scan()
    assert keeping.drops(str(other))
    assert keeping.scan().words() == ""


def test_the_overflow_map(probe: Probe) -> None:
    keeping = Keeping(probe)
    sources = crowded(keeping, 6)
    for source in sources:
        keeping.ban(source)
    assert keeping.scan().words() == ""
    fd = keeping.wall._fd("ban_overflow")
    held = list(sys_bpf.map_keys(fd, 8))
    assert len(held) == 2
    # its mark gone: the kernel would not ask the map at all
    full = keeping.wall._array("ban4_full").words
    for at in range(len(full)):
        full[at] = 0
    assert not all(keeping.drops(source) for source in sources)
    keeping.scan()
    assert all(keeping.drops(source) for source in sources)
    # an entry gone
    assert sys_bpf.map_delete(fd, held[0])
    keeping.scan()
    assert all(keeping.drops(source) for source in sources)
    assert keeping.scan().words() == ""


def crowded(keeping: Keeping, count: int) -> list[str]:
    """So many sources of one set."""
    entries, seed = keeping.wall._array("ban4").entries, keeping.wall._meta.seed
    shift = 64 - (entries.bit_length() - 1)
    by_line: dict[int, list[str]] = {}
    number = 0
    while True:
        text = str(ip_address(int(ip_address("45.0.0.0")) + number))
        line = by_line.setdefault(hashing.mix(source_key(Prefix.parse_source(text)), seed) >> shift, [])
        line.append(text)
        if len(line) == count:
            return line
        number += 1


def test_a_ban_of_a_prefix_is_taken_out(keeping: Keeping) -> None:
    fd = keeping.wall._fd("ban_prefix4")
    assert sys_bpf.map_delete(fd, struct.pack("=I", 16) + bytes([89, 160, 0, 0]))
    assert not keeping.drops("89.160.20.112")
    assert keeping.scan().put_back == 1
    assert keeping.drops("89.160.20.112")


def test_a_ban_of_a_prefix_ends_early_in_the_kernel(keeping: Keeping) -> None:
    """What was asked for still stands beside it, so a list of the bans shows nothing."""
    fd, key = keeping.wall._fd("ban_prefix4"), struct.pack("=I", 16) + bytes([89, 160, 0, 0])
    value = sys_bpf.map_lookup(fd, key, layout.BAN_VALUE.size)
    assert value is not None
    _, asked, many, size = layout.BAN_VALUE.unpack(value)
    sys_bpf.map_update(fd, key, layout.BAN_VALUE.pack(1, asked, many, size))
    assert not keeping.drops("89.160.20.112")
    assert keeping.scan().early == 1
    assert keeping.drops("89.160.20.112")


@pytest.mark.parametrize("which", [0, 1, 2], ids=["allow", "ban", "own"])
def test_the_gate_of_the_lists_is_closed(keeping: Keeping, which: int) -> None:
    allowed, own = Prefix.parse("192.0.2.0/24"), Prefix.parse("198.51.100.7")
    keeping.guard.allow.put(allowed, AllowEntry(allowed, 0))
    keeping.wall.allow.put(allowed)
    keeping.wall.set_own_addresses([own])
    keeping.ban("192.0.2.9")
    keeping.scan()
    sources = {0: "192.0.2.9", 1: "89.160.20.112", 2: "198.51.100.7"}
    expected = {0: Reason.PASS_ALLOWED, 1: Reason.BANNED_PREFIX, 2: Reason.SOURCE_OWN}
    frame = packets.frame_from(sources[which])
    assert keeping.probe.run(frame).reason is expected[which]
    words = keeping.wall._array("gate").words
    for at in range(which, len(words), 4):
        words[at] = 0
    assert keeping.probe.run(frame).reason is not expected[which]
    # looked at when the tables changed, and at every deep comparison; here it is made to be due
    keeping.reconciler._deep_ns = 0
    assert keeping.scan().opened >= 1
    assert keeping.probe.run(frame).reason is expected[which]
    keeping.wall.allow.remove(allowed)
    keeping.wall.set_own_addresses([])


def test_rules_that_the_kernel_is_not_told_to_look_at(probe: Probe) -> None:
    rules = probe.wall.rules
    rules.clear()
    pattern = Pattern(Lane.UDP, bytes(64), bytes(64))
    rules.put(Rule(rules.next_id(), pattern, False, 0, 1.0, 0.0, 10, 10), 60_000)
    assert probe.wall.vitals.mend_rules() == 0
    words = probe.wall._array("rules").words
    at = Lane.UDP * 1600 // 8
    live = words[at]
    words[at] = 0
    assert probe.wall.vitals.mend_rules() == 1
    assert words[at] == live
    rules.clear()


def test_budgets_and_ports(probe: Probe) -> None:
    vitals = probe.wall.vitals
    assert vitals.tampered() == []
    probe.wall._array("budgets").words[0] ^= 1
    probe.wall._array("ports").words[11] ^= 1
    assert vitals.tampered() == ["budgets", "ports"]
    probe.wall._array("budgets").words[0] ^= 1
    probe.wall._array("ports").words[11] ^= 1
    assert vitals.tampered() == []
    probe.wall.set_ports([80], [], [22])
    assert vitals.tampered() == []


def test_a_quiet_wall_is_not_compared_ban_by_ban(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    entries = keeping.wall.bans.entries

    def note(*, wide_only: bool = False) -> object:
        asked.append(wide_only)
        return entries(wide_only=wide_only)

    monkeypatch.setattr(keeping.wall.bans, "entries", note)
    keeping.scan()
    keeping.ban("81.2.69.170")
    keeping.scan()
    keeping.scan()
    assert asked == [True, False, True]


def test_how_it_stands() -> None:
    with scene() as place:
        place.load(lean())
        with place.inside(), place.open() as wall:
            (found,) = wall.vitals.standings()
            stages, unlisted = wall.vitals.stages(), wall.vitals.unlisted()
    assert (found.name, found.mode, found.kernel_mode) == ("wt0", "native", "native")
    assert found.index == found.link_index
    assert found.program == found.pinned == found.expected == found.kernel_program
    assert found.loaded is not None
    assert (found.loaded.tag, found.loaded.mtu, found.tag) == (found.pinned_tag, 1500, found.pinned_tag)
    assert found.egress == (found.egress_pinned,)
    assert found.fits
    assert (all(stages.values()), unlisted) == (True, [])


def test_a_load_is_no_exchange() -> None:
    """Who holds the wall open over a load must not take its new program for somebody else's."""
    with scene() as place:
        place.load(lean())
        with place.inside(), place.open() as wall:
            (before,) = wall.vitals.standings()
            place.load(lean(checks={"malformed": False}))
            (after,) = wall.vitals.standings()
            place.pins.unfinished.mkdir()
            (during,) = wall.vitals.standings()
            place.pins.unfinished.rmdir()
    assert before.loaded is not None
    assert after.loaded is not None
    assert before.pinned_tag != after.pinned_tag == after.loaded.tag
    assert during.loaded is None


def test_figures(probe: Probe) -> None:
    vitals = probe.wall.vitals
    before = vitals.counted()
    probe.push(packets.frame_from("81.2.69.190"), repeat=10)
    after = vitals.counted()
    assert after.packets - before.packets == 10
    assert after.by_interface["wt0"] - before.by_interface["wt0"] == 10
    assert (after.stray, after.lanes - before.lanes) == (before.stray, 10)
    probe.wall._array("verdicts").words[63 * 2] += 5  # no reason has the number 63
    assert vitals.counted().stray == after.stray + 5
    assert {entry.table for entry in vitals.fill()} >= {
        "bans",
        "prefix_bans",
        "ban_overflow",
        "allowlist",
        "proofs",
    }
    first = vitals.moment()
    second = vitals.moment()
    assert second.kernel_ns > first.kernel_ns
    assert second.ticks >= first.ticks
