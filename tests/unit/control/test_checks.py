# SPDX-License-Identifier: Apache-2.0
"""The judgements of the checks, from belief and observation to what is said; and the watch over a wall in memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.conftest import Rig
from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control import checks
from xdpwall.control.checks import board, clocks, path, place, room
from xdpwall.control.checks.line import LineRate, LineWatch, rate
from xdpwall.control.checks.names import CHECKS, known
from xdpwall.control.checks.selfcheck import SelfCheck
from xdpwall.control.checks.tell import Teller
from xdpwall.control.database import Changes
from xdpwall.control.health import Health
from xdpwall.control.nics import Losses, NicWatch, Softnet
from xdpwall.control.notices import Notice
from xdpwall.dataplane.audit import Soundness
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.rtlink import LinkFacts
from xdpwall.dataplane.standing import Loaded, Standing
from xdpwall.dataplane.vitals import Counted, Fill, Moment, Rings
from xdpwall.fingerprint import Pattern, Rule
from xdpwall.lanes import Lane
from xdpwall.model import Prefix

GOOD = Standing(
    name="eth0",
    mode="native",
    index=3,
    link_index=3,
    link_name="eth0",
    program=7,
    tag="aa",
    expected=7,
    pinned=7,
    pinned_tag="aa",
    kernel_mode="native",
    kernel_program=7,
    mtu=1500,
    loaded=Loaded("aa", 1500),
    egress=(9,),
    egress_pinned=9,
)


@pytest.mark.parametrize(
    ("changes", "check", "words", "repair"),
    [
        ({"program": 8}, "program", "bpftool prog show id 8", ""),
        ({"pinned_tag": "bb"}, "program", "its tag is bb and not aa", ""),
        ({"kernel_program": 8}, "program", "the kernel says that program 8", ""),
        ({"kernel_mode": "generic"}, "mode", "runs in generic mode", "renew"),
        ({"kernel_mode": None}, "mode", "no mode at all", ""),
        ({"mtu": 9000}, "mtu", "the MTU is 9000 now and was 1500", ""),
        ({"egress": ()}, "egress", "tc filter show dev eth0 egress", "listen"),
        ({"egress": (5,)}, "egress", "is gone", "listen"),
        ({"link_name": "eth7"}, "attached", "ip link set dev eth7 name eth0", ""),
        ({"link_name": "eth7", "index": 12}, "attached", "Another interface is called eth0 now", ""),
        ({"link_name": "", "index": 0}, "attached", "another network namespace", ""),
    ],
)
def test_how_it_stands(changes: dict[str, Any], check: str, words: str, repair: str) -> None:
    found = place.judge(replace(GOOD, **changes))
    assert [(f.check, f.repair) for f in found] == [(check, repair)]
    assert words in found[0].text


def test_what_is_no_fault() -> None:
    assert place.judge(GOOD) == []
    assert place.judge(replace(GOOD, loaded=None, pinned_tag="zz")) == []  # an older load wrote nothing down
    assert place.judge(replace(GOOD, mtu=1400)) == []  # the same program would be made
    assert place.judge(replace(GOOD, program=70, expected=70, kernel_program=70), off=True) == []
    assert place.judge(replace(GOOD, mode="generic", kernel_mode="generic")) == []
    assert (
        place.judge(replace(GOOD, link_index=0, program=0, index=0, egress=None)) == []
    )  # the keeper's business


def test_stages() -> None:
    believed = {"over": 5, "cookie": 6}
    assert place.judge_stages(believed, believed, lanes=True) == []
    assert place.judge_stages({}, {}, lanes=False) == []
    assert "are missing: over" in place.judge_stages(believed, {"over": 0, "cookie": 6}, lanes=True)[0].text
    assert (
        "were exchanged: cookie" in place.judge_stages(believed, {"over": 5, "cookie": 8}, lanes=True)[0].text
    )
    assert "are missing" in place.judge_stages({}, {}, lanes=True)[0].text
    assert "xdpwall load -i eth5" in place.judge_unlisted(["eth5"])[0].text


def test_packets_that_go_past_the_wall() -> None:
    before = {"eth0": 10, "eth1": 10}
    assert path.judge_path(before, {"eth0": 11, "eth1": 10}, {"eth0": 9_000, "eth1": 49}) == []
    (found,) = path.judge_path(before, before, {"eth0": 9_000})
    assert "9,000 packets came in, and the wall saw none" in found.text


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Counted({"eth0": 90}, (60, 30), 0, 80), "CPU 1 went back"),
        (Counted({"eth0": 110}, (60, 50), 7, 80), "7 packets were counted under reasons"),
        (Counted({"eth0": 120}, (70, 50), 0, 9_000), "lanes counted 8,920 packets"),
    ],
)
def test_sums(now: Counted, words: str) -> None:
    before = Counted({"eth0": 100}, (60, 40), 0, 80)
    assert path.judge_sums(None, before) == []
    assert path.judge_sums(before, before) == []
    assert any(words in found.text for found in path.judge_sums(before, now))


def test_ticks() -> None:
    start = Moment(1_000, 0, 0)

    def at(seconds: float, ticks: int, kernel: float | None = None) -> list[str]:
        ns = round(seconds * 1e9)
        now = Moment(1_000 + ticks, ns if kernel is None else round(kernel * 1e9), ns)
        return [finding.key for finding in clocks.judge_ticks(start, now, 250)]

    assert at(10, 2_500) == at(10, 2_530) == at(2, 0) == []
    assert at(10, 0) == ["stopped"]
    assert at(10, 10_000) == ["rate"]
    assert at(10, 2_500, kernel=4) == ["apart"]
    (found,) = clocks.judge_ticks(start, Moment(11_000, 10**10, 10**10), 250)
    assert "ticks 1000 times a second, and the wall was loaded for 250: bans last 0.2 times" in found.text


def test_a_date_before_the_load() -> None:
    assert clocks.judge_date(1_700_000_000_000, 1_700_000_000_000) == []
    assert "shows 1970-01-01 00:16 UTC" in clocks.judge_date(1_000_000, 1_700_000_000_000)[0].text


def test_room() -> None:
    tables = [
        Fill("proofs", 95, 100, "proof.capacity"),
        Fill("rules", 8, 8),
        Fill("allowlist", 80, 100),
        Fill("own", 1, 0),
    ]
    found = room.judge_fill(tables)
    assert [finding.key for finding in found] == ["proofs", "rules"]
    assert "raise proof.capacity" in found[0].text
    assert room.judge_rings(Rings(1, 5, 2), Rings(1, 900, 300)) == []  # held back on purpose
    assert [f.key for f in room.judge_rings(Rings(1, 5, 2), Rings(2, 5, 900))] == ["samples", "watch"]
    assert "refused 3 writes" in room.judge_writes(3)[0].text
    assert room.judge_writes(0) == []


# --- the line ---

SECOND = 1_000_000_000


def facts(name: str, packets: int, size: int, *, missed: int = 0, kind: str = "") -> LinkFacts:
    stats = {
        "rx_packets": packets,
        "rx_bytes": size,
        "rx_missed": missed,
        "rx_fifo": missed // 2,
        "rx_over": 0,
    }
    return LinkFacts(name, 3, True, 1500, kind, "native", 7, stats)


def test_what_is_on_the_wire() -> None:
    before, now = facts("eth0", 0, 0).stats, facts("eth0", 10_000, 600_000, missed=50).stats
    found = rate(before, now, 5 * SECOND, 10_000_000)
    assert found == LineRate(2_000, (120_000 + 2_000 * 24) * 8, 10, 10_000_000)
    assert round(found.share, 3) == 0.134
    assert LineRate(1, 1_000).share == 0.0  # capacity not known


class Line:
    """A line watch with readings of a test's own."""

    def __init__(self, *, speed: int = 10_000_000, kind: str = "") -> None:
        self.clock = ManualClock()
        self.losses = Losses({"eth0": {}}, Softnet())
        self.queues: dict[int, int] = {}
        nics = NicWatch(lambda _: self.losses)
        self.watch = LineWatch(nics, self.clock, lambda: self.queues, lambda _: speed)
        self.kind = kind
        self.packets = self.bytes = self.missed = 0
        self.config = Config()
        self.look()

    def look(self, packets: int = 0, size: int = 0, missed: int = 0) -> dict[str, dict[str, str]]:
        self.clock.advance_ms(5_000)
        self.packets, self.bytes, self.missed = (
            self.packets + packets,
            self.bytes + size,
            self.missed + missed,
        )
        link = facts("eth0", self.packets, self.bytes, missed=self.missed, kind=self.kind)
        return self.watch.look(["eth0"], {"eth0": link}, self.config)


def test_a_full_line() -> None:
    line = Line()
    assert line.look(10, 5_000_000)["link"] == {}  # 8 of 10 Mbit/s
    found = line.look(10, 5_900_000)
    assert "(saturated upstream): 9.44 Mbit/s of 10 Mbit/s come in" in found["link"]["eth0"]
    (full,) = line.watch.full
    assert (full.kind, full.interface, full.limit, full.unit) == ("link", "eth0", 10_000_000, "bps")
    began = full.from_ms
    line.look(10, 5_100_000)  # still: a little less is no end
    assert line.watch.full[0].from_ms == began
    assert line.look(10, 100)["link"]  # one quiet look is no end either
    assert line.look(10, 100)["link"] == {}
    assert line.watch.full == []


def test_small_packets_fill_a_line_before_their_bytes_do() -> None:
    """60,000 packets/s of 64 bytes: 31 Mbit/s of counted bytes, 42 on the wire."""
    line = Line(speed=45_000_000)
    assert "eth0" in line.look(300_000, 300_000 * 64)["link"]


def test_a_virtual_port_says_nothing_and_the_configuration_does() -> None:
    line = Line(kind="veth")
    assert line.look(10, 60_000_000)["link"] == {}
    line.config = Config.from_mapping({"uplink": {"bps": 50_000_000}})
    assert "of 50 Mbit/s" in line.look(10, 60_000_000)["link"]["eth0"]


def test_losses_before_the_wall() -> None:
    line = Line()
    found = line.look(10, 100, missed=5_000)
    assert "the NIC loses 1,000 packets/s" in found["nic"]["eth0"]
    line.losses = Losses({"eth0": {}}, Softnet(dropped=10_000, squeezed=50_000))
    line.queues = {3: 900}
    found = line.look()
    assert "the kernel loses 2,000 packets/s" in found["softnet"]["dropped"]
    assert "cut short 10,000 times/s" in found["softnet"]["squeezed"]
    assert {full.kind for full in line.watch.full} == {"kernel"}
    line.queues = {3: 5_900}
    assert "the outgoing queue drops 1,000 packets/s" in line.look()["queue"]["eth0"]


# --- the board ---


def test_a_trouble_keeps_its_beginning_while_its_figures_change() -> None:
    clock = ManualClock()
    health = Health(clock)
    began = clock.wall_ms()
    health.report("nic", {"eth0": "loses 5"})
    clock.advance_ms(3_000)
    health.report("nic", {"eth0": "loses 6"})
    assert [(t.check, t.text, t.since_ms) for t in health.troubles] == [("nic", "loses 6", began)]
    health.replace("other", ["12 of 20 are taken"])
    clock.advance_ms(1_000)
    health.replace("other", ["13 of 20 are taken"])
    assert len([change for change in health.changes() if change.check == "other"]) == 1
    health.report("nic", {})
    (gone,) = health.changes()
    assert (gone.check, gone.wrong, gone.lasted_ms) == ("nic", False, 4_000)
    assert health.changes() == []


def test_the_board_has_bounded_names() -> None:
    health = Health(ManualClock())
    health.set("program eth0", "x")
    health.set("what an attacker made up", "y")
    health.mended("bans", "three", 3)
    found = board.result(health)
    assert found["failed"] == ["program", "other"]
    assert len(found["passed"]) == len(CHECKS) - 2
    assert found["repairs"] == {"bans": 3}
    assert known("program") == "program"


def test_every_name_on_the_board_is_a_check() -> None:
    """A new one needs its line in the list, or it is shown as ``other``."""
    package = Path(checks.__file__).parents[2]
    pattern = re.compile(r'health\.(?:set|put|report|replace|clear|mended)\(\s*f?"([a-z]+)')
    written = {name for file in package.rglob("*.py") for name in pattern.findall(file.read_text("utf-8"))}
    assert written - set(CHECKS) == set()
    assert len(written) > 15


class Heard:
    """What a teller told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock)
        self.changes: list[Changes] = []
        self.notices: list[Notice] = []
        self.teller = Teller(self.health, self.clock, self.changes.append, self)  # type: ignore[arg-type]

    def tell(self, notice: Notice, _: int) -> None:
        """What a notifier does."""
        self.notices.append(notice)

    def second(self) -> None:
        self.clock.advance_ms(1_000)
        self.teller.second()

    @property
    def events(self) -> list[str]:
        return [event.event for changes in self.changes for event in changes.events]


def test_each_change_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard = Heard()
    heard.health.report("program", {"eth0": "exchanged"})
    for _ in range(12):
        heard.second()
    heard.health.report("program", {})
    heard.health.mended("program", "put back")
    for _ in range(3):
        heard.second()
    assert heard.events == ["problem", "solved", "mended"]
    assert [(n.moment, n.title) for n in heard.notices] == [
        ("problem", "xdpwall: exchanged"),
        ("problem", "xdpwall: right again: exchanged"),
    ]
    assert heard.notices[0].about != heard.notices[1].about
    assert len([r for r in caplog.records if "exchanged" in r.message]) == 2


def test_what_is_mended_soon_or_is_no_alarm_wakes_nobody() -> None:
    heard = Heard()
    heard.health.report("program", {"eth0": "exchanged"})
    heard.health.report("mtu", {"eth0": "larger"})
    heard.second()
    heard.health.report("program", {})
    for _ in range(30):
        heard.second()
    assert heard.notices == []
    assert heard.events == ["problem", "problem", "solved"]


def test_a_check_that_flaps_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    for _ in range(100):
        heard.health.report("nic", {"eth0": "x"})
        heard.health.report("nic", {})
        heard.second()
    assert len(heard.events) <= 90
    assert any("more changes of checks" in record.message for record in caplog.records)


# --- the watch over a wall ---


class Watch:
    """Checks over a rig, with interfaces of a test's own."""

    def __init__(self, rig: Rig) -> None:
        assert rig.wall is not None
        self.rig, self.wall = rig, rig.wall
        self.stats = {"rx_packets": 0}
        link = LinkFacts("eth9", 9, True, 1500, "veth", "native", 40, self.stats)
        nics = NicWatch(lambda _: Losses())
        self.checks = SelfCheck(
            rig.engine, nics, lambda: {"eth9": replace(link, stats=dict(self.stats))}, dict
        )

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.rig.ticks(10)
            self.rig.engine.second()
            self.checks.second()

    def texts(self, check: str) -> str:
        return "\n".join(t.text for t in self.rig.engine.health.troubles if t.check == check)

    def repairs(self, check: str) -> int:
        return self.rig.engine.health.repairs.get(check, 0)


@pytest.fixture
def watch(make_rig: Callable[..., Rig]) -> Watch:
    rig = make_rig(started=False)
    assert rig.wall is not None
    rig.wall.info = replace(rig.wall.info, config_digest=rig.config.dataplane_digest())
    rig.engine.start()
    made = Watch(rig)
    made.seconds(20)
    assert made.rig.engine.health.problems == []
    return made


def test_found_twice_before_it_is_told(watch: Watch) -> None:
    good = watch.wall.vitals.standings()[0]
    watch.wall.vitals.stands = [replace(good, mtu=9000, loaded=Loaded(good.tag, 1500))]
    watch.seconds(2)
    assert watch.texts("mtu") == ""
    watch.seconds(2)
    assert "MTU is 9000" in watch.texts("mtu")
    watch.wall.vitals.stands = None
    watch.seconds(2)
    assert watch.texts("mtu") == ""


def test_a_load_at_work_is_not_judged(watch: Watch) -> None:
    good = watch.wall.vitals.standings()[0]
    watch.wall.vitals.at_work = True
    watch.wall.vitals.stands = [replace(good, pinned_tag="other", loaded=Loaded(good.tag, 1500))]
    watch.seconds(6)
    assert watch.texts("program") == ""
    watch.rig.engine.health.set("load", "it was cut short")
    watch.seconds(4)
    assert "its tag is other" in watch.texts("program")


def test_repairs(watch: Watch) -> None:
    good = watch.wall.vitals.standings()[0]
    watch.wall.vitals.stands = [replace(good, kernel_mode="generic", egress=(), egress_pinned=4)]
    watch.seconds(12)
    assert watch.wall.listening == ["eth9"]  # not again and again
    assert (watch.repairs("mode"), watch.repairs("egress")) == (1, 1)
    assert "runs in generic mode" in watch.texts("mode")  # it did not help, so it is told


def test_a_wall_that_is_not_in_the_path(watch: Watch) -> None:
    watch.stats["rx_packets"] = 5_000
    watch.seconds(5)
    assert watch.texts("path") == ""
    watch.stats["rx_packets"] = 9_000
    watch.seconds(5)
    assert "4,000 packets came in, and the wall saw none of them" in watch.texts("path")
    watch.wall.feed("203.0.113.9", 10)
    watch.seconds(5)
    assert watch.texts("path") == ""


def test_tables(watch: Watch) -> None:
    vitals = watch.wall.vitals
    vitals.touched = ["budgets"]
    vitals.lanes_unasked = 2
    vitals.meta_lost = True
    vitals.unsound = Soundness(strays=1, bits=2)
    watch.rig.engine.set_addresses([Prefix.parse("192.0.2.1")], [])
    watch.wall.own = frozenset()
    watch.seconds(5)
    assert watch.repairs("budgets") == 0  # a load may be at work
    assert (watch.repairs("own"), watch.repairs("rules"), watch.repairs("wall")) == (1, 1, 1)
    watch.seconds(5)
    assert watch.repairs("budgets") == 1
    assert watch.wall.own


def test_a_rule_that_was_changed_is_taken_out(watch: Watch) -> None:
    rules = watch.wall.rules
    rule = Rule(rules.next_id(), Pattern(Lane.UDP, bytes(64), bytes(64)), False, 0, 1.0, 0.0, 10, 10)
    rules.put(rule, 600_000)
    watch.seconds(5)
    held = next(iter(rules.entries()))
    assert held.rule.id == rule.id
    assert watch.repairs("rules") == 0
    rules.remove(rule.id)
    rules.put(replace(rule, pattern=Pattern(Lane.UDP, b"\1" + bytes(63), bytes(64))), 600_000)
    watch.seconds(5)
    assert watch.repairs("rules") == 1
    assert rules.entries() == []


def test_bans_are_repaired_and_counted(watch: Watch) -> None:
    watch.rig.ban("203.0.113.9", "198.51.100.0/24")
    watch.seconds(6)
    assert watch.repairs("bans") == 0
    watch.wall.bans.clear()
    watch.seconds(6)
    assert watch.repairs("bans") == 2
    assert len(watch.wall.bans) == 2


def test_another_wall_begins_anew(watch: Watch, clock: ManualClock) -> None:
    watch.wall.vitals.full = [Fill("proofs", 99, 100, "proof.capacity")]
    watch.seconds(60)
    assert "proof.capacity" in watch.texts("fill")
    watch.rig.wall = FakeWall(clock)
    watch.rig.generation += 1
    watch.seconds(2)
    assert watch.texts("fill") == ""


def test_clock_rings_and_writes(watch: Watch) -> None:
    watch.wall.vitals.clocks = Moment(5, 0, 0)
    watch.seconds(6)
    assert watch.texts("clock") == ""
    now = watch.rig.clock.mono_ns()
    watch.wall.vitals.clocks = Moment(5, now, now)
    watch.seconds(5)
    assert "stand still" in watch.texts("clock")
    watch.rig.engine.sentinel.write_errors += 4
    watch.seconds(5)
    assert "refused 4 writes" in watch.texts("writes")
    watch.seconds(65)
    assert watch.texts("writes") == ""
