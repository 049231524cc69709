# SPDX-License-Identifier: Apache-2.0
"""Floods from chosen sources, and what came through of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xdpwall.lab import network, run
from xdpwall.lab.botnet import Bot
from xdpwall.lab.counter import Counter, Passed
from xdpwall.lab.flood import Flood, Pace, Report
from xdpwall.lab.scenario import Attack, BotClass, Traffic
from xdpwall.lab.topology import Lab
from xdpwall.model import Prefix

UDP = Traffic(udp=1.0, syn=0.0, ack=0.0, payload_max=18)
MIXED = Traffic(udp=0.4, syn=0.3, ack=0.3, payload_max=300)
PATIENCE = 30.0


def sources(first: str, count: int) -> list[str]:
    """So many addresses from this one on (IPv4), or as many /64 (IPv6)."""
    packed = Prefix.parse(first).packed
    number = int.from_bytes(packed, "big")
    step = 1 if len(packed) == 4 else 1 << 64
    return [
        Prefix((number + index * step).to_bytes(len(packed), "big"), len(packed) * 8).address
        for index in range(count)
    ]


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

    def send(self, addresses: list[str], *, packets: int = 2_000, link: int = 0) -> tuple[int, int]:
        """Send some packets and wait for the end: how many the wall's interface took, and how many came through."""
        before = self.counter.read()
        attack = self.flood(addresses, pps=packets * 4, seconds=0.25, link=link)
        attack.go()
        report = wait_until_done(attack)
        return report.sent, self.counter.read().since(before).marked

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


def statistics(lab: Lab, link: int = 0) -> dict[str, int]:
    """Driver's counters of the far end of one of the wall's links."""
    return network.statistics(lab.namespace("net"), lab.wall_links[link].net.ifname)
