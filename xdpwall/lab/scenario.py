# SPDX-License-Identifier: Apache-2.0
"""What a scenario is: plain data. The ones that come with xdpwall lie in ``scenarios/``, one file each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from xdpwall.lab.shapes.datagram import Shape

EVERYWHERE = ("BR", "CN", "DE", "ID", "IN", "MX", "RU", "TH", "TR", "UA", "US", "VN")
"""Every country of ``data/prefixes.txt``."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one bot sends.

    Args:
        udp, syn, ack: shares of its packets; together 1. UDP goes to random ports with random lengths; SYN and ACK
            are TCP segments without payload.
        payload_max: longest UDP payload, bytes, 18 to 1,400; each packet's is random from 18 on.
        service_share: share of the TCP packets that go to the service's own port; the rest to random ports.
    """

    udp: float
    syn: float
    ack: float
    payload_max: int = 400
    service_share: float = 0.8


@dataclass(frozen=True, slots=True)
class BotClass:
    """A class of bots that behave alike.

    Args:
        name: ``"heavy"``, ``"thin"``: a key of the result's ``attack.classes``.
        bots: how many.
        share: of all packets; the classes together 1. Within a class every bot sends the same on average.
        traffic: what each sends.
    """

    name: str
    bots: int
    share: float
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Attack:
    """A botnet.

    Args:
        pps: packets per second of all bots together.
        classes: at most three.
        countries: share of the bots of each class by country code, together 1; the codes are in ``data/prefixes.txt``.
        v6_share: share of the bots that speak IPv6.
        ramp_seconds: the bots of each class join one after the other over this time, or longer on a machine that
            cannot keep up; 0: all at once, however slowly. A bot that has joined sends at its full rate.
    """

    pps: int
    classes: tuple[BotClass, ...]
    countries: dict[str, float]
    v6_share: float = 0.0
    ramp_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Spoofed:
    """Any address of the Internet: nearly every packet has another one."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """So many real hosts: bots, or servers that answer whom they were told to answer. In like numbers per country."""

    number: int
    countries: tuple[str, ...] = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Stream:
    """Packets of one shape.

    Args:
        name: a key of the result's ``attack.classes``.
        shape: what the packets look like.
        sources: where they come from; each source of a stream sends the same on average.
        share: of the storm's packets, beside the shares of the other streams.
        version: of IP.
    """

    name: str
    shape: Shape
    sources: Spoofed | Hosts
    share: float = 1.0
    version: Literal[4, 6] = 4


@dataclass(frozen=True, slots=True)
class Pulse:
    """The attack comes in waves: so long on, then so long off."""

    on_seconds: float
    off_seconds: float


@dataclass(frozen=True, slots=True)
class Storm:
    """An attack of one or several streams.

    Args:
        pps: packets per second of all streams together.
        streams: at most 15.
        pulse: None: all the time.
        carpet: IPv4 packets go to all addresses of a /24 of the protected host, not to one.
    """

    pps: int
    streams: tuple[Stream, ...]
    pulse: Pulse | None = None
    carpet: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """What the wall must reach. None: not looked at.

    Args:
        sent_at_least: packets.
        recall: by class name; ``"all"`` is the whole attack.
        legit_at_least: share of everything that users tried, and of the new connections among it.
        dropped_at_most: packets.
        first_drop_ms: from the first packet to the first drop.
        native: XDP mode.
    """

    sent_at_least: int | None = None
    recall: dict[str, float] = field(default_factory=dict)
    legit_at_least: float = 0.999
    dropped_at_most: int | None = None
    first_drop_ms: float | None = None
    native: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of the lab.

    Args:
        name: as typed on the command line.
        summary: one sentence for people.
        seconds: length of the attack, or of the quiet.
        packets: the attack goes on past ``seconds`` until so many have been sent, ...
        at_most_seconds: ... but not past this.
        baseline_seconds: how long the legitimate client has the wall for itself before.
        attack: None: nobody attacks.
        marks: what the wall must reach.
        requests_per_second: new connections of the legitimate clients.
        seed: of everything random.
        config: text of the wall's config; empty is its defaults.
    """

    name: str
    summary: str
    seconds: float
    attack: Attack | Storm | None
    marks: Marks
    packets: int = 0
    at_most_seconds: float = 60.0
    baseline_seconds: float = 3.0
    requests_per_second: float = 50.0
    seed: int = 1
    config: str = ""

    def describe(self) -> dict[str, Any]:
        """What `xdpwall lab list` shows."""
        attack = self.attack
        return {
            "name": self.name,
            "summary": self.summary,
            "seconds": self.seconds,
            "pps": attack.pps if attack else 0,
            "sources": _sources(attack),
            "marks": describe_marks(self.marks),
        }


def _sources(attack: Attack | Storm | None) -> int | None:
    """How many there are; None when they are spoofed, for then nobody can say."""
    if isinstance(attack, Storm):
        numbers = [s.sources.number if isinstance(s.sources, Hosts) else None for s in attack.streams]
        return None if None in numbers else sum(number or 0 for number in numbers)
    return sum(part.bots for part in attack.classes) if attack else 0


def describe_marks(marks: Marks) -> list[str]:
    """Each mark in words."""
    found = []
    if marks.sent_at_least is not None:
        found.append(f"sent >= {marks.sent_at_least:,}")
    for name, recall in marks.recall.items():
        found.append(f"recall {name} >= {recall:g}")
    if marks.dropped_at_most is not None:
        found.append(f"dropped <= {marks.dropped_at_most}")
    if marks.first_drop_ms is not None:
        found.append(f"first drop <= {marks.first_drop_ms:g} ms")
    found.append(f"legit >= {marks.legit_at_least:g}")
    if marks.native:
        found.append("native XDP")
    return found
