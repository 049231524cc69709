# SPDX-License-Identifier: Apache-2.0
"""A made-up incident as a real one would be recorded: a botnet floods a platform for half a minute."""

from __future__ import annotations

import random

from xdpwall.incident.model import (
    Action,
    BanCounts,
    Burst,
    Crossing,
    Diversion,
    FingerprintUse,
    GeoDatabase,
    Incident,
    Ledger,
    Origin,
    Point,
    Probe,
    Samples,
    Share,
    Source,
    SourcePrefix,
    Sources,
    Target,
    Totals,
    Users,
    Vector,
)
from xdpwall.incident.origin import believable

BEGIN = 1_795_449_882_000  # 2026-11-23 16:04:42 UTC
COUNTRIES = (
    ("RU", "Russia", 0.600), ("BR", "Brazil", 0.250), ("US", "United States", 0.021), ("CN", "China", 0.018),
    ("VN", "Viet Nam", 0.017), ("IN", "India", 0.016), ("ID", "Indonesia", 0.016), ("UA", "Ukraine", 0.015),
    ("TR", "Türkiye", 0.014), ("TH", "Thailand", 0.013), ("MX", "Mexico", 0.011), ("DE", "Germany", 0.009),
)  # fmt: skip
NETWORKS = (
    ("AS12389", "Rostelecom", 0.181), ("AS8402", "Vimpelcom", 0.094), ("AS28573", "Claro NXT Telecomunicacoes", 0.081),
    ("AS26599", "Telefonica Brasil S.A", 0.064), ("AS25513", "Moscow city telephone network", 0.052),
    ("AS4134", "Chinanet", 0.012), ("", "no network known", 0.008),
)  # fmt: skip
PACKETS, BYTES = 36_035_112, 2_451_104_904
PROVEN = 0.07


def share(code: str, name: str, part: float, sources: int) -> Share:
    """One line of an origin."""
    packets = round(PACKETS * 0.98 * part)
    proven = round(packets * PROVEN)
    return Share(code, name, packets, packets * 68, sources, part, part, part, proven, packets - proven)


def timeline() -> tuple[Point, ...]:
    """A second each: quiet, a ramp of ten seconds, the flood, the end."""
    noise = random.Random(3)
    points = []
    for second in range(-5, 46):
        level = 0.0 if second < 0 or second >= 35 else min(1.0, (second + 1) / 10) * noise.uniform(0.94, 1.04)
        lanes = {
            "syn": round(820_000 * level),
            "udp": round(210_000 * level) + noise.randrange(20, 60),
            "tcp": round(170_000 * level) + noise.randrange(700, 1100),
        }
        seen = sum(lanes.values())
        passed = min(seen, noise.randrange(900, 1300) + round(8_000 * level))
        points.append(Point(BEGIN + second * 1000, seen, passed, seen - passed, seen * 544, lanes))
    return tuple(points)


def incident() -> Incident:
    """The whole record."""
    dropped = 35_638_726
    rows = [share(code, name, part, round(20_000 * part)) for code, name, part in COUNTRIES]
    networks = [share(code, name, part, round(20_000 * part)) for code, name, part in NETWORKS]
    top = tuple(
        Source(
            f"{first}.{17 + n}.{(n * 37) % 250}.{(n * 91) % 250}",
            18_800 - n * 61,
            (18_800 - n * 61) * 66,
            18_600 - n * 61,
            country,
            asn,
            name,
            "handshake" if n in {3, 7} else "spoofable",
            n != 11,
        )
        for n, (first, country, asn, name) in enumerate(
            [(95, "RU", 12389, "Rostelecom"), (177, "BR", 28573, "Claro NXT Telecomunicacoes")] * 8
        )
    )
    return Incident(
        id=7,
        key="2026-11-23-1",
        state="closed",
        opened_ms=BEGIN + 412,
        instance="default",
        policy="enforce",
        first_packet_ms=BEGIN,
        updated_ms=BEGIN + 96_000,
        ended_ms=BEGIN + 35_100,
        closed_ms=BEGIN + 95_100,
        linked=(3,),
        severity=410.0,
        confidence=0.97,
        peak_pps=1_238_114,
        peak_bps=673_534_016,
        peak_at_ms=BEGIN + 21_000,
        totals=Totals(
            packets=PACKETS,
            bytes=BYTES,
            dropped_packets=dropped,
            dropped_bytes=2_424_150_656,
            passed_packets=PACKETS - dropped,
            passed_bytes=BYTES - 2_424_150_656,
            background_packets=41_200,
            dropped_by_reason={
                "banned_source": 29_480_120,
                "lane_udp": 4_011_907,
                "cookie_sent": 1_204_455,
                "lane_tcp": 690_144,
                "source_syn": 252_100,
            },
            passed_by_reason={"pass": 371_010, "pass_flow": 22_105, "pass_handshake": 3_271},
        ),
        vectors=(
            Vector(
                "SYN flood",
                "syn",
                "tcp",
                443,
                None,
                24_310_551,
                1_604_496_366,
                False,
                861_420,
                BEGIN,
                BEGIN + 35_000,
                0.98,
                "99.2 % of the samples of this lane are SYN, to one port, with 11 different windows",
            ),
            Vector(
                "UDP flood",
                "udp",
                "udp",
                443,
                None,
                6_511_020,
                520_881_600,
                False,
                219_001,
                BEGIN + 90,
                BEGIN + 35_000,
                0.91,
                "payloads of random bytes, 512 bytes each",
            ),
            Vector(
                "ACK flood",
                "tcp",
                "tcp",
                443,
                None,
                5_172_341,
                325_726_938,
                True,
                177_100,
                BEGIN + 140,
                BEGIN + 35_000,
                0.88,
                "ACK that belong to no connection of this host",
            ),
        ),
        targets=(Target("192.0.2.10", 443, "tcp", 29_482_892), Target("192.0.2.10", 443, "udp", 6_511_020)),
        sources=Sources(
            20_003,
            False,
            round(PACKETS * 0.98),
            round(BYTES * 0.98),
            top,
            tuple(
                SourcePrefix(f"95.{17 + n}.{n * 7}.0/24", 41_000 - n * 400, 2_900_000, 9 - n, n < 3)
                for n in range(6)
            ),
        ),
        origin=Origin(
            tuple(rows),
            tuple(networks),
            GeoDatabase(
                "countries: made up; networks: made up",
                "2026-06-17",
                "CC BY 4.0",
                "Number Resource Organization",
            ),
            believable(1000, 70),
        ),
        thresholds=(
            Crossing(BEGIN + 200, "syn lane", 18_411, 2_000),
            Crossing(BEGIN + 400, "udp lane", 9_313, 5_000),
            Crossing(BEGIN + 1_100, "tcp lane", 40_102, 20_000),
        ),
        actions=(
            Action(BEGIN + 412, "opened", "syn lane 9.2 times over its threshold"),
            Action(BEGIN + 610, "ban", "first of 2,000 bans: 95.17.0.0, syn 812/s over 100/s"),
            Action(BEGIN + 700, "cookies", "on"),
            Action(BEGIN + 2_350, "rule", "udp length 540, ttl 41-57: covers 96 % of the samples"),
            Action(BEGIN + 37_000, "cookies", "off"),
            Action(BEGIN + 95_100, "closed", "quiet for a minute"),
        ),
        bursts=(Burst(BEGIN, BEGIN + 35_100, 1_238_114),),
        bans=BanCounts(1_987, 13),
        fingerprints=(FingerprintUse("udp length 540, ttl 41-57", 0.96, 0.0, 3_902_112),),
        ledger=Ledger(BEGIN + 3.2, BEGIN + 200.0, BEGIN + 41.5, BEGIN + 610.0, BEGIN + 412.0, 100.0),
        timeline=timeline(),
        users=Users(
            212,
            205,
            214,
            31.5,
            30.9,
            31.8,
            0,
            (
                Probe("shop", "https://shop.example/health", 12, 12, 36, 36, 12, 12, 41.8),
                Probe("mail", "tcp mail.example:25", 12, 12, 36, 36, 12, 12, 12.0),
            ),
        ),
        diversion=(
            Diversion(
                "port_scan",
                "198.51.100.23",
                BEGIN + 4_000,
                BEGIN + 34_000,
                (22, 80, 443, 3306, 8080),
                ("192.0.2.10",),
                16,
                "16 ports in 30 s, one every 2 s",
                "NL",
                64500,
                "Example Hosting",
            ),
            Diversion(
                "admin_probe",
                "203.0.113.77",
                BEGIN + 11_000,
                BEGIN + 20_000,
                (22,),
                ("192.0.2.10",),
                10,
                "10 connections to port 22",
                "RO",
                64501,
                "Example Networks",
            ),
        ),
        samples=Samples("/var/lib/xdpwall/default/incidents/7.pcapng", 4_096, 410_224),
    )
