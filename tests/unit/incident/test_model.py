# SPDX-License-Identifier: Apache-2.0
"""The record goes to JSON and back unchanged, and what is not a record is refused with the place named."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from xdpwall.errors import InputError
from xdpwall.incident import model
from xdpwall.incident.plain import from_plain, to_plain


def full() -> model.Incident:
    """A record with something in each list."""
    return model.Incident(
        id=7,
        key="2026-11-23-1",
        state="closed",
        opened_ms=1_000,
        ended_ms=9_000,
        linked=(3,),
        totals=model.Totals(packets=10, dropped_packets=9, dropped_by_reason={"lane_syn": 9}),
        vectors=(model.Vector("SYN flood", "syn", "tcp", local_port=443, confidence=0.9, why="flags"),),
        targets=(model.Target("192.0.2.1", 443, "tcp", 10),),
        sources=model.Sources(seen=2, top=(model.Source("198.51.100.1", 5, 300, country="RU"),)),
        origin=model.Origin(
            by_country=(model.Share("RU", "Russia", 5, 300, 1, 0.5, spoofable_packets=5),),
            database=model.GeoDatabase("geo", "2026-06", "CC BY 4.0"),
        ),
        thresholds=(model.Crossing(1_000, "syn lane", 812.0, 100.0),),
        actions=(model.Action(1_100, "ban", "198.51.100.1"),),
        ledger=model.Ledger(first_packet_ms=999.5),
        timeline=(model.Point(1_000, 10, 1, 9, 8_000, {"syn": 10}),),
        users=model.Users(flows_before=3, probes=(model.Probe("web", during_worst_ms=1.5),)),
        diversion=(model.Diversion("port_scan", "203.0.113.9", 1, 2, (22, 23), count=2),),
        verdict=("it was a flood",),
    )


def test_there_and_back() -> None:
    record = full()
    assert model.Incident.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_an_older_record_with_fewer_fields_can_be_read() -> None:
    record = model.Incident.from_json({"id": 1, "key": "k", "state": "open", "opened_ms": 5})
    assert record.vectors == ()
    assert record.ended_ms is None


def test_fields_of_a_newer_version_are_passed_over() -> None:
    data = full().to_json() | {"mood": "bad"}
    assert model.Incident.from_json(data) == full()


@pytest.mark.parametrize(
    ("change", "place"),
    [({"id": "x"}, "id"), ({"state": "gone"}, "state"), ({"totals": {"packets": None}}, "totals.packets")],
)
def test_what_is_wrong_is_named(change: dict[str, object], place: str) -> None:
    with pytest.raises(InputError, match=place.replace(".", r"\.")):
        model.Incident.from_json(full().to_json() | change)


def test_it_has_a_schema() -> None:
    assert set(model.json_schema()["required"]) == {"id", "key", "state", "opened_ms"}


def test_plain_values_are_those_of_the_schema() -> None:
    """The controller writes without pydantic what everybody reads with it."""
    record = full()
    assert record.to_json() == TypeAdapter(model.Incident).dump_python(record, mode="json")
    assert to_plain(float("nan")) is None


def test_the_controllers_own_records_come_back() -> None:
    written = json.loads(json.dumps(full().to_json()))
    assert from_plain(model.Incident, written) == full()
    assert from_plain(model.Incident, written | {"mood": "bad"}) == full()


@pytest.mark.parametrize(
    "data", [None, [], {"key": "k"}, {"id": 1, "key": "k", "state": "open", "opened_ms": 1, "totals": 5}]
)
def test_what_is_no_record_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="not a record that we wrote"):
        from_plain(model.Incident, data)
