# SPDX-License-Identifier: Apache-2.0
"""What is said of a line that was full, and what a provider is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.incident.hostile import hostile
from tests.unit.incident.sample import incident
from xdpwall.incident.model import Incident, Saturation, Target, Vector
from xdpwall.incident.render import render
from xdpwall.incident.saturation import asks, merged, sentence
from xdpwall.incident.words import verdict

SAMPLE = incident()
BEGAN = SAMPLE.first_packet_ms
LINE = Saturation("link", "eth0", BEGAN, BEGAN + 60_000, 9_700_000_000, 10_000_000_000, "bps")
FULL = replace(
    SAMPLE,
    saturation=(LINE,),
    targets=(Target("192.0.2.10", 53, "udp", 100), Target("192.0.2.11", None, "udp", 10)),
    vectors=(
        Vector("NTP reflection", "udp", "udp", 53, 123, 9_000, 4_212_000, peak_pps=900, confidence=0.9),
        Vector("SYN flood", "syn", "tcp", 443, None, 1_000, 60_000, peak_pps=100, confidence=0.5),
    ),
)


def said(record: Incident) -> dict[str, str]:
    return {ask.name: ask.text for ask in asks(record)}


def test_what_goes_on_is_one_entry_with_its_highest_figure() -> None:
    later = replace(LINE, until_ms=LINE.until_ms + 5_000, value=9_900_000_000)
    lower = replace(LINE, until_ms=LINE.until_ms + 10_000, value=9_100_000_000)
    (one,) = merged(merged((LINE,), [later]), [lower])
    assert (one.from_ms, one.until_ms, one.value) == (LINE.from_ms, lower.until_ms, 9_900_000_000)
    again = replace(LINE, from_ms=LINE.until_ms + 60_000, until_ms=LINE.until_ms + 61_000)
    other = Saturation("nic", "eth0", LINE.from_ms, LINE.until_ms, 5_000, None, "pps")
    assert len(merged((one,), [again, other])) == 3


def test_nothing_is_said_where_nothing_was_full() -> None:
    assert asks(SAMPLE) == []
    assert sentence(SAMPLE) == ""
    assert not any("provider" in line for line in verdict(SAMPLE))


def test_what_to_ask_for() -> None:
    found = said(FULL)
    assert found["Targets"] == "192.0.2.10 port 53 (udp), 192.0.2.11 (udp)"
    assert "9.7 Gbit/s of 10 Gbit/s" in found["Peak seen here"]
    assert "since " in found["Time"]
    assert "UTC" in found["Time"]
    match = found["1. Ask for"]
    assert "destination 192.0.2.10, protocol 17, source port 123 -> drop" in match
    assert "destination 192.0.2.10, protocol 6, destination port 443 -> rate limit" in match
    assert "192.0.2.10" in found["3. Last resort"]
    vectors = [ask.text for ask in asks(FULL) if ask.name == "Vector"]
    assert vectors[0].startswith("NTP reflection: udp from port 123 to port 53, 468 bytes each")
    assert "SYN flood (uncertain)" in vectors[1]


def test_without_samples_it_still_says_something() -> None:
    bare = replace(FULL, targets=(), vectors=())
    found = said(bare)
    assert "all addresses behind this line" in found["Targets"]
    assert "the attacked address" in found["3. Last resort"]
    assert "1. Ask for" not in found


def test_lost_in_the_card() -> None:
    card = replace(FULL, saturation=(Saturation("nic", "eth0", BEGAN, BEGAN, 12_345, None, "pps"),))
    assert "the network card at eth0 lost up to 12,345 packets/s" in sentence(card)


@pytest.mark.parametrize("form", ["html", "md", "ncsc"])
def test_reports_have_it(form: str) -> None:
    text = render(FULL, form)
    for words in ("192.0.2.10", "RTBH", "flowspec", "scrubbing"):
        assert words in text, words
    assert "RTBH" not in render(SAMPLE, form)


@pytest.mark.parametrize("form", ["html", "md", "ncsc"])
def test_hostile_names_stay_harmless(form: str) -> None:
    text = render(replace(hostile(FULL), saturation=FULL.saturation), form)
    assert form != "html" or "<script" not in text.lower()
    assert not [char for char in text if ord(char) < 32 and char != "\n"]


def test_it_comes_back_from_json() -> None:
    assert Incident.from_json(FULL.to_json()).saturation == FULL.saturation
