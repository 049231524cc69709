# SPDX-License-Identifier: Apache-2.0
"""Incidents on disk: found again, listed, pruned by age and size with their samples."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.conftest import TestPaths
from xdpwall.control import incident_ops, incident_samples, offline
from xdpwall.control import incident_tables as tables
from xdpwall.control.database import Database
from xdpwall.control.protocol import check_args
from xdpwall.errors import InputError, NotFoundError
from xdpwall.incident.model import Crossing, Incident, Samples, Totals
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

DAY = 86_400_000


def incident(number: int, *, state: str = "closed", ended_ms: int | None = None) -> Incident:
    return Incident(
        id=number,
        key=f"2026-01-{number:02}-1",
        state="open" if state == "open" else "closed",
        opened_ms=number * DAY,
        ended_ms=None if state == "open" else number * DAY + 1_000 if ended_ms is None else ended_ms,
        totals=Totals(packets=number * 100),
        thresholds=(Crossing(number * DAY, "syn lane over its budget", 5.0, 1.0),),
    )


@pytest.fixture
def database(paths: TestPaths) -> Iterator[Database]:
    made = Database(paths.database)
    for number in range(1, 6):
        made.work(lambda db, n=number: tables.put(db, incident(n), {"last_over_ms": n}))  # type: ignore[misc]
    yield made
    made.close()


def ask(database: Database, op: str, **args: Any) -> dict[str, Any]:
    return incident_ops.answer(database, op, check_args(op, args))


def test_the_newest_come_first(database: Database) -> None:
    rows = ask(database, "incident.list", limit=3)["incidents"]
    assert [row["id"] for row in rows] == [5, 4, 3]
    assert rows[0]["packets"] == 500
    assert rows[0]["crossed"] == ["syn lane over its budget"]
    assert [row["id"] for row in ask(database, "incident.list", since_ms=4 * DAY)["incidents"]] == [5, 4]


@pytest.mark.parametrize("name", [3, "3", "2026-01-03-1", " 3 "])
def test_one_by_its_number_or_name(database: Database, name: object) -> None:
    assert ask(database, "incident.show", id=name)["incident"]["id"] == 3


def test_the_last_is_the_default(database: Database) -> None:
    assert ask(database, "incident.show")["incident"]["id"] == 5


@pytest.mark.parametrize("name", ["99", "nothing", "1; DROP TABLE incidents", "9" * 40])
def test_there_is_no_such_incident(database: Database, name: str) -> None:
    with pytest.raises(NotFoundError, match="there is no incident"):
        ask(database, "incident.show", id=name)


@pytest.mark.parametrize("name", ["", None, True, 1.5, []])
def test_what_is_no_name(database: Database, name: object) -> None:
    with pytest.raises(InputError, match="'id'"):
        ask(database, "incident.show", id=name)


def test_a_record_is_written_over(database: Database) -> None:
    database.work(lambda db: tables.put(db, incident(5, state="open"), {}))
    assert ask(database, "incident.show")["incident"]["state"] == "open"
    assert len(ask(database, "incident.list")["incidents"]) == 5


def test_old_ones_go_but_never_an_open_one(database: Database) -> None:
    database.work(lambda db: tables.put(db, incident(1, state="open"), {}))
    gone = database.work(lambda db: tables.prune(db, 4 * DAY, 10**9, {}))
    assert sorted(gone) == [2, 3]
    assert [row["id"] for row in ask(database, "incident.list")["incidents"]] == [5, 4, 1]


def test_the_oldest_go_when_there_is_too_much(database: Database) -> None:
    gone = database.work(lambda db: tables.prune(db, 0, 1_000_000, {4: 600_000, 3: 600_000}))
    assert sorted(gone) == [1, 2, 3]


def test_without_a_controller(paths: TestPaths, database: Database) -> None:
    database.close()
    found = offline.call(paths, "incident.show", id="4")
    assert found["incident"]["id"] == 4


def sample(number: int) -> Sample:
    head = bytes([number % 256]) * 60
    return Sample(
        tick=number,
        length=1_500,
        reason=Reason.LANE_UDP,
        lane=Lane.UDP,
        slot=0,
        version=4,
        protocol=17,
        fragment=0,
        l3=14,
        l4=34,
        captured=60,
        head=head.ljust(HEAD_BYTES, b"\0"),
    )


def packets(path: Path) -> list[Any]:
    from pcapng import FileScanner, blocks

    with path.open("rb") as file:
        return [block for block in FileScanner(file) if isinstance(block, blocks.EnhancedPacket)]


def test_samples_are_bounded_private_and_carry_the_verdict(tmp_path: Path) -> None:
    kept = incident_samples.SampleFile(tmp_path, 7, 100)
    for second in range(50):
        kept.take([(second + n / 1_000, sample(n)) for n in range(500)])
    kept.close()
    path = incident_samples.path_of(tmp_path, 7)
    assert kept.known() == Samples(str(path), 100, path.stat().st_size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = packets(path)
    assert len(found) == 100
    assert found[0].options["opt_comment"] == "drop: lane_udp; udp lane"
    assert (found[0].captured_len, found[0].packet_len) == (60, 1_500)
    assert incident_samples.sizes(tmp_path) == {7: path.stat().st_size}
    incident_samples.forget(tmp_path, [7, 8])
    assert not path.exists()


def test_half_a_block_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    kept = incident_samples.SampleFile(tmp_path, 7, 1_000)
    kept.take([(1.0, sample(1)), (2.0, sample(2))])
    kept.close()
    path = incident_samples.path_of(tmp_path, 7)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    again = incident_samples.SampleFile(tmp_path, 7, 1_000, Samples(str(path), 2, 0))
    again.take([(3.0, sample(3))])
    again.close()
    assert [packet.packet_data[0] for packet in packets(path)] == [1, 3]
