# SPDX-License-Identifier: Apache-2.0
"""Where the packets of a stream come from: real hosts (bots, reflectors), or any address (spoofed)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from xdpwall.lab import botnet, crowd
from xdpwall.lab.scenario import Attack, BotClass, Hosts, Storm, Stream, Traffic

_NEVER = {0, 10, 100, 127, 169, 172, 192, 198, 203}
"""First bytes of IPv4 that hold private, shared or documentation ranges, the lab's own among them."""
_TRAFFIC = Traffic(udp=1.0, syn=0.0, ack=0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """An address with ``mask``: ones where random bits are put. 4 or 16 bytes each, network order."""

    address: bytes
    mask: bytes

    def packed(self) -> bytes:
        """``struct place`` of ``bpf/lab/storm.c``."""
        return self.address.ljust(16, b"\0") + self.mask.ljust(16, b"\0")


def places(stream: Stream, seed: int) -> list[Place]:
    """The sources of a stream; the same for the same seed."""
    if isinstance(stream.sources, Hosts):
        return [Place(bot.address, bytes(len(bot.address))) for bot in _hosts(stream, seed)]
    if stream.version == 4:
        return [
            Place(bytes([first, 0, 0, 0]), b"\0\xff\xff\xff")
            for first in range(1, 224)
            if first not in _NEVER
        ]
    found = []
    for network in sorted({n for some in botnet.prefixes().values() for n in some if n.version == 6}):
        found.append(Place(network.network_address.packed, network.hostmask.packed))
    return found


def carpet() -> list[bytes]:
    """The addresses of the protected host that a carpet falls on."""
    return [address.packed for address in crowd.CARPET.hosts()]


def count(stream: Stream, packets: int) -> int:
    """How many sources a stream has shown after so many packets; of random ones about how many."""
    if isinstance(stream.sources, Hosts):
        return min(stream.sources.number, packets)
    space = (223 - len(_NEVER)) * 2.0**24 if stream.version == 4 else 2.0**64
    return min(packets, round(-space * math.expm1(-packets / space)))


def countries(storm: Storm, seed: int) -> list[dict[str, object]]:
    """Share of the packets by country, largest first; empty when some sources are spoofed: then there is none."""
    shares: dict[str, float] = {}
    for number, stream in enumerate(storm.streams):
        if not isinstance(stream.sources, Hosts):
            return []
        bots = _hosts(stream, seed + number)
        for bot in bots:
            shares[bot.country] = shares.get(bot.country, 0.0) + stream.share / len(bots)
    whole = sum(stream.share for stream in storm.streams)
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return [{"code": code, "share": round(share / whole, 4)} for code, share in ranked]


@functools.cache
def _hosts(stream: Stream, seed: int) -> list[botnet.Bot]:
    assert isinstance(stream.sources, Hosts)
    part = BotClass(stream.name, stream.sources.number, 1.0, _TRAFFIC)
    shares = dict.fromkeys(stream.sources.countries, 1.0)
    return botnet.settle(Attack(1, (part,), shares, v6_share=1.0 if stream.version == 6 else 0.0), seed)
