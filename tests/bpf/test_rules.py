# SPDX-License-Identifier: Apache-2.0
"""Fingerprint rules in the kernel: what matches, what comes before a rule, how long one lasts."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.bpf.packets import (
    ACK,
    DEST_OPTIONS,
    ICMP,
    ICMPV6,
    IPV4,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    VLAN,
    ethernet,
    fragment,
    frame4,
    frame6,
    icmp,
    ipv4,
    options_header,
    tcp,
    udp,
)  # fmt: skip
from tests.bpf.scene import DROP, PASS
from tests.bpf.talk import PEER4, Talk, talking, tight
from tests.bpf.test_samples import fresh
from xdpwall.config import Config
from xdpwall.dataplane.interface import Count
from xdpwall.errors import KernelError
from xdpwall.fingerprint import SIZE, Pattern, Rule, features
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

MSS = bytes([2, 4, 5, 0xB4])
LINUX = MSS + bytes([4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7])
LONG = bytes(range(1, 100))
frame_syn = partial(tcp, SYN)

FRAMES = {
    "udp": frame4(udp(LONG, sport=123, dport=53)),
    "udp, one byte": frame4(udp(b"x", dport=53)),
    "udp, empty": frame4(udp(dport=53)),
    "udp, 31 bytes": frame4(udp(LONG[:31], dport=53)),
    "udp, 32 bytes": frame4(udp(LONG[:32], dport=53)),
    "udp, padded frame": frame4(udp(b"abc", dport=53)) + bytes(15),
    "udp, ip options": frame4(udp(b"hello", dport=53), options=bytes([1, 1, 1, 0])),
    "udp, vlan": frame4(udp(LONG, dport=53), vlans=[VLAN]),
    "udp, first fragment": frame4(udp(LONG[:40], dport=53, length=80), flags=1),
    "syn, no options": frame4(tcp(SYN), TCP),
    "syn, mss": frame4(tcp(SYN, options=MSS), TCP),
    "syn, linux": frame4(tcp(SYN, options=LINUX), TCP),
    "syn, most options": frame4(tcp(SYN, options=bytes([1] * 40)), TCP),
    "syn, data": frame4(tcp(SYN, b"GET / HTTP/1.1", options=MSS), TCP),
    "ack": frame4(tcp(ACK), TCP),
    "data": frame4(tcp(PSH | ACK, LONG, options=bytes([1, 1, 8, 10]) + LONG[:8]), TCP),
    "short data": frame4(tcp(PSH | ACK, b"abc"), TCP),
    "rst": frame4(tcp(RST, sport=80, dport=50000), TCP),
    "ping": frame4(icmp(8, LONG), ICMP),
    "unreachable": frame4(icmp(3, LONG, code=3), ICMP),
    "gre": frame4(LONG, 47),
    "esp, two bytes": frame4(b"ab", 50),
    "later fragment": frame4(LONG[:80], UDP, offset=1480),
    "udp over ipv6": frame6(udp(LONG, sport=53, dport=53)),
    "udp over ipv6, options": frame6(udp(LONG, dport=53), extensions=[options_header(DEST_OPTIONS, units=1)]),
    "syn over ipv6": frame6(tcp(SYN, options=LINUX), TCP),
    "ping over ipv6": frame6(icmp(128, LONG), ICMPV6),
    "first fragment over ipv6": frame6(udp(LONG[:40], dport=53, length=80), extensions=[fragment(0, more=True)]),
    "later fragment over ipv6": frame6(LONG[:80], UDP, extensions=[fragment(1480)]),
}  # fmt: skip
ALL = bytes([0xFF] * SIZE)
NONE = bytes(SIZE)


@pytest.fixture(scope="module")
def shared() -> Iterator[Talk]:
    with talking(tight()) as made:
        yield made


@pytest.fixture
def talk(shared: Talk) -> Iterator[Talk]:
    """Budgets spent, so that each packet of a stranger is over and nothing but a rule says so."""
    shared.reset()
    shared.wall.set_budgets(tight().lanes, Config().proof)
    shared.wall.set_ports({443, 80, 50000}, {53, 123})
    shared.exhaust(tcp(ACK))
    yield shared
    shared.wall.rules.clear()


def seen(talk: Talk, frame: bytes) -> Sample:
    fresh(talk.wall)
    talk.probe.run(frame)
    (sample,) = talk.wall.samples()
    return sample


def put(talk: Talk, pattern: Pattern, *, observe: bool = False, remaining_ms: int = 60_000) -> Rule:
    rule = Rule(talk.wall.rules.next_id(), pattern, observe)
    talk.wall.rules.put(rule, remaining_ms)
    return rule


def drops(talk: Talk, frame: bytes) -> bool:
    return talk.probe.run(frame).reason is Reason.FINGERPRINT


@pytest.mark.parametrize("name", FRAMES)
def test_python_and_the_kernel_see_the_same_features(talk: Talk, name: str) -> None:
    """A rule of all 64 bytes, made from the sample, matches the very packet; with any byte changed it does not."""
    frame = FRAMES[name]
    sample = seen(talk, frame)
    value = features(sample)
    put(talk, Pattern(sample.lane, ALL, value))
    assert drops(talk, frame)
    for at in range(SIZE):
        talk.wall.rules.clear()
        other = value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :]
        put(talk, Pattern(sample.lane, ALL, other))
        assert not drops(talk, frame), f"byte {at}"


def test_python_and_the_kernel_agree_on_any_pattern(talk: Talk) -> None:
    """Random masks, values and ranges, near enough to real packets that about half of them match."""
    chance = random.Random(7)
    packets = [(frame, seen(talk, frame)) for frame in FRAMES.values()]
    matched = 0
    for _ in range(400):
        frame, sample = chance.choice(packets)
        _, like = chance.choice([p for p in packets if p[1].lane is sample.lane])
        mask = bytearray(SIZE)
        for at in chance.sample(range(SIZE), chance.randint(0, 5)):
            mask[at] = chance.choice([0xFF, 0x0F, 1 << chance.randrange(8)])
        value = bytes(a & b for a, b in zip(features(like), mask, strict=True))
        limits = [
            None if chance.random() < 0.6 else tuple(sorted((chance.randrange(top), chance.randrange(top))))
            for top in (256, 1600, 65536)
        ]
        pattern = Pattern(sample.lane, bytes(mask), value, *limits)  # type: ignore[arg-type]
        put(talk, pattern)
        expected = pattern.matches(features(sample))
        matched += expected
        assert drops(talk, frame) == expected, (pattern, frame.hex())
        talk.wall.rules.clear()
    assert 50 < matched < 350


def pattern_of(talk: Talk, frame: bytes, *places: int) -> Pattern:
    """These bytes of the features as the packet has them."""
    sample = seen(talk, frame)
    mask = bytes(0xFF if at in places else 0 for at in range(SIZE))
    return Pattern(sample.lane, mask, bytes(a & b for a, b in zip(features(sample), mask, strict=True)))


REFLECTED = frame4(udp(LONG, sport=123, dport=53), source="203.0.113.50")
FROM_123 = (0, 8, 9)


def test_ranges_include_both_ends(talk: Talk) -> None:
    for low, high, hit in (
        (100, 123, True),
        (123, 130, True),
        (0, 122, False),
        (124, 65535, False),
        (123, 123, True),
    ):
        put(talk, Pattern(Lane.UDP, NONE, NONE, source_port=(low, high)))
        assert drops(talk, REFLECTED) == hit
        talk.wall.rules.clear()
    for ttl in (63, 64, 65):
        put(talk, Pattern(Lane.UDP, NONE, NONE, ttl=(64, 64)))
        frame = ethernet(ipv4(udp(dport=53), UDP, source="203.0.113.9", ttl=ttl), IPV4)
        assert drops(talk, frame) == (ttl == 64)
        talk.wall.rules.clear()


def test_a_rule_is_for_its_lane_alone(talk: Talk) -> None:
    put(talk, Pattern(Lane.ICMP, NONE, NONE))
    assert talk.probe.run(REFLECTED).reason is Reason.LANE_UDP
    assert drops(talk, frame4(icmp(), ICMP))


@pytest.mark.parametrize("v6", [False, True])
def test_a_known_flow_comes_before_a_rule(talk: Talk, v6: bool) -> None:
    """What this host asked for passes, though it looks like the attack's packets; the attack is dropped."""
    put(talk, Pattern(Lane.UDP, NONE, NONE))
    put(talk, Pattern(Lane.TCP, NONE, NONE))
    talk.say(udp(sport=40000, dport=123), UDP, v6=v6)
    talk.say(tcp(SYN, sport=40000, dport=443), TCP, v6=v6)
    assert talk.hear(udp(LONG, sport=123, dport=40000), UDP, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(tcp(SYN | ACK, sport=443, dport=40000), TCP, v6=v6) == (PASS, Reason.PASS_FLOW)
    assert talk.hear(udp(LONG, sport=123, dport=40000), UDP, v6=v6, stranger=True).verdict == DROP
    counts = [(held.matched.packets, held.proven.packets) for held in talk.wall.rules.entries()]
    assert counts == [(0, 0), (1, 0)]


def test_another_proof_passes_and_is_the_rules_collateral(talk: Talk) -> None:
    """A source that completed a handshake passes, and the rule is told that it would have hit it."""
    rule = put(talk, Pattern(Lane.SYN, NONE, NONE))
    talk.say(tcp(PSH | ACK, b"data", sport=443, dport=50000), TCP)
    frame = frame4(tcp(SYN, sport=51000, dport=443), TCP, source=PEER4)
    assert talk.probe.run(frame) == (PASS, Reason.PASS_PROVEN)
    stranger = frame4(tcp(SYN), TCP, source="203.0.113.50")
    assert talk.probe.run(stranger) == (DROP, Reason.FINGERPRINT)
    (held,) = talk.wall.rules.entries()
    assert held.rule == rule
    assert (held.matched.packets, held.matched.bytes) == (2, len(frame) + len(stranger))
    assert (held.proven.packets, held.proven.bytes) == (1, len(frame))


def test_a_rule_drops_though_there_is_budget_left(talk: Talk) -> None:
    """Below the gate, too: while a lane has rules nothing goes by them. What does not match is as free as ever."""
    pattern = pattern_of(talk, REFLECTED, *FROM_123)
    talk.wall.set_budgets(Config().lanes, Config().proof)
    talk.reset()
    talk.wall.set_ports((), {53})
    other = frame4(udp(LONG, sport=4444, dport=53), source="203.0.113.50")
    assert talk.probe.run(REFLECTED).reason is Reason.PASS
    put(talk, pattern)
    assert [talk.probe.run(REFLECTED).reason for _ in range(50)] == [Reason.FINGERPRINT] * 50
    assert {talk.probe.run(other).reason for _ in range(50)} == {Reason.PASS}
    talk.wall.set_budgets(Config().lanes, Config().proof)
    assert drops(talk, REFLECTED)


def test_a_rule_that_observes_changes_nothing(talk: Talk) -> None:
    rule = put(talk, pattern_of(talk, REFLECTED, *FROM_123), observe=True)
    assert talk.probe.run(REFLECTED) == (DROP, Reason.LANE_UDP)
    assert talk.wall.rules.observe(rule.id, False)
    assert drops(talk, REFLECTED)
    assert talk.wall.rules.observe(rule.id, True)
    assert talk.probe.run(REFLECTED) == (DROP, Reason.LANE_UDP)
    (held,) = talk.wall.rules.entries()
    assert held.matched.packets == 3
    assert held.rule == replace(rule, observe=True)
    talk.wall.set_budgets(Config().lanes, Config().proof)
    talk.reset()
    talk.wall.set_ports((), {53})
    assert talk.probe.run(REFLECTED) == (PASS, Reason.FINGERPRINT), "counted as what it would have been"
    assert talk.wall.observed()[talk.probe.interface] == {Reason.FINGERPRINT: Count(1, len(REFLECTED))}
    assert talk.wall.rules.entries()[0].matched.packets == 4


def test_one_that_drops_comes_before_one_that_observes(talk: Talk) -> None:
    put(talk, Pattern(Lane.UDP, NONE, NONE), observe=True)
    put(talk, Pattern(Lane.UDP, NONE, NONE))
    assert drops(talk, REFLECTED)
    assert [held.matched.packets for held in talk.wall.rules.entries()] == [0, 1]


def test_eight_rules_a_lane_each_find_theirs(talk: Talk) -> None:
    ports = [100 + n for n in range(8)]
    for port in ports:
        put(talk, Pattern(Lane.UDP, NONE, NONE, source_port=(port, port)))
    with pytest.raises(KernelError) as refused:
        put(talk, Pattern(Lane.UDP, NONE, NONE))
    assert refused.value.errno == errno.ENOSPC
    put(talk, Pattern(Lane.ICMP, NONE, NONE))  # another lane has room
    for port in [*ports, 108, 99]:
        frame = frame4(udp(sport=port, dport=53), source="203.0.113.50")
        assert drops(talk, frame) == (port in ports)
    held = {h.rule.pattern.source_port: h.matched.packets for h in talk.wall.rules.entries()}
    assert held == {(port, port): 1 for port in ports} | {None: 0}


def test_a_rule_ends_when_it_is_due(talk: Talk) -> None:
    """The kernel alone ends it: nobody writes. A place that is free again counts anew."""
    rule = put(talk, Pattern(Lane.UDP, NONE, NONE), remaining_ms=400)
    assert drops(talk, REFLECTED)
    assert talk.wall.rules.prolong(rule.id, 500)
    deadline = time.monotonic() + 10
    while drops(talk, REFLECTED) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert talk.probe.run(REFLECTED).reason is Reason.LANE_UDP
    assert talk.wall.rules.entries() == []
    assert not talk.wall.rules.prolong(rule.id, 60_000)
    put(talk, Pattern(Lane.UDP, NONE, NONE))
    assert talk.wall.rules.entries()[0].matched.packets == 0


def test_rules_outlive_the_reader(talk: Talk) -> None:
    rule = put(talk, pattern_of(talk, REFLECTED, *FROM_123))
    written = replace(rule, created_ms=1_700_000_000_123, cover=0.875, collateral=0.25, support=99, good=1000)
    talk.wall.rules.remove(rule.id)
    talk.wall.rules.put(written, 60_000)
    with type(talk.wall).open(talk.wall._paths) as other:
        (held,) = other.rules.entries()
        assert held.rule == written
        assert 59_000 < held.remaining_ms <= 61_000
        assert other.rules.next_id() == rule.id + 1
        assert other.rules.remove(rule.id)
    assert not drops(talk, REFLECTED)


def test_the_switch_back_finds_the_gate_open(talk: Talk) -> None:
    """The last rule gone, a quiet lane is quiet again: its packets do not go the long way."""
    talk.wall.set_budgets(Config().lanes, Config().proof)
    rule = put(talk, Pattern(Lane.UDP, NONE, NONE))
    words = talk.wall._array("budgets").words
    assert words[Lane.UDP * 8 + 6] > talk.wall._clock.now()
    talk.wall.rules.remove(rule.id)
    assert words[Lane.UDP * 8 + 6] == 0
