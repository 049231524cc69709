# SPDX-License-Identifier: Apache-2.0
"""Sources and prefixes together: who is blamed, and that nobody is told of twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detection.kit import HZ, Table, prefix, uint64, v4, v6
from xdpwall.detection.detector import Detection, Detector
from xdpwall.detection.finding import Finding, Scope, short_number
from xdpwall.detection.keys import prefix_keys, prefix_of
from xdpwall.detection.limits import Kind, Limits
from xdpwall.detection.prefixes import attribute
from xdpwall.detection.prefixset import PrefixSet
from xdpwall.detection.rates import RateMeter

NET = 0xC6336400  # 198.51.100.0
SOURCE_LIMITS = Limits(pps=20_000, syn=100)
PREFIX_LIMITS = Limits(pps=100_000, syn=1_000)


class Host:
    """Both meter tables of a wall, and a detector over them."""

    def __init__(self, source: Limits = SOURCE_LIMITS, net: Limits = PREFIX_LIMITS) -> None:
        self.banned, self.spared = PrefixSet(), PrefixSet()
        self.sources, self.prefixes = Table(cpus=1, per_cpu=512), Table(cpus=1, per_cpu=64)
        self.detector = Detector(source, net, banned=self.banned, spared=self.spared)
        self.places: dict[int, int] = {}
        self.tick()

    def syn(self, key: int, packets: int) -> None:
        """SYNs of a source, if it is not banned."""
        if packets and not self.banned.covers_sources(uint64(key))[0]:
            net = int(prefix_keys(uint64(key))[0])
            self.sources.count(self.places.setdefault(key, len(self.places)), key, packets, syn=packets)
            nets = [int(k) for k in self.prefixes.slots["key"] if k]
            place = nets.index(net) if net in nets else len(nets)
            self.prefixes.count(place, net, packets, syn=packets)

    def tick(self) -> Detection:
        self.sources.wait()
        self.prefixes.wait()
        return self.detector.observe(self.sources.snapshot(), self.prefixes.snapshot())

    def flood(self, loads: dict[int, int]) -> list[Finding]:
        for key, packets in loads.items():
            self.syn(key, packets)
        return self.tick().findings


def names(findings: list[Finding]) -> list[str]:
    return [str(finding.prefix) for finding in findings]


def test_a_quiet_host() -> None:
    host = Host()
    seen = host.tick()
    assert (seen.findings, len(seen.sources), len(seen.prefixes)) == ([], 0, 0)
    assert host.flood({v4(NET + 1): 9, v6(0x20010DB800000001): 9}) == []


def test_many_thin_sources_of_one_prefix() -> None:
    """None is over its own limit; together they are: the prefix."""
    host = Host()
    thin = {v4(NET + number): 9 for number in range(150)}
    findings = [finding for _ in range(4) for finding in host.flood(thin)]
    assert [(f.scope, str(f.prefix), f.kind) for f in findings] == [
        (Scope.PREFIX, "198.51.100.0/24", Kind.SYN)
    ]
    assert findings[0].text == "syn 13500/s over 1000/s"
    assert host.detector.over[1].tolist() == [v4(NET)]


def test_many_thin_sources_of_an_ipv6_site() -> None:
    host = Host()
    thin = {v6(0x20010DB8_00070000 + number): 9 for number in range(150)}
    findings = [finding for _ in range(4) for finding in host.flood(thin)]
    assert names(findings) == ["2001:db8:7::/48"]


def test_one_heavy_source_is_banned_and_not_its_prefix() -> None:
    host = Host()
    loads = {v4(NET + 1): 5_000, **{v4(NET + number): 5 for number in range(2, 40)}}
    assert names(host.flood(loads)) == ["198.51.100.1"]
    host.banned.add([prefix("198.51.100.1")])
    for _ in range(10):
        assert host.flood({v4(NET + number): 2 for number in range(2, 40)}) == []


def test_a_source_below_its_own_limit_is_blamed_for_its_prefix() -> None:
    host = Host(source=Limits(syn=50_000))
    (found,) = host.flood({v4(NET + 1): 900, v4(NET + 2): 20, v4(NET + 3): 30}) or host.flood(
        {v4(NET + 1): 900, v4(NET + 2): 20, v4(NET + 3): 30}
    )
    assert (found.scope, str(found.prefix), str(found.within)) == (
        Scope.SOURCE,
        "198.51.100.1",
        "198.51.100.0/24",
    )
    assert found.text == "syn 9000/s of 9500/s in 198.51.100.0/24, over 1000/s"
    assert found.severity == 9.5


def test_the_blamed_are_told_once_while_nothing_is_banned() -> None:
    """Under policy observe nobody is banned, and the same finding must not come in every tick."""
    host = Host(source=Limits(syn=50_000))
    found = [finding for _ in range(40) for finding in host.flood({v4(NET + 1): 900, v4(NET + 2): 20})]
    assert names(found) == ["198.51.100.1"]


def test_the_rest_of_a_spared_prefix_is_found_when_it_goes_on() -> None:
    """Once the heavy source is banned, what is left is judged by itself."""
    host = Host()
    loads = {v4(NET + 1): 9_000, **{v4(NET + number): 9 for number in range(2, 150)}}
    assert names(host.flood(loads)) == ["198.51.100.1"]
    host.banned.add([prefix("198.51.100.1")])
    found = [finding for _ in range(5) for finding in host.flood(loads)]
    assert names(found) == ["198.51.100.0/24"]


def test_the_last_packets_of_a_banned_source_blame_nobody() -> None:
    """They were counted before the ban took hold."""
    host = Host(source=Limits())
    for key, packets in {v4(NET + 1): 9_000, v4(NET + 2): 3}.items():
        host.syn(key, packets)
    host.banned.add([prefix("198.51.100.1")])
    assert host.tick().findings == []
    assert [finding for _ in range(30) for finding in host.flood({v4(NET + 2): 3})] == []


def test_no_source_twice() -> None:
    """Over its own limit and to blame for its prefix in one tick."""
    host = Host()
    assert names(host.flood({v4(NET + 1): 5_000})) == ["198.51.100.1"]


def test_spared_and_banned_are_left_alone() -> None:
    host = Host(net=Limits())
    host.spared.add([prefix("198.51.100.0/28"), prefix("2001:db8::1")])
    host.banned.add([prefix("198.51.100.128/25")])
    loads = {v4(NET + 3): 900, v4(NET + 20): 901, v6(0x20010DB8_00000000): 900}
    assert names(host.flood(loads)) == ["198.51.100.20"]


def test_a_banned_prefix_is_left_alone() -> None:
    host = Host(source=Limits())
    host.syn(v4(NET + 1), 30_000)
    host.banned.add([prefix("198.51.0.0/16")])
    assert host.tick().findings == []


def test_released_findings_come_again() -> None:
    host = Host()
    loads = {v4(NET + 1): 900, **{v4(NET + 0x100 + number): 9 for number in range(200)}}
    found = [finding for _ in range(3) for finding in host.flood(loads)]
    assert sorted(names(found)) == ["198.51.100.1", "198.51.101.0/24"]
    host.detector.release(found)
    again = [finding for _ in range(3) for finding in host.flood(loads)]
    assert sorted(names(again)) == sorted(names(found))


def test_a_released_blame_comes_again() -> None:
    host = Host(source=Limits())
    found = [finding for _ in range(3) for finding in host.flood({v4(NET + 1): 900})]
    assert [str(f.within) for f in found] == ["198.51.100.0/24"]
    host.detector.release(found)
    assert names([f for _ in range(3) for f in host.flood({v4(NET + 1): 900})]) == ["198.51.100.1"]


def test_other_limits() -> None:
    host = Host()
    host.detector.set_limits(Limits(syn=10), Limits())
    assert names(host.flood({v4(NET + 1): 40})) == ["198.51.100.1"]


@given(
    st.lists(st.integers(1, 5_000), min_size=1, max_size=60),
    st.sets(st.integers(0, 59)),
    st.floats(0.3, 1),
    st.integers(1, 8),
)
def test_blame_is_the_smallest_set_or_the_prefix(
    loads: list[int], banned: set[int], share: float, few: int
) -> None:
    table, meter = Table(cpus=1, per_cpu=64), RateMeter()
    meter.update(table.snapshot())
    for number, packets in enumerate(loads):
        table.count(number, v4(NET + number), packets)
    table.wait(HZ)
    total = sum(loads)
    whole = Finding(Scope.PREFIX, prefix_of(v4(NET)), v4(NET), Kind.PPS, total, 1, 0)
    skip = uint64(*(v4(NET + number) for number in banned))
    judged = attribute([whole], meter.update(table.snapshot()), skip, share=share, few=few)
    ranked = sorted(loads, reverse=True)
    enough = [count for count in range(1, few + 1) if sum(ranked[:count]) >= total * share - 1e-6]
    if not enough:
        assert judged.findings == [whole]
        assert judged.blamed == {}
        return
    blamed = judged.blamed[whole.key].tolist()
    assert abs(len(blamed) - min(enough)) <= (abs(sum(ranked[: min(enough)]) - total * share) < 1e-3)
    assert {f.key for f in judged.findings} == set(blamed) - set(skip.tolist())
    assert all((f.scope, f.within) == (Scope.SOURCE, whole.prefix) for f in judged.findings)


def test_sources_that_the_meters_did_not_see_count_as_others() -> None:
    """A spoofed flood: one packet a source, so the prefix meter counts what no source meter does."""
    table, meter = Table(), RateMeter()
    meter.update(table.snapshot())
    table.count(0, v4(NET + 1), 500)
    table.wait(HZ)
    whole = Finding(Scope.PREFIX, prefix_of(v4(NET)), v4(NET), Kind.PPS, 90_000, 1_000, 0)
    assert attribute([whole], meter.update(table.snapshot())).findings == [whole]


def test_numbers_for_people() -> None:
    texts = [short_number(n) for n in (0, 812, 99_999, 100_000, 123_456, 24_000_000, 1_250_000_000)]
    assert texts == ["0", "812", "99999", "100k", "123.46k", "24M", "1.25G"]
