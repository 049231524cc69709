# SPDX-License-Identifier: Apache-2.0
"""Limits held in the kernel: exactly the limit passes, to the packet, and the rest is dropped under its own reason.

Buckets fill with time, so each check allows what the kernel's own clock says may have come in between, and no more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.bpf.packets import ACK, SYN, TCP, UDP, frame4, frame6, tcp, udp
from tests.bpf.scene import PASS, Probe, lean, loaded
from tests.bpf.test_meters import prefix, source
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

METERS = {"enabled": True, "sources": 131_072, "prefixes": 131_072}
"""So large that a new source finds a free place at once: limits are exact for whoever has one."""
OFF = {"pps": 0, "bps": 0, "syn": 0, "udp": 0, "icmp": 0}
PPS, SYNS = 50, 10
BPS = 8 * 131_072
"""One second's worth fills the smallest bucket for bytes."""


@pytest.fixture(scope="module")
def limited() -> Iterator[Probe]:
    """Per source: 50 packets and 10 SYN a second, a second at once. No limit per prefix."""
    limits = {"source": {**OFF, "pps": PPS, "syn": SYNS}, "prefix": OFF}
    with loaded(lean(meters=METERS, limits=limits)) as probe:
        yield probe


def outcomes(probe: Probe, packets: list[tuple[bytes, int]]) -> tuple[Counter[Reason], float]:
    """Verdicts of packets, each repeated, and how many seconds the kernel's clock says it took, at most."""
    before, clock = probe.wall.verdicts()["wt0"], probe.wall.sources()
    for packet, repeat in packets:
        probe.push(packet, repeat)
    seconds = (probe.wall.sources().now_tick - clock.now_tick + 1) / clock.tick_hz
    after = probe.wall.verdicts()["wt0"]
    moved = {r: c.packets - (before[r].packets if r in before else 0) for r, c in after.items()}
    return Counter({r: n for r, n in moved.items() if n}), seconds


def within(passed: int, limit: float, seconds: float, per_second: float) -> None:
    """The limit passes, and what the bucket gained meanwhile. The very first packet of a source is not yet metered."""
    assert int(limit) <= passed <= limit + 1 + seconds * per_second


@pytest.mark.parametrize("address", ["198.18.1.1", "2001:db8:5001::1"])
def test_packets_of_a_source(limited: Probe, address: str) -> None:
    packet = (frame6 if ":" in address else frame4)(source=address)
    counts, seconds = outcomes(limited, [(packet, 1_000)])
    assert set(counts) == {Reason.PASS, Reason.SOURCE_PPS}
    assert counts.total() == 1_000
    within(counts[Reason.PASS], PPS, seconds, PPS)
    seen = source(limited, address)
    assert (seen.packets, seen.drops) == (1_000, counts[Reason.SOURCE_PPS])
    assert seen.bytes == 1_000 * len(packet)


def test_a_source_below_its_limit_loses_nothing(limited: Probe) -> None:
    counts, _ = outcomes(limited, [(frame4(source="198.18.2.1"), PPS)])
    assert counts == {Reason.PASS: PPS}


def test_sources_do_not_share_a_limit(limited: Probe) -> None:
    counts, _ = outcomes(limited, [(frame4(source=f"198.18.3.{n}"), PPS) for n in range(1, 21)])
    assert counts == {Reason.PASS: 20 * PPS}


def test_a_bucket_fills_again(limited: Probe) -> None:
    """At the rate of its limit, and never beyond its size."""
    packet = frame4(source="198.18.4.1")
    outcomes(limited, [(packet, 500)])
    hz, started = limited.wall.info.tick_hz, limited.wall.sources().now_tick
    time.sleep(0.4)
    least = (limited.wall.sources().now_tick - started) / hz
    counts, seconds = outcomes(limited, [(packet, 500)])
    most = (limited.wall.sources().now_tick - started + 1) / hz
    assert min(PPS, least * PPS) - 1 <= counts[Reason.PASS] <= min(PPS, most * PPS) + seconds * PPS + 1


def test_syn_has_a_limit_of_its_own(limited: Probe) -> None:
    """What is refused for it does not use up the packets: the source's other traffic goes on."""
    syn = frame4(tcp(SYN), TCP, source="198.18.5.1")
    others = frame4(tcp(ACK), TCP, source="198.18.5.1")
    counts, seconds = outcomes(limited, [(syn, 100)])
    assert set(counts) == {Reason.PASS, Reason.SOURCE_SYN}
    within(counts[Reason.PASS], SYNS, seconds, SYNS)
    more, _ = outcomes(limited, [(others, PPS - SYNS - 2)])
    assert more == {Reason.PASS: PPS - SYNS - 2}
    answers, _ = outcomes(limited, [(frame4(tcp(SYN | ACK), TCP, source="198.18.5.2"), PPS)])
    assert answers == {Reason.PASS: PPS}, "a SYN-ACK is no SYN"


def test_the_allowed_have_no_limit(limited: Probe) -> None:
    limited.wall.allow.put(Prefix.parse("198.18.6.0/24"))
    counts, _ = outcomes(limited, [(frame4(source="198.18.6.1"), 500)])
    assert counts == {Reason.PASS_ALLOWED: 500}
    assert source(limited, "198.18.6.1").drops == 0


def test_a_ban_comes_before_a_limit(limited: Probe) -> None:
    outcomes(limited, [(frame4(source="198.18.7.1"), 500)])
    limited.wall.bans.put(Prefix.parse("198.18.7.1"), None)
    counts, _ = outcomes(limited, [(frame4(source="198.18.7.1"), 100)])
    assert counts == {Reason.BANNED_SOURCE: 100}


def test_malformed_packets_stay_malformed(limited: Probe) -> None:
    """They are dropped anyway and take nothing from the bucket."""
    counts, _ = outcomes(limited, [(frame4(tcp(0), TCP, source="198.18.8.1"), 500)])
    assert counts == {Reason.TCP_FLAGS: 500}
    counts, _ = outcomes(limited, [(frame4(source="198.18.8.1"), PPS - 1)])
    assert counts == {Reason.PASS: PPS - 1}


def test_link_traffic_has_no_limit(limited: Probe) -> None:
    counts, _ = outcomes(limited, [(frame4(source="198.18.9.1", target="224.0.0.251"), 500)])
    assert counts == {Reason.PASS_LINK: 500}


@pytest.fixture(scope="module")
def wide() -> Iterator[Probe]:
    """Per source: 1 Mbit/s. Per prefix: 100 packets and 20 SYN a second."""
    limits = {"source": {**OFF, "bps": BPS}, "prefix": {**OFF, "pps": 100, "syn": 20}}
    with loaded(lean(meters=METERS, limits=limits, policy="observe")) as probe:
        yield probe


@pytest.mark.parametrize("size", [60, 1_400])
def test_bytes_of_a_source(wide: Probe, size: int) -> None:
    """In observe mode: counted as if dropped, and passed."""
    packet = frame4(udp(bytes(size)), UDP, source=f"198.19.{size % 250}.1")
    fits = 131_072 // len(packet)
    sent = min(90, fits) if fits > 90 else fits + 40
    counts, seconds = outcomes(wide, [(packet, sent)])
    passed = counts[Reason.PASS]
    if fits > 90:  # below both limits
        assert counts == {Reason.PASS: sent}
    else:
        assert set(counts) <= {Reason.PASS, Reason.SOURCE_BPS, Reason.PREFIX_PPS}
        within(passed, 131_072 / len(packet), seconds, 131_072 / len(packet))
    assert wide.run(frame4(source="198.19.255.1")) == (PASS, Reason.PASS)


@pytest.mark.parametrize("stem", ["198.19.1.{}", "2001:db8:6001:{}::1"])
def test_packets_of_a_prefix(wide: Probe, stem: str) -> None:
    """Of all its sources together; none of them is over a limit of its own."""
    build = frame6 if ":" in stem else frame4
    counts, seconds = outcomes(wide, [(build(source=stem.format(n)), 10) for n in range(1, 41)])
    assert set(counts) == {Reason.PASS, Reason.PREFIX_PPS}
    assert counts.total() == 400
    within(counts[Reason.PASS], 100, seconds, 100)
    around = Prefix.parse(stem.format(1))
    seen = prefix(wide, str(Prefix.covering(around.packed, 24 if around.version == 4 else 48)))
    assert (seen.packets, seen.drops) == (400, counts[Reason.PREFIX_PPS])


def test_syn_of_a_prefix(wide: Probe) -> None:
    counts, seconds = outcomes(
        wide, [(frame4(tcp(SYN), TCP, source=f"198.19.2.{n}"), 2) for n in range(1, 41)]
    )
    assert set(counts) == {Reason.PASS, Reason.PREFIX_SYN}
    within(counts[Reason.PASS], 20, seconds, 20)


def test_neighbour_prefixes_do_not_share_a_limit(wide: Probe) -> None:
    counts, _ = outcomes(wide, [(frame4(source=f"198.19.{n}.1"), 90) for n in range(3, 13)])
    assert counts == {Reason.PASS: 900}


def test_a_short_burst() -> None:
    """``burst`` is how much may come at once: a tenth of a second of 1,000 packets is 100."""
    limits = {"source": {**OFF, "pps": 1_000, "burst": "100ms"}, "prefix": OFF}
    with loaded(lean(meters=METERS, limits=limits)) as probe:
        counts, seconds = outcomes(probe, [(frame4(source="198.18.1.1"), 2_000)])
        within(counts[Reason.PASS], 100, seconds, 1_000)
        assert counts[Reason.SOURCE_PPS] == 2_000 - counts[Reason.PASS]
