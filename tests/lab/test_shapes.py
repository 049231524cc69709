# SPDX-License-Identifier: Apache-2.0
"""Every scenario's packets are whole and real: lengths, check sums, fragments that fit together, the right payload."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.lab.test_generator import written
from xdpwall.lab import marks, network, run, storm
from xdpwall.lab.scenario import Hosts, Spoofed, Storm
from xdpwall.lab.scenarios import REGISTRY

STORMS = {name: s.attack for name, s in REGISTRY.items() if isinstance(s.attack, Storm)}
TARGET = run.target(network.wall_link())
COUNT = 150


@functools.cache
def packets(name: str, seed: int = 7, count: int = COUNT) -> list[bytes]:
    """What the program of a scenario writes."""
    return written(storm.program(STORMS[name], TARGET, seed), count)


def parsed(data: bytes) -> Any:
    """The packet from its IP header on, without the padding of a short frame."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    body = data[14:]
    if body[0] >> 4 == 4:
        return IP(body[: int.from_bytes(body[2:4], "big")])
    return IPv6(body[: 40 + int.from_bytes(body[4:6], "big")])


def joined(found: list[bytes]) -> list[Any]:
    """Whole packets; fragments of one packet, which come one after the other, are put together as a stack does."""
    from scapy.layers.inet import IP, defragment
    from scapy.layers.inet6 import defragment6

    parts = [parsed(data) for data in found]
    whole = [p for p in parts if not is_fragment(p)]
    by_id: dict[Any, list[Any]] = defaultdict(list)
    for part in parts:
        if is_fragment(part):
            by_id[part.src, ident(part)].append(part)
    for some in by_id.values():
        if all(offset(p) for p in some) or all(more(p) for p in some):
            continue  # its beginning or its end is not among these packets
        whole += list(defragment(some)) if some[0].version == 4 else [defragment6(some)]
    return [IP(bytes(p)) if p.version == 4 else p for p in whole]


def is_fragment(packet: Any) -> bool:
    """More follow, or it is not the first."""
    if packet.version == 4:
        return bool(packet.frag or packet.flags.MF)
    return int(packet.nh) == 44


def ident(packet: Any) -> int:
    return int(packet.id if packet.version == 4 else packet["IPv6ExtHdrFragment"].id)


def more(packet: Any) -> bool:
    return bool(packet.flags.MF if packet.version == 4 else packet["IPv6ExtHdrFragment"].m)


def offset(packet: Any) -> int:
    return int(packet.frag if packet.version == 4 else packet["IPv6ExtHdrFragment"].offset)


@pytest.mark.parametrize("name", STORMS)
def test_lengths_and_check_sums_are_right(name: str) -> None:
    """As scapy computes them afresh."""
    found = packets(name)
    for data in found:
        packet = parsed(data)
        assert len(data) == max(60, 14 + len(packet)) <= 1514
        if packet.version == 4:
            again = packet.copy()
            del again.chksum
            assert type(packet)(bytes(again)).chksum == packet.chksum
    whole = joined(found)
    lone = {"fragments", "fragments-v6"}
    assert bool(whole) == (name not in lone)
    for packet in whole:
        again = packet.copy()
        upper = again.payload
        field = "cksum" if hasattr(upper, "cksum") else "chksum"
        if packet.version == 4 and packet.proto == 47:
            continue  # GRE without a sum of its own
        was = getattr(upper, field)
        delattr(upper, field)
        fresh = type(packet)(bytes(again))
        assert getattr(fresh.payload, field) == was
        if packet.haslayer("UDP"):
            assert packet["UDP"].len == len(bytes(packet["UDP"]))


@pytest.mark.parametrize("name", STORMS)
def test_where_they_come_from_and_go_to(name: str) -> None:
    attack = STORMS[name]
    found = packets(name, count=3_000 if len(attack.streams) > 8 else COUNT)  # some of many are rare
    sources = defaultdict(set)
    for data in found:
        packet = parsed(data)
        number = data[10]
        assert data[:6] == TARGET.mac
        assert data[6:12] == marks.source_mac(number)
        assert packet.version == attack.streams[number].version
        if attack.carpet:
            assert ip_address(packet.dst) in ip_network("192.0.2.0/24")
        else:
            assert ip_address(packet.dst).packed in (TARGET.v4, TARGET.v6)
        address = ip_address(packet.src)
        assert address.is_global and not address.is_multicast, packet.src
        sources[number].add(packet.src)
        hops = packet.ttl if packet.version == 4 else packet.hlim
        assert 38 <= hops < 64
    assert set(sources) == set(range(len(attack.streams))), "every stream sends"
    for number, stream in enumerate(attack.streams):
        if isinstance(stream.sources, Hosts):
            assert len(sources[number]) <= stream.sources.number
    if all(isinstance(stream.sources, Spoofed) for stream in attack.streams):
        assert sum(map(len, sources.values())) >= len(found) - 1


def test_shares_are_of_packets() -> None:
    """Also where one stream sends fragments."""
    attack = STORMS["mixed"]
    found = Counter(data[10] for data in packets("mixed", count=6_000))
    for number, stream in enumerate(attack.streams):
        assert found[number] / 6_000 == pytest.approx(stream.share, abs=0.03)


def test_fragments_belong_together() -> None:
    """The three parts of a long answer: one after the other, of one source and identification, without a gap."""
    found = [parsed(data) for data in packets("dns-fragmented", count=301)]
    assert all(is_fragment(packet) for packet in found)
    at = 0
    first = found[0]
    for packet in found:
        if offset(packet) == 0:
            at = 0
            first = packet
        assert (packet.src, packet.dst, packet.id, packet.ttl) == (first.src, first.dst, first.id, first.ttl)
        assert packet.frag * 8 == at
        at += len(packet.payload)
    assert len({packet.id for packet in found}) > 90


def test_reflectors_answer_as_the_real_ones() -> None:
    from scapy.layers.dns import DNS, DNSRRRSIG

    for packet in joined(packets("dns-fragmented")):
        answer = DNS(bytes(packet["UDP"].payload))
        assert packet["UDP"].sport == 53
        assert answer.qr == 1 and answer.ancount == len(answer.an) >= 12
        assert all(isinstance(record, DNSRRRSIG) and len(record.signature) == 256 for record in answer.an)
    for data in packets("ntp-reflection"):
        payload = bytes(parsed(data)["UDP"].payload)
        assert parsed(data)["UDP"].sport == 123
        assert len(payload) == 440 and payload[0] & 0x87 == 0x87 and payload[2:4] == b"\x03\x2a"
    for packet in joined(packets("cldap-reflection")):
        payload = bytes(packet["UDP"].payload)
        assert packet["UDP"].sport == 389
        size = int.from_bytes(payload[2:4], "big")
        assert payload[:2] == b"\x30\x82" and payload[4 + size] == 0x30, "an entry, and then its end"
    for data in packets("memcached-reflection"):
        payload = bytes(parsed(data)["UDP"].payload)
        assert parsed(data)["UDP"].sport == 11_211
        number, total = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[4:6], "big")
        assert number < total and (number or payload[8:14] == b"VALUE ")


@pytest.mark.parametrize("name", ["syn-spoofed", "mixed", "dns-fragmented"])
def test_the_same_seed_gives_the_same_packets(name: str) -> None:
    first = packets(name)
    assert written(storm.program(STORMS[name], TARGET, 7), 50) == first[:50]
    assert packets(name, seed=8) != first
