# SPDX-License-Identifier: Apache-2.0
"""What is said is what is known, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xdpwall.incident.model import Burst, Diversion, Incident, Probe, Sources, Totals, Users, Vector
from xdpwall.incident.words import brief, duration, verdict

BASE = Incident(
    id=1,
    key="2026-01-01-1",
    state="closed",
    opened_ms=1_000,
    first_packet_ms=0,
    updated_ms=200_000,
    ended_ms=65_000,
    peak_pps=50_000,
    totals=Totals(packets=1_000_000, dropped_packets=999_990, passed_packets=10),
    vectors=(Vector("SYN flood", "syn", "tcp", packets=1_000_000, confidence=0.9),),
    sources=Sources(seen=1_234),
)
GOOD = Users(
    flows_before=20,
    flows_during_min=19,
    flows_after=20,
    completed_per_s_during=5.0,
    probes=(Probe("web", during_ok=40, during_tries=40),),
)


def said(incident: Incident) -> str:
    return " ".join(verdict(incident))


def test_how_long_and_how_much() -> None:
    text = said(BASE)
    assert "It lasted 1 min 5 s" in text
    assert "1,000,000 packets came in all, 999,990 (99.999 %) were dropped, 10 passed" in text
    assert "SYN flood (100 %)" in text
    assert "1,234 source addresses" in text


def test_every_attempt_failed_only_when_the_data_say_so() -> None:
    assert "Every attempt failed" in said(replace(BASE, users=GOOD))
    for users in (
        Users(),
        replace(GOOD, probes=()),
        replace(GOOD, probes=(Probe("web", during_ok=39, during_tries=40, last_error="no answer in time"),)),
        replace(GOOD, probes=(Probe("web", during_ok=2, during_tries=2),)),
        replace(GOOD, flows_during_min=3),
        replace(GOOD, flows_before=None),
    ):
        assert "Every attempt failed" not in said(replace(BASE, users=users))


def test_what_was_not_measured_is_said_to_be_unknown() -> None:
    assert "is not known: no probes of own services are configured" in said(BASE)
    assert "What kind of packets they were is not known" in said(replace(BASE, vectors=()))


def test_missed_probes_are_named() -> None:
    users = replace(GOOD, probes=(Probe("web", during_ok=39, during_tries=40, last_error="refused"),))
    assert "39 of 40 tries were answered while it was on (web missed 1: refused)" in said(
        replace(BASE, users=users)
    )


def test_observing_drops_nothing() -> None:
    assert "would have been dropped" in said(replace(BASE, policy="observe"))


def test_pulses_and_uncertain_kinds() -> None:
    text = said(
        replace(
            BASE,
            bursts=(Burst(0, 1), Burst(5, 6)),
            vectors=(Vector("IKE reflection", "udp", "udp", packets=5, confidence=0.6),),
        )
    )
    assert "in 2 pulses" in text
    assert "IKE reflection (100 %, uncertain)" in text


def test_what_else_went_on() -> None:
    assert "Nothing else was noticed" in said(BASE)
    found = (Diversion("port_scan", "203.0.113.1", 0, 1), Diversion("admin_login", "203.0.113.1", 0, 1))
    assert "1 port scan, 1 stranger completing" in said(replace(BASE, diversion=found))


def test_one_line() -> None:
    assert brief(BASE) == "SYN flood; peak 50,000 packets/s; 1,000,000 packets, 10 of them passed"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(200, "200 ms"), (65_000, "1 min 5 s"), (3_600_000, "1 h"), (90_061_000, "1 d 1 h")],
)
def test_durations(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text
