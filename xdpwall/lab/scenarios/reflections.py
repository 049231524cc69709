# SPDX-License-Identifier: Apache-2.0
"""Answers of servers that were asked in our name. The sources are real hosts: some thousand, seldom more."""

from __future__ import annotations

from xdpwall.lab.scenario import Hosts
from xdpwall.lab.scenarios.tables import flood
from xdpwall.lab.shapes import tcp, udp

SCENARIOS = (
    flood(
        "syn-ack-reflection",
        "SYN-ACKs of web, mail and SSH servers that were sent requests in our name",
        tcp.syn_ack(),
        pps=500_000,
        sources=Hosts(20_000),
    ),
    flood("dns-reflection", "answers of open resolvers", udp.dns(), pps=500_000, sources=Hosts(8_000)),
    flood(
        "dns-fragmented",
        "long signed answers of resolvers, three fragments each",
        udp.dns_fragmented(),
        pps=300_000,
        sources=Hosts(3_000),
    ),
    flood(
        "ntp-reflection", "lists of clients from time servers", udp.ntp(), pps=500_000, sources=Hosts(3_000)
    ),
    flood(
        "memcached-reflection", "large values from caches", udp.memcached(), pps=300_000, sources=Hosts(400)
    ),
    flood(
        "cldap-reflection",
        "answers of directory servers, most of them in fragments",
        udp.cldap(),
        pps=300_000,
        sources=Hosts(2_000),
    ),
    flood(
        "ssdp-reflection",
        "what home devices say of themselves",
        udp.ssdp(),
        pps=500_000,
        sources=Hosts(20_000),
    ),
)
