# SPDX-License-Identifier: Apache-2.0
"""Floods from chosen sources, and what came through of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xdpwall.lab import marks, namespaces, run
from xdpwall.lab.botnet import Bot
from xdpwall.lab.counter import Counter, Passed
from xdpwall.lab.flood import Flood, Pace, Report
from xdpwall.lab.network import Link
from xdpwall.lab.scenario import Attack, BotClass, Traffic
from xdpwall.lab.topology import Lab
from xdpwall.model import Prefix

UDP = Traffic(udp=1.0, syn=0.0, ack=0.0, payload_max=18)
MIXED = Traffic(udp=0.4, syn=0.3, ack=0.3, payload_max=300)
PATIENCE = 30.0
BYSTANDER = "81.2.69.160"
"""Sends a packet now and then; no test bans it."""


def sources(first: str, count: int) -> list[str]:
    """So many addresses from this one on (IPv4), or as many /64 (IPv6)."""
    packed = Prefix.parse(first).packed
    number = int.from_bytes(packed, "big")
    step = 1 if len(packed) == 4 else 1 << 64
    return [
        Prefix((number + index * step).to_bytes(len(packed), "big"), len(packed) * 8).address
        for index in range(count)
    ]


def udp_frame(source: str, ends: Link, klass: int) -> bytes:
    """A packet to the wall's end of a link, with the lab's mark."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    six = ":" in source
    ip = IPv6(src=source, dst=ends.host.v6) if six else IP(src=source, dst=ends.host.v4)
    mac = marks.source_mac(klass).hex(":")
    return bytes(Ether(src=mac, dst=ends.host.mac) / ip / UDP(sport=4000, dport=4001) / bytes(30))


def wait_for(what: Callable[[], bool], meaning: str, seconds: float = PATIENCE) -> None:
    """Wait until it is so; fail with ``meaning`` when it does not come about."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"never came about: {meaning}"
        time.sleep(0.02)


class Field:
    """A lab with counters behind every link of the wall."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.counter = Counter(lab.namespace("wall"), [link.host.ifname for link in lab.wall_links])

    def close(self) -> None:
        """Let go of the counter."""
        self.counter.close()

    def flood(
        self,
        addresses: list[str],
        *,
        pps: int = 50_000,
        seconds: float = 1.0,
        traffic: Traffic = UDP,
        link: int = 0,
        seed: int = 1,
    ) -> Flood:
        """A flood from these sources, ready to go."""
        attack = Attack(pps, (BotClass("all", len(addresses), 1.0, traffic),), {})
        bots = [Bot(Prefix.parse(address).packed, "ZZ", 0) for address in addresses]
        target = run.target(self.lab.wall_links[link])
        made = Flood(
            self.lab,
            run.bots_program(attack, bots, seed, target),
            Pace(pps, seconds, at_most_seconds=seconds),
            link,
        )
        made.prepare()
        return made

    def send(self, source: str, *, packets: int = 20, link: int = 0) -> int:
        """Send some packets of one source the slow way; gives how many came through.

        A last packet of a bystander, of another class, tells when all have been dealt with: the link keeps the order.
        """
        ends = self.lab.wall_links[link]
        frames = [udp_frame(source, ends, 0)] * packets + [udp_frame(BYSTANDER, ends, 1)]
        before = self.passed()

        def work() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
                raw.bind((ends.net.ifname, 0))
                for frame in frames:
                    raw.send(frame)

        namespaces.inside(self.lab.namespace("net"), work)
        wait_for(lambda: self.passed().of(1) > before.of(1), "the bystander comes through")
        return self.passed().of(0) - before.of(0)

    @contextmanager
    def under_flood(self, addresses: list[str], *, pps: int = 50_000) -> Iterator[Flood]:
        """A flood that is on while the block runs, and has begun when it starts."""
        attack = self.flood(addresses, pps=pps, seconds=60.0)
        attack.go()
        wait_for(lambda: attack.latest().sent > 0, "the flood begins")
        yield attack
        attack.finish()

    def passed(self) -> Passed:
        """What came through so far."""
        return self.counter.read()


def wait_until_done(attack: Flood) -> Report:
    """The last report of a flood that ends by itself."""
    wait_for(lambda: attack.latest().done, "the flood ends")
    return attack.finish()


def more(attack: Flood, packets: int) -> None:
    """Wait until this many packets more have been sent."""
    goal = attack.latest().sent + packets
    wait_for(lambda: attack.latest().sent >= goal, f"{packets} packets more are sent")
