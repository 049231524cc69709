# SPDX-License-Identifier: Apache-2.0
"""Floods of one kind of packet, at rates that attacks of the kind reach on a link of 10 Gbit/s."""

from __future__ import annotations

from xdpwall.lab.scenarios.tables import GAME, NOBODY, WEB, flood
from xdpwall.lab.shapes import other, tcp, udp

SCENARIOS = (
    flood(
        "syn-spoofed",
        "connection requests for the web server, each from another address",
        tcp.syn(WEB),
        pps=2_500_000,
    ),
    flood(
        "syn-spoofed-v6",
        "the same over IPv6",
        tcp.syn(WEB),
        pps=2_500_000,
        version=6,
    ),
    flood(
        "syn-closed", "connection requests for a port where nobody listens", tcp.syn(NOBODY), pps=1_000_000
    ),
    flood("ack-flood", "acknowledgements of connections that there are not", tcp.ack(WEB), pps=1_000_000),
    flood("ack-flood-v6", "the same over IPv6", tcp.ack(WEB), pps=1_000_000, version=6),
    flood("rst-flood", "resets of connections that there are not", tcp.rst(WEB), pps=1_000_000),
    flood("fin-flood", "ends of connections that there are not", tcp.fin(WEB), pps=1_000_000),
    flood("udp-open", "random bytes for a UDP service", udp.flood(GAME), pps=1_000_000),
    flood("udp-closed", "random bytes for a UDP port where nobody listens", udp.flood(NOBODY), pps=1_000_000),
    flood(
        "udp-open-v6", "random bytes for a UDP service over IPv6", udp.flood(GAME), pps=1_000_000, version=6
    ),
    flood("icmp-flood", "pings and answers to pings that nobody sent", other.ping(), pps=1_000_000),
    flood("icmp-flood-v6", "the same over IPv6", other.ping(6), pps=1_000_000, version=6),
    flood("unreachable", "errors for packets that this host never sent", other.unreachable(), pps=1_000_000),
    flood("fragments", "pieces of packets whose beginning never comes", other.fragments(), pps=500_000),
    flood("fragments-v6", "the same over IPv6", other.fragments(), pps=500_000, version=6),
    flood("gre-flood", "tunnelled packets that nobody asked for", other.gre(), pps=500_000),
)
