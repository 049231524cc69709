# SPDX-License-Identifier: Apache-2.0
"""The search for rules: it finds what a tool leaves behind, and never describes mere traffic."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.detection import packets
from tests.unit.detection.packets import Make, many, mixed
from xdpwall import fingerprint as fp
from xdpwall.detection.fingerprint_evidence import source_number
from xdpwall.detection.fingerprint_fields import BY_NAME, FIELDS, Matrix, Terms, columns, matrix
from xdpwall.detection.fingerprint_prior import usual
from xdpwall.detection.fingerprint_search import ORDINARY, Bounds, Finding, search
from xdpwall.fingerprint import SIZE, features
from xdpwall.fingerprint_text import describe
from xdpwall.lanes import Lane
from xdpwall.sample import Sample

NONE: list[Sample] = []
ATTACK = 300


def table(samples: list[Sample]) -> Matrix:
    return matrix([features(one) for one in samples])


def found(attack: list[Sample], good: list[Sample], lane: Lane, **bounds: float) -> list[Finding]:
    sources = np.array([source_number(one) for one in attack], np.uint64)
    return search(table(attack), sources, table(good), lane, Bounds(**bounds))  # type: ignore[arg-type]


def hits(finding: Finding, samples: list[Sample]) -> float:
    return float(finding.terms.match(table(samples)).mean())


@pytest.mark.parametrize(
    ("make", "lane", "words"),
    [
        (packets.ntp, Lane.UDP, "udp from port 123, 468 bytes"),
        (packets.memcached, Lane.UDP, "from port 11211"),
        (packets.syn_ack, Lane.TCP, "tcp from port 443"),
        (packets.reflected(19, b"", 700), Lane.UDP, "from port 19"),
    ],
    ids=["ntp", "memcached", "syn-ack", "chargen"],
)
def test_reflection_is_known_by_its_port(make: Make, lane: Lane, words: str) -> None:
    """With no idea of what is good here: nobody has a reason to send answers from these ports unasked."""
    (finding,) = found(many(make, ATTACK, lane), NONE, lane)
    assert hits(finding, many(make, 1_000, lane, seed=9)) >= 0.97
    assert words in describe(finding.terms.pattern(lane))


def test_a_tool_that_sends_no_options(attack: int = ATTACK) -> None:
    good = many(packets.real_syn, 500, Lane.SYN, seed=3)
    (finding,) = found(many(packets.bare_syn, attack, Lane.SYN), good, Lane.SYN)
    assert hits(finding, many(packets.bare_syn, 1_000, Lane.SYN, seed=9)) >= 0.97
    assert hits(finding, many(packets.real_syn, 2_000, Lane.SYN, seed=10)) == 0
    assert "no options" in describe(finding.terms.pattern(Lane.SYN))


@pytest.mark.parametrize(
    ("make", "lane"),
    [
        (packets.linux_syn, Lane.SYN),
        (packets.windows_syn, Lane.SYN),
        (packets.real_syn, Lane.SYN),
        (packets.stray_ack, Lane.TCP),
        (packets.ping, Lane.ICMP),
        (packets.dns_query, Lane.UDP),
        (packets.random_udp(512), Lane.UDP),
        (packets.game_query, Lane.UDP),
        (packets.one_name, Lane.UDP),
    ],
    ids=["linux", "windows", "clients", "ack", "ping", "dns", "random", "game", "one name"],
)
def test_what_only_looks_like_traffic_makes_no_rule(make: Make, lane: Lane) -> None:
    """With no good packets known, and with hundreds of the attack's own kind known as good."""
    attack = many(make, ATTACK, lane)
    assert found(attack, NONE, lane) == []
    assert found(attack, many(make, 800, lane, seed=5), lane) == []


def test_a_question_of_few_players_is_no_rule_either() -> None:
    """One in a hundred good packets asks what the attack asks: dropping them all would be too much."""
    attack = many(packets.game_query, ATTACK, Lane.UDP)
    good = mixed(
        [many(packets.game_query, 10, Lane.UDP, seed=4), many(packets.dns_query, 990, Lane.UDP, seed=5)]
    )
    assert found(attack, good, Lane.UDP) == []


def test_a_tools_payload_is_a_rule_of_its_own() -> None:
    """Bytes that are no text and no header, the same in each packet."""
    attack = many(packets.templated, ATTACK, Lane.UDP)
    (finding,) = found(attack, NONE, Lane.UDP)
    assert hits(finding, many(packets.templated, 500, Lane.UDP, seed=9)) >= 0.97


def test_evidence_grows_into_a_rule() -> None:
    """Random bytes of one length: too little to go by at first, enough once thousands of good packets are known."""
    attack = many(packets.random_udp(512), ATTACK, Lane.UDP)
    good = many(packets.dns_query, 4_000, Lane.UDP, seed=6)
    assert found(attack, good[:100], Lane.UDP) == []
    (finding,) = found(attack, good, Lane.UDP)
    assert "540 bytes" in describe(finding.terms.pattern(Lane.UDP))
    assert hits(finding, many(packets.dns_query, 2_000, Lane.UDP, seed=7)) == 0


def test_a_single_source_is_not_described_but_banned() -> None:
    attack = many(packets.random_udp(512), ATTACK, Lane.UDP, sources=3)
    fixed = [
        packets.sample(one.head[:34] + b"\x04\xd2" + one.head[36:], Lane.UDP) for one in attack
    ]  # one port as well
    assert found(fixed, NONE, Lane.UDP) == []


def test_two_attacks_at_once_have_a_rule_each() -> None:
    attack = mixed([many(packets.ntp, 200, Lane.UDP), many(packets.memcached, 150, Lane.UDP, seed=2)])
    findings = found(attack, NONE, Lane.UDP)
    assert len(findings) == 2
    assert {hits(f, many(packets.ntp, 100, Lane.UDP, seed=9)) > 0.9 for f in findings} == {True, False}
    assert sum(f.cover for f in findings) >= 0.97


def test_good_packets_among_the_dropped_are_not_in_the_rule() -> None:
    """In a flood real clients are dropped, too: they are samples of the attack as far as anybody knows."""
    attack = mixed([many(packets.bare_syn, 240, Lane.SYN), many(packets.real_syn, 60, Lane.SYN, seed=2)])
    findings = found(attack, many(packets.real_syn, 300, Lane.SYN, seed=3), Lane.SYN)
    assert len(findings) == 1
    assert hits(findings[0], many(packets.real_syn, 1_000, Lane.SYN, seed=8)) == 0


def test_a_rule_spares_good_traffic_that_shares_its_port() -> None:
    """Our time server's clients send from 123 to 123, small; the reflected lists are long."""
    clients = many(packets.reflected(123, b"\x23", 48), 400, Lane.UDP, seed=3)
    (finding,) = found(many(packets.ntp, ATTACK, Lane.UDP), clients, Lane.UDP)
    assert hits(finding, clients) == 0


def test_too_few_packets_are_no_attack() -> None:
    assert found(many(packets.ntp, 40, Lane.UDP), NONE, Lane.UDP) == []
    assert found([], [], Lane.UDP) == []


def test_columns_and_patterns_say_the_same() -> None:
    chance = random.Random(3)
    raw = [chance.randbytes(SIZE) for _ in range(50)]
    rows = matrix(raw)
    for column, field in enumerate(FIELDS):
        terms = Terms({column: int(rows[7, column])}, {})
        pattern = terms.pattern(Lane.SYN)
        assert [pattern.matches(packet) for packet in raw] == terms.match(rows).tolist(), field.name
    for name in ("ttl", "length", "source_port"):
        low = int(np.median(rows[:, BY_NAME[name]]))
        terms = Terms({}, {BY_NAME[name]: (low, 65535 if name != "ttl" else 255)})
        assert [terms.pattern(Lane.UDP).matches(p) for p in raw] == terms.match(rows).tolist()


Tool = st.fixed_dictionaries(
    {
        "fixed": st.sets(st.integers(0, SIZE - 1), max_size=SIZE),
        "values": st.binary(min_size=SIZE, max_size=SIZE),
        "seed": st.integers(0, 1 << 30),
    }
)


def population(tool: dict[str, object], count: int, seed: int) -> Matrix:
    """Packets whose fixed bytes never change."""
    chance = random.Random(f"{tool['seed']} {seed}")
    values, fixed = tool["values"], tool["fixed"]
    assert isinstance(values, bytes)
    assert isinstance(fixed, set)
    rows = []
    for _ in range(count):
        packet = bytearray(chance.randbytes(SIZE))
        for at in fixed:
            packet[at] = values[at]
        rows.append(bytes(packet))
    return matrix(rows)


@settings(max_examples=60, deadline=None)
@given(attack=Tool, good=Tool, lane=st.sampled_from([Lane.SYN, Lane.TCP, Lane.UDP, Lane.ICMP, Lane.OTHER]),
       known=st.integers(0, 300), collateral=st.sampled_from([0.0, 0.001, 0.05]))  # fmt: skip
def test_whatever_is_found_keeps_to_its_bounds(
    attack: dict[str, object], good: dict[str, object], lane: Lane, known: int, collateral: float
) -> None:
    """For any attack and any good traffic: covers enough, spares enough, says more than what and where to."""
    packets_, normal = population(attack, 120, 1), population(good, known, 2)
    sources = np.arange(120, dtype=np.uint64)
    bounds = Bounds(collateral=collateral)
    plain = {BY_NAME[name] for name in ("protocol", "version", "target_port")}
    for finding in search(packets_, sources, normal, lane, bounds):
        assert finding.support >= bounds.support
        assert finding.support == int(finding.terms.match(packets_).sum())
        assert finding.hits == int(finding.terms.match(normal).sum()) <= collateral * known
        assert usual(finding.terms, lane) <= ORDINARY
        assert (finding.terms.values.keys() | finding.terms.spans.keys()) - plain
        assert finding.terms.values.keys() | finding.terms.spans.keys() <= set(columns(lane))
        pattern = finding.terms.pattern(lane)
        assert len(pattern.mask) == SIZE
        assert describe(pattern)


@settings(max_examples=60, deadline=None)
@given(tool=Tool, lane=st.sampled_from([Lane.SYN, Lane.TCP, Lane.UDP, Lane.ICMP]))
def test_no_rule_against_traffic_of_the_same_make(tool: dict[str, object], lane: Lane) -> None:
    """Good packets made as the attack's are: no rule, whatever they look like."""
    attack, good = population(tool, 120, 1), population(tool, 400, 2)
    for finding in search(attack, np.arange(120, dtype=np.uint64), good, lane, Bounds()):
        assert finding.hits == 0  # only ever a chance within the few that it was made from
        assert finding.terms.match(good).sum() == 0


def test_target_and_protocol_are_never_enough() -> None:
    """Not even where thousands of good packets went elsewhere."""
    attack = many(packets.random_udp(512, port=9987), ATTACK, Lane.UDP)
    for one in attack:
        assert one.target_port == 9987
    terms = Terms({BY_NAME["protocol"]: 17, BY_NAME["version"]: 4, BY_NAME["target_port"]: 9987}, {})
    assert usual(terms, Lane.UDP) == 1.0
    assert (
        usual(Terms({BY_NAME["flags"]: 2, BY_NAME["target_port"]: 443}, {BY_NAME["ttl"]: (40, 64)}), Lane.SYN)
        > 0.4
    )


def test_words_for_people() -> None:
    sample = many(packets.linux_syn, 1, Lane.SYN)[0]
    whole = fp.Pattern(Lane.SYN, bytes([0xFF] * SIZE), features(sample))
    text = describe(whole)
    for part in (
        "tcp from port",
        "to port 443",
        "60 bytes",
        "flags SYN",
        "options 02 04 05 b4 04 02 08 0a",
        "df",
    ):
        assert part in text
    assert (
        describe(fp.Pattern(Lane.FRAGMENT, bytes(SIZE), bytes(SIZE), length=(576, 1500)))
        == "ip fragment, 576-1500 bytes"
    )
