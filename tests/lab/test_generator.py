# SPDX-License-Identifier: Apache-2.0
"""The generator sends what it says: whole packets, from the right sources, counted alike on both sides."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.lab.traffic import MIXED, Field, sources, wait_until_done
from xdpwall.dataplane import compiler, source, sys_bpf
from xdpwall.lab import botnet, counter, legit, marks, network, run
from xdpwall.lab.flood import Program
from xdpwall.lab.scenario import Attack, BotClass, Traffic

FOUR, SIX = sources("5.3.7.9", 40), sources("2a00:1::", 40)
ATTACK = Attack(
    1_000,
    (
        BotClass("heavy", 40, 0.75, Traffic(udp=0.2, syn=0.5, ack=0.3, payload_max=200)),
        BotClass("thin", 40, 0.25, Traffic(udp=1.0, syn=0.0, ack=0.0, payload_max=18)),
    ),
    {},
)
BOTS = [botnet.Bot(ip_address(a).packed, "ZZ", 0) for a in FOUR] + [
    botnet.Bot(ip_address(a).packed, "ZZ", 1) for a in SIX
]


@pytest.fixture(scope="module")
def packets() -> Iterator[list[bytes]]:
    """Packets as the program writes them, run one by one without an interface."""
    program = run.bots_program(ATTACK, BOTS, 7, run.target(network.wall_link()))
    yield written(program, 2_000)


def written(program: Program, count: int) -> list[bytes]:
    """What so many runs of a packet program give."""
    module = compiler.compile_source(source.bpf_folder() / "lab" / f"{program.name}.c", program.defines)
    try:
        for name, content in program.maps.items():
            size = module.value_size(name)
            for index in range(len(content) // size):
                value = content[index * size : (index + 1) * size]
                sys_bpf.map_update(module.map_fd(name), struct.pack("<I", index), value)
        fd = sys_bpf.prog_load(module.program("push"), "test_push")
        try:
            # 0xff: nothing of what was there may show through.
            runs = [
                sys_bpf.test_run(fd, b"\xff" * min(80, program.frame) + bytes(max(0, program.frame - 80)))
                for _ in range(count)
            ]
        finally:
            os.close(fd)
    finally:
        module.close()
    assert {one.verdict for one in runs} == {3}, "XDP_TX"
    return [one.data for one in runs]


def test_every_packet_is_whole(packets: list[bytes]) -> None:
    """Lengths and check sums, as scapy computes them."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    for data in packets:
        frame = Ether(data)
        ip = frame[IP] if IP in frame else frame[IPv6]
        length = ip.len if IP in frame else ip.plen + 40
        assert len(data) == max(60, 14 + length)
        assert data[14 + length :] == bytes(len(data) - 14 - length)
        again = Ether(data[: 14 + length])
        upper = TCP if TCP in frame else UDP
        if IP in frame:
            del again[IP].chksum
        del again[upper].chksum
        again = Ether(bytes(again))
        assert again[upper].chksum == frame[upper].chksum
        if IP in frame:
            assert again[IP].chksum == frame[IP].chksum
        if upper is UDP:
            assert frame[UDP].len == length - (20 if IP in frame else 40)
            assert bytes(frame[UDP].payload)[: frame[UDP].len - 8] == bytes(frame[UDP].len - 8)
        else:
            assert int(frame[TCP].flags) in (0x02, 0x10)


def test_sources_and_marks_are_those_of_the_class(packets: list[bytes]) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    seen: dict[int, set[str]] = {0: set(), 1: set()}
    for data in packets:
        frame = Ether(data)
        number = data[10]
        assert data[6:12] == marks.source_mac(number)
        assert data[:6] == run.target(network.wall_link()).mac
        seen[number].add(str(ip_address((frame[IP] if IP in frame else frame[IPv6]).src)))
    assert seen == {0: set(FOUR), 1: set(SIX)}, "every bot of a class, and no other address"


def test_the_same_seed_gives_the_same_packets(packets: list[bytes]) -> None:
    to = run.target(network.wall_link())
    assert written(run.bots_program(ATTACK, BOTS, 7, to), 200) == packets[:200]
    assert written(run.bots_program(ATTACK, BOTS, 8, to), 200) != packets[:200]


def test_both_sides_count_alike(field: Field) -> None:
    """No wall: what the program made is what the kernel received, and the stack finds no fault with it."""
    server = legit.serve(field.lab, os.sched_getaffinity(0))
    received = counter.ip_received(server.pid)
    attack = field.flood(FOUR + SIX, pps=30_000, traffic=MIXED)
    attack.go()
    report = wait_until_done(attack)
    assert report.generated == sum(row[0] for row in report.tallies)
    assert report.tallies[0][0] == sum(report.tallies[0][2:]), "every packet is UDP, SYN or ACK"
    assert field.passed().marked == report.sent
    assert report.sent <= counter.ip_received(server.pid) - received <= report.sent + 100, (
        "and a few of the link's own"
    )
    lines = field.lab.exec_in("wall", ["cat", "/proc/net/snmp", "/proc/net/snmp6"]).stdout.splitlines()
    assert faults(lines) == {}


def faults(lines: list[str]) -> dict[str, int]:
    """Counters of broken packets that are not zero."""
    found: dict[str, int] = {}
    pairs = [line.split() for line in lines if ":" in line]
    for names, values in zip(pairs[::2], pairs[1::2], strict=True):
        found |= {f"{names[0]}{n}": int(v) for n, v in zip(names[1:], values[1:], strict=True)}
    found |= {line.split()[0]: int(line.split()[1]) for line in lines if ":" not in line and line.strip()}
    broken = ("InCsumErrors", "InHdrErrors", "InErrs", "InTruncatedPkts")
    return {name: value for name, value in found.items() if value and name.endswith(broken)}
