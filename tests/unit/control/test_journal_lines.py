# SPDX-License-Identifier: Apache-2.0
"""What the controller's own lines say of themselves in the journal: whom they are about, and which incident."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.control import test_ops
from tests.unit.control.conftest import Rig, config, prefix
from tests.unit.control.test_incidents import listed, quiet, seconds, syn_flood
from tests.unit.control.test_journal import Journald
from xdpwall.control.journal import JournalHandler
from xdpwall.dataplane.fake import FakeWall

start = test_ops.start  # a fixture
BOT = "203.0.113.66"
Lines = Callable[[], list[dict[str, str]]]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """All that the journal got since it was asked last."""
    journald = Journald(tmp_path / "journal")
    handler = JournalHandler("test", journald.path)
    logger = logging.getLogger("xdpwall")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:], logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    journald.socket.setblocking(False)

    def read() -> list[dict[str, str]]:
        found = []
        while True:
            try:
                found.append(journald.entry())
            except BlockingIOError:
                return found

    yield read
    logger.handlers[:], logger.level, logger.propagate = before
    handler.close()
    journald.socket.close()


def of(event: str, found: list[dict[str, str]]) -> list[dict[str, str]]:
    return [line for line in found if line.get("XDPWALL_EVENT") == event]


@pytest.fixture
def attack(make_rig: Callable[..., Rig], wall: FakeWall) -> Rig:
    """The third second of an attack, in which nobody was banned yet. Nobody is to be sent a message."""
    made = make_rig(notify={"on": []})
    seconds(made, 30, quiet(wall))
    seconds(made, 3, syn_flood(wall))
    assert made.engine.incidents.open
    return made


def test_an_incident_opens_and_closes(attack: Rig, wall: FakeWall, lines: Lines) -> None:
    """It is in the log whatever messages the operator wants."""
    (key,) = (incident["key"] for incident in listed(attack))
    seconds(attack, 120, quiet(wall))
    assert not attack.engine.incidents.open
    (line,) = of("incident", lines())
    assert (line["XDPWALL_INCIDENT"], line["PRIORITY"]) == (key, "4")
    assert f"{key} is over" in line["MESSAGE"]
    seconds(attack, 3, syn_flood(wall))
    (line,) = of("incident", lines())
    assert "again" in line["MESSAGE"] or "has opened" in line["MESSAGE"]
    assert line["XDPWALL_INCIDENT"]


def test_a_ban_names_source_and_incident(attack: Rig, wall: FakeWall, lines: Lines) -> None:
    (key,) = (incident["key"] for incident in listed(attack))

    def step() -> None:
        syn_flood(wall)()
        wall.feed(BOT, 20_000, kind="udp")

    seconds(attack, 2, step)
    (line,) = of("ban", lines())
    assert (line["XDPWALL_SOURCE"], line["XDPWALL_INCIDENT"]) == (BOT, key)
    assert line["XDPWALL_REASON"]


def test_no_incident_no_field(rig: Rig, wall: FakeWall, lines: Lines) -> None:
    """A source over its limit on a day that has no incident yet."""
    rig.engine.tick()
    rig.clock.advance_ms(100)
    rig.engine.throttle.line("ban", "banned")
    (line,) = of("ban", lines())
    assert "XDPWALL_INCIDENT" not in line


def test_an_incident_that_outlives_the_controller(
    attack: Rig, make_rig: Callable[..., Rig], lines: Lines
) -> None:
    (key,) = (incident["key"] for incident in listed(attack))
    lines()
    make_rig(notify={"on": []})
    (line,) = of("incident", lines())
    assert (line["XDPWALL_INCIDENT"], "goes on" in line["MESSAGE"]) == (key, True)


def test_what_the_operator_does(start: Callable[..., test_ops.Process], lines: Lines) -> None:
    """Each ban with its address."""
    process = start(config())
    process.ask("ban.add", items=[{"prefix": BOT}, {"prefix": "198.51.100.0/24"}])
    process.ask("ban.del", prefixes=[BOT])
    process.ask("allow.add", prefixes=["192.0.2.9"])
    found = lines()
    assert [line["XDPWALL_SOURCE"] for line in of("operator ban", found)] == [BOT, "198.51.100.0/24"]
    assert [line["XDPWALL_SOURCE"] for line in of("operator unban", found)] == [BOT]
    assert [line["XDPWALL_SOURCE"] for line in of("operator allow", found)] == ["192.0.2.9"]


def test_the_kernel_differed(rig: Rig, wall: FakeWall, lines: Lines) -> None:
    """A ban that somebody else put into the kernel's map."""
    rig.ticks(100)
    wall.bans.put(prefix(BOT), 600_000)
    rig.ticks(100)
    assert wall.bans.get(prefix(BOT)) is None
    named = [line["XDPWALL_SOURCE"] for line in of("reconcile", lines()) if "XDPWALL_SOURCE" in line]
    assert named == [BOT]
