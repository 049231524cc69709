# SPDX-License-Identifier: Apache-2.0
"""Where a scenario's bots live, and how the packet program is told.

Deterministic: the same attack and seed give the same bots. The first class is settled first, every bot in a /24 (or
/48) of its own, as long as there are enough; only then do two bots of the later classes share one.
"""

from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from xdpwall.errors import LabError
from xdpwall.lab import marks, sums
from xdpwall.lab.scenario import Attack, Traffic

_WHOLE = 65_536
_UDP_MIN = 18
# Ethernet, IPv6 and UDP headers: what is longest beside the payload. 80: what the program writes at least.
_HEADERS = 14 + 40 + 8
_LEAST_FRAME = 80

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Bot:
    """One source. ``address`` is 4 or 16 bytes in network order; ``klass`` an index of the attack's classes."""

    address: bytes
    country: str
    klass: int


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the packets go to. Addresses and MAC are packed bytes."""

    mac: bytes
    v4: bytes
    v6: bytes
    port: int


def prefixes() -> dict[str, list[Network]]:
    """The prefixes of ``data/prefixes.txt`` by country code."""
    text = resources.files("xdpwall.lab").joinpath("data", "prefixes.txt").read_text(encoding="ascii")
    found: dict[str, list[Network]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            country, prefix = line.split()
            found.setdefault(country, []).append(ipaddress.ip_network(prefix))
    return found


def settle(attack: Attack, seed: int) -> list[Bot]:
    """Give every bot its address; class by class, in the order of the classes.

    Raises:
        LabError: a country without prefixes, or with fewer places than bots.
    """
    chosen = random.Random(seed)
    known = prefixes()
    homes: dict[tuple[str, int], Iterator[bytes]] = {}
    bots: list[Bot] = []
    for index, part in enumerate(attack.classes):
        first = len(bots)
        for country, count in _split(part.bots, attack.countries).items():
            if country not in known:
                raise LabError(f"the lab knows no prefixes of country {country!r}")
            sixes = round(count * attack.v6_share)
            for version, wanted in ((4, count - sixes), (6, sixes)):
                if not wanted:
                    continue
                place = (country, version)
                if place not in homes:
                    homes[place] = _homes([n for n in known[country] if n.version == version], chosen)
                for _ in range(wanted):
                    address = next(homes[place], None)
                    if address is None:
                        raise LabError(f"too many bots: the IPv{version} prefixes of {country} are full")
                    bots.append(Bot(address, country, index))
        # They join in this order: not one country after the other.
        joining = bots[first:]
        chosen.shuffle(joining)
        bots[first:] = joining
    return bots


def countries(attack: Attack, bots: list[Bot]) -> list[dict[str, object]]:
    """Share of the packets by country, as they are sent, largest first: ``[{"code", "share"}]``."""
    weights: dict[str, float] = {}
    for bot in bots:
        part = attack.classes[bot.klass]
        weights[bot.country] = weights.get(bot.country, 0.0) + part.share / part.bots
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    return [{"code": code, "share": round(share, 4)} for code, share in ranked]


def frame_length(attack: Attack) -> int:
    """Bytes of the longest frame."""
    longest = _HEADERS + max(part.traffic.payload_max for part in attack.classes)
    return max(_LEAST_FRAME, -(-longest // 8) * 8)


def sources_map(bots: list[Bot]) -> bytes:
    """Content of the map ``sources``: ``struct source`` of ``bpf/lab/bots.c``."""
    return b"".join(
        bot.address.ljust(16, b"\0")
        + struct.pack("<II", sums.words(bot.address), 4 if len(bot.address) == 4 else 6)
        for bot in bots
    )


def personas_map(attack: Attack) -> bytes:
    """Content of the map ``personas``: ``struct persona`` of ``bpf/lab/bots.c``."""
    rows = []
    share = 0.0
    first = 0
    for index, part in enumerate(attack.classes):
        share += part.share
        last = index == len(attack.classes) - 1
        until = _WHOLE if last else round(share * _WHOLE)
        mark = int.from_bytes(marks.source_mac(index)[4:], "little")
        rows.append(struct.pack("<8I", until, first, part.bots, *_traffic(part.traffic), mark))
        first += part.bots
    return b"".join(rows)


def plan_map(target: Target, seed: int) -> bytes:
    """Content of the map ``plan``: ``struct plan`` of ``bpf/lab/bots.c``."""
    return struct.pack(
        "<QQQ4sI16sI6s2s4sII",
        0,
        0,
        random.Random(seed).getrandbits(64),
        target.v4,
        sums.words(target.v4),
        target.v6,
        sums.words(target.v6),
        target.mac,
        target.port.to_bytes(2, "big"),
        marks.MARK,
        _WHOLE,
        0,
    )


def _traffic(traffic: Traffic) -> tuple[int, int, int, int]:
    udp = round(traffic.udp * _WHOLE)
    syn = _WHOLE if not traffic.ack else round((traffic.udp + traffic.syn) * _WHOLE)
    payload = max(_UDP_MIN, traffic.payload_max)
    return udp, syn, payload, round(traffic.service_share * _WHOLE)


def _split(count: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers that add up to ``count``, as near to the shares as they can be (largest remainder first)."""
    exact = {name: count * share / sum(shares.values()) for name, share in shares.items()}
    parts = {name: int(value) for name, value in exact.items()}
    left = count - sum(parts.values())
    for name in sorted(exact, key=lambda name: parts[name] - exact[name])[:left]:
        parts[name] += 1
    return parts


def _homes(networks: list[Network], chosen: random.Random) -> Iterator[bytes]:
    """Addresses, each in another /24 or /48, in random order; then the same places again with another host."""
    places = [(network, number) for network in networks for number in range(min(_places(network), 256))]
    chosen.shuffle(places)
    for round_ in range(1, 5):
        for network, number in places:
            if network.version == 4:
                host = round_ * 50 + chosen.randrange(40)
                yield (int(network.network_address) + (number << 8) + host).to_bytes(4, "big")
            else:
                within = (number << 80) + (round_ << 64) + chosen.getrandbits(63) + 1
                yield (int(network.network_address) + within).to_bytes(16, "big")


def _places(network: Network) -> int:
    """How many /24 or /48 lie in it."""
    length = 24 if network.version == 4 else 48
    return 1 << max(0, length - network.prefixlen)
