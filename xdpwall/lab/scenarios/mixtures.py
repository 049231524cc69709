# SPDX-License-Identifier: Apache-2.0
"""Attacks in shapes that look for a gap: many targets, pauses, thin sources, several vectors at once."""

from __future__ import annotations

from xdpwall.lab.scenario import Hosts, Marks, Pulse, Scenario, Spoofed, Storm, Stream
from xdpwall.lab.scenarios.tables import GAME, NOBODY, WEB, flood, storm
from xdpwall.lab.shapes import other, tcp, udp

SCENARIOS = (
    Scenario(
        name="everyday",
        summary="a busy day's background noise, below every budget; not one packet may be dropped",
        seconds=10.0,
        attack=Storm(
            1_200,
            (
                Stream("udp", udp.flood(GAME), Hosts(2_000), 800),
                Stream("syn", tcp.syn(WEB), Spoofed(), 50),
                Stream("ack", tcp.ack(WEB), Spoofed(), 80),
                Stream("rst", tcp.rst(WEB), Spoofed(), 40),
                Stream("ping", other.ping(), Hosts(200), 80),
                Stream("fragments", udp.dns_fragmented(), Hosts(50), 20),
                Stream("gre", other.gre(), Hosts(3), 30),
                Stream("scan", tcp.syn(NOBODY), Hosts(50), 10),
                Stream("stray", udp.flood(NOBODY), Hosts(50), 10),
                Stream("udp-v6", udp.flood(GAME), Hosts(200), 60, version=6),
                Stream("ping-v6", other.ping(6), Hosts(50), 20, version=6),
            ),
        ),
        marks=Marks(legit_at_least=1.0, dropped_at_most=0),
    ),
    storm(
        "carpet",
        "UDP, reflected answers and SYN over all 254 addresses of a /24 of this host",
        Storm(
            1_000_000,
            (
                Stream("udp", udp.flood(None), Spoofed(), 0.4),
                Stream("dns", udp.dns(), Hosts(8_000), 0.4),
                Stream("syn", tcp.syn(WEB), Spoofed(), 0.2),
            ),
            carpet=True,
        ),
    ),
    flood(
        "pulse",
        "a spoofed SYN flood in waves: 5 s on, 5 s off",
        tcp.syn(WEB),
        pps=1_000_000,
        pulse=Pulse(5.0, 5.0),
        seconds=20.0,
    ),
    storm(
        "low-and-wide",
        "30,000 bots, each with 10 packets a second: under every limit per source",
        Storm(
            300_000,
            (
                Stream("syn", tcp.syn(WEB), Hosts(10_000)),
                Stream("ack", tcp.ack(WEB), Hosts(10_000)),
                Stream("udp", udp.flood(GAME), Hosts(10_000)),
            ),
        ),
    ),
    storm(
        "mixed",
        "seven vectors at once, over IPv4 and IPv6",
        Storm(
            1_000_000,
            (
                Stream("syn", tcp.syn(WEB), Spoofed(), 0.3),
                Stream("ack", tcp.ack(WEB), Spoofed(), 0.2),
                Stream("ntp", udp.ntp(), Hosts(3_000), 0.1),
                Stream("dns", udp.dns_fragmented(), Hosts(3_000), 0.1),
                Stream("icmp", other.ping(), Spoofed(), 0.1),
                Stream("syn-v6", tcp.syn(WEB), Spoofed(), 0.1, version=6),
                Stream("udp-v6", udp.flood(GAME), Hosts(5_000), 0.1, version=6),
            ),
        ),
    ),
)
