# SPDX-License-Identifier: Apache-2.0
"""Samples built by hand: what attack tools and real clients send, with numbers drawn where they draw them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.bpf.packets import ACK, ICMP, IPV4, SYN, TCP, UDP, ethernet, icmp, ipv4, tcp, udp
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import HEAD_BYTES, Sample

OURS = "198.51.100.1"
LINUX = bytes.fromhex("020405b40402080a")
WINDOWS = bytes.fromhex("020405b40103030801010402")
Make = Callable[[random.Random], bytes]


def address(chance: random.Random) -> str:
    """Any source."""
    return (
        f"{chance.randint(1, 126)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"
    )


def sample(frame: bytes, lane: Lane, reason: Reason = Reason.LANE_UDP, tick: int = 0) -> Sample:
    """What the kernel would show of an IPv4 frame."""
    fragment = int.from_bytes(frame[20:22], "big")
    return Sample(
        tick=tick,
        length=len(frame),
        reason=reason,
        lane=lane,
        slot=0,
        version=4,
        protocol=frame[23],
        fragment=2 if fragment & 0x1FFF else 1 if fragment & 0x2000 else 0,
        l3=14,
        l4=14 + (frame[14] & 15) * 4,
        captured=min(len(frame), HEAD_BYTES),
        head=frame[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0"),
    )


def many(
    make: Make, count: int, lane: Lane, reason: Reason = Reason.LANE_UDP, seed: int = 1, sources: int = 0
) -> list[Sample]:
    """So many packets of a kind. ``sources``: drawn from that many addresses; 0: each from one of its own."""
    chance = random.Random(seed)
    known = [bytes(map(int, address(chance).split("."))) for _ in range(sources)]
    made = []
    for _ in range(count):
        frame = make(chance)
        if known:
            frame = frame[:26] + chance.choice(known) + frame[30:]
        made.append(sample(frame, lane, reason))
    return made


def _frame(
    payload: bytes, protocol: int, chance: random.Random, *, ttl: int | None = None, ident: int | None = None
) -> bytes:
    """An IPv4 frame with TTL and identification as senders all over the world have them, unless given."""
    far = chance.choice([64, 64, 128]) - chance.randint(5, 25)
    body = bytearray(
        ethernet(ipv4(payload, protocol, source=address(chance), target=OURS, ttl=ttl or far, flags=2), IPV4)
    )
    body[18:20] = (chance.randrange(65536) if ident is None else ident).to_bytes(2, "big")
    return bytes(body)


def ephemeral(chance: random.Random) -> int:
    """A client's port."""
    return chance.randint(32768, 60999)


def _syn(chance: random.Random, window: int, options: bytes, **more: int) -> bytes:
    packet = bytearray(tcp(SYN, sport=ephemeral(chance), dport=443, options=options))
    packet[4:8] = chance.randbytes(4)
    packet[14:16] = window.to_bytes(2, "big")
    return _frame(bytes(packet), TCP, chance, **more)


def linux_syn(chance: random.Random) -> bytes:
    """A Linux client's request."""
    stamp = chance.randbytes(4) + bytes(4)
    return _syn(chance, chance.choice([64240, 65535, 29200]), LINUX + stamp + bytes([1, 3, 3, 7]))


def windows_syn(chance: random.Random) -> bytes:
    """A Windows client's request."""
    return _syn(chance, chance.choice([64240, 65535]), WINDOWS)


def real_syn(chance: random.Random) -> bytes:
    """One of either."""
    return chance.choice([linux_syn, windows_syn])(chance)


def bare_syn(chance: random.Random) -> bytes:
    """A tool's: no options, a window that no stack has."""
    return _syn(chance, 512, b"")


def reflected(port: int, head: bytes, size: int) -> Make:
    """Answers of a service that was asked in our name."""

    def make(chance: random.Random) -> bytes:
        data = head + chance.randbytes(size - len(head))
        return _frame(udp(data, sport=port, dport=chance.randint(1024, 65535)), UDP, chance)

    return make


ntp = reflected(123, bytes.fromhex("d700032a"), 440)
memcached = reflected(11211, b"\0\0\0\0\0\1\0\0VALUE ", 1400)


def random_udp(size: int, port: int = 9987) -> Make:
    """A flood of random bytes of one length, from random ports."""

    def make(chance: random.Random) -> bytes:
        return _frame(udp(chance.randbytes(size), sport=chance.randint(1024, 65535), dport=port), UDP, chance)

    return make


def dns_query(chance: random.Random) -> bytes:
    """What resolvers ask a name server."""
    name = "".join(chance.choice("abcdefghijklmnop") for _ in range(chance.randint(3, 12))).encode()
    question = bytes([len(name)]) + name + b"\x07example\x03com\0\0\x01\0\x01"
    head = chance.randbytes(2) + bytes.fromhex("01000001000000000000")
    return _frame(udp(head + question, sport=chance.randint(1024, 65535), dport=53), UDP, chance)


def one_name(chance: random.Random) -> bytes:
    """Queries for the one name that a name server is for."""
    head = chance.randbytes(2) + bytes.fromhex("01000001000000000000")
    question = b"\x03www\x07example\x03com\0\0\x01\0\x01"
    return _frame(udp(head + question, sport=chance.randint(1024, 65535), dport=53), UDP, chance)


def templated(chance: random.Random) -> bytes:
    """A tool's payload: drawn once, sent always, with a counter in front."""
    data = chance.randbytes(4) + bytes.fromhex("9b1dd9aeb1050f26372a6b28ce4496af35ead7898bbc4d42")
    return _frame(udp(data, sport=chance.randint(1024, 65535), dport=9987), UDP, chance)


def game_query(chance: random.Random) -> bytes:
    """A constant question of a game, which players and attackers ask alike."""
    question = b"\xff\xff\xff\xffTSource Engine Query\0"
    return _frame(udp(question, sport=chance.randint(1024, 65535), dport=27015), UDP, chance)


def ping(chance: random.Random) -> bytes:
    """An echo request as ping sends it."""
    packet = bytearray(icmp(8, chance.randbytes(8) + bytes(range(16, 56))))
    packet[4:8] = chance.randbytes(2) + chance.randint(1, 20).to_bytes(2, "big")
    return _frame(bytes(packet), ICMP, chance)


def stray_ack(chance: random.Random) -> bytes:
    """An acknowledgement of a connection that is not known."""
    packet = bytearray(tcp(ACK, sport=ephemeral(chance), dport=443))
    packet[4:12] = chance.randbytes(8)
    packet[14:16] = chance.randbytes(2)
    return _frame(bytes(packet), TCP, chance)


def syn_ack(chance: random.Random) -> bytes:
    """An answer to a request that somebody sent in our name."""
    packet = bytearray(tcp(SYN | ACK, sport=443, dport=chance.randint(1024, 65535), options=LINUX[:4]))
    packet[4:12] = chance.randbytes(8)
    return _frame(bytes(packet), TCP, chance)


def mixed(parts: Sequence[list[Sample]], seed: int = 1) -> list[Sample]:
    """All of them, shuffled."""
    together = [one for part in parts for one in part]
    random.Random(seed).shuffle(together)
    return together
