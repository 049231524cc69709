# SPDX-License-Identifier: Apache-2.0
"""Reads a capture (pcap or pcapng) and readdresses its packets to the lab's server.

Sources, ports, payloads, VLAN tags, fragments and everything malformed stay as they were. Only the destination
addresses, the check sums that cover them, and the MAC addresses change. Packets that the capture cut short are
filled up with zeros to their own length.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpwall.errors import InputError
from xdpwall.lab import marks
from xdpwall.lab.botnet import Target
from xdpwall.lab.readdress import Addressed, Unusable, readdress

LONGEST = 1518
"""Bytes of a frame that the lab's links carry: MTU 1500, Ethernet header, one VLAN tag."""

MEMORY = 256 << 20
"""Bytes of kernel memory that a capture may take."""

KINDS = ("udp", "syn", "tcp", "other")
"""What is told apart, in the order of the numbers in ``readdress``; "other": fragments, ICMP and the rest."""

_SHORTEST = 60
_VLANS = (0x8100, 0x88A8, 0x9100)
_IP_TYPES = (0x0800, 0x86DD)
_EN10MB, _NULL, _LOOP, _SLL, _SLL2 = 1, 0, 108, 113, 276
_RAW = (12, 14, 101, 228, 229)


@dataclass(frozen=True, slots=True)
class Frame:
    """One packet, ready to send. ``kind``: 0 UDP, 1 TCP SYN, 2 other TCP, 3 all else; ``offset_ns`` from the first."""

    data: bytes
    kind: int
    offset_ns: int


@dataclass(frozen=True, slots=True)
class Capture:
    """What a file gave.

    Args:
        frames: in the order of their times, at least one.
        round_ns: when it begins again, in its own time.
        sources: different source addresses.
        by_kind: the same for each of ``KINDS``.
        packets: in the file.
        skipped: packets that are not sent, by cause.
        filled: packets that the capture had cut short.
        ports: what is attacked, like ``"udp/53"``, with the number of packets; most first.
    """

    frames: list[Frame]
    round_ns: int
    sources: int
    by_kind: dict[str, int]
    packets: int
    skipped: dict[str, int]
    filled: int
    ports: dict[str, int]

    @property
    def slot(self) -> int:
        """Bytes of the longest frame, rounded up to eight."""
        return -(-max(len(frame.data) for frame in self.frames) // 8) * 8

    def describe(self) -> dict[str, Any]:
        """What the result's ``capture`` says."""
        return {
            "packets": self.packets,
            "sent_per_round": len(self.frames),
            "round_ms": self.round_ns // 1_000_000,
            "skipped": self.skipped,
            "filled_up": self.filled,
        }

    def frames_map(self) -> bytes:
        """Content of the map ``frames`` of ``bpf/lab/frames.c``."""
        slot = self.slot
        return b"".join(
            struct.pack("<II", len(frame.data), frame.kind) + frame.data.ljust(slot, b"\0")
            for frame in self.frames
        )

    def plan_map(self) -> bytes:
        """Content of the map ``plan``."""
        return struct.pack("<QQII", 0, 0, 0, len(self.frames))


def read(path: Path, target: Target) -> Capture:
    """Read a whole file.

    Packets *from* the address that most packets go to are the victim's own answers, and are left out.

    Raises:
        InputError: it cannot be read, is no capture, or holds no packet that can be sent.
    """
    skipped: Counter[str] = Counter()
    found: list[tuple[int, Addressed]] = []
    packets = 0
    for when_ns, raw in _packets(path, skipped):
        packets += 1
        try:
            found.append((when_ns, readdress(raw, target)))
        except Unusable as cause:
            skipped[str(cause)] += 1
    targets = Counter(packet.target for _, packet in found)
    victim = targets.most_common(1)[0][0] if targets else b""
    frames: list[Frame] = []
    sources: set[bytes] = set()
    by_kind: dict[str, set[bytes]] = {kind: set() for kind in KINDS}
    ports: Counter[str] = Counter()
    size = 0
    filled = 0
    start: int | None = None
    for when_ns, packet in sorted(found, key=lambda item: item[0]):
        data = (target.mac + marks.source_mac(packet.kind) + packet.data).ljust(_SHORTEST, b"\0")
        if packet.source == victim:
            skipped["the victim's own answer"] += 1
        elif len(data) > LONGEST:
            skipped[f"longer than {LONGEST} bytes"] += 1
        elif (len(frames) + 1) * (max(size, len(data)) + 16) > MEMORY:
            skipped[f"past the first {MEMORY >> 20} MiB"] += 1
        else:
            start = when_ns if start is None else start
            frames.append(Frame(data, packet.kind, when_ns - start))
            sources.add(packet.source)
            by_kind[KINDS[packet.kind]].add(packet.source)
            if packet.local:
                ports[packet.local] += 1
            size = max(size, len(data))
            filled += packet.filled
    if not frames:
        causes = ", ".join(f"{cause} ({count})" for cause, count in skipped.most_common())
        raise InputError(
            f"{path}: no packet of it can be replayed", hint=f"skipped: {causes}" if causes else "it is empty"
        )
    last = frames[-1].offset_ns
    return Capture(
        frames=frames,
        round_ns=last + max(1_000_000, last // len(frames)),
        sources=len(sources),
        by_kind={kind: len(some) for kind, some in by_kind.items()},
        packets=packets,
        skipped=dict(skipped.most_common()),
        filled=filled,
        ports=dict(ports.most_common()),
    )


def _packets(path: Path, skipped: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """Time in nanoseconds, and the packet from its EtherType on, of each packet that carries IP."""
    import dpkt  # noqa: PLC0415 - only a replay needs it

    try:
        with path.open("rb") as file:
            try:
                reader = dpkt.pcap.UniversalReader(file)
                link = reader.datalink()
            except (ValueError, dpkt.Error, struct.error) as error:
                raise InputError(
                    f"{path}: this is no pcap or pcapng file ({error})",
                    hint="record one with `tcpdump -w FILE`",
                ) from None
            if link not in (_EN10MB, _NULL, _LOOP, _SLL, _SLL2, *_RAW):
                raise InputError(
                    f"{path}: captures of link type {link} cannot be replayed",
                    hint="Ethernet, Linux cooked, loopback and raw IP captures can",
                )
            try:
                for when, data in reader:
                    packet = _from_type(link, bytes(data))
                    if packet is None:
                        skipped["not IP"] += 1
                    else:
                        yield int(when * 1_000_000_000), packet
            except (ValueError, dpkt.Error, struct.error):
                skipped["the rest of the file is cut off or broken"] += 1
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _from_type(link: int, data: bytes) -> bytes | None:
    """The packet from its EtherType on (VLAN tags included), or None when it is not IP."""
    if link == _EN10MB:
        packet = data[12:]
    elif link == _SLL:
        packet = data[14:16] + data[16:]
    elif link == _SLL2:
        packet = data[0:2] + data[20:]
    else:
        body = data if link in _RAW else data[4:]
        version = body[0] >> 4 if body else 0
        packet = struct.pack(">H", {4: 0x0800, 6: 0x86DD}.get(version, 0)) + body
    at = 0
    while len(packet) >= at + 4 and int.from_bytes(packet[at : at + 2], "big") in _VLANS:
        at += 4
    return packet if int.from_bytes(packet[at : at + 2], "big") in _IP_TYPES else None
