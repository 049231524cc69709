# SPDX-License-Identifier: Apache-2.0
"""The wire of the system test: a flood from banned sources beside honest packets, and a count of what got through.

Standard library only: it runs inside a bare system. `python wire.py INTERFACE MAC FOLDER [SHARE]` is the sender, run
in the attacker's namespace; it goes on until it is ended. A SHARE of the usual rates suits an emulator.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

TARGET = "198.51.100.1"
HONEST = "198.51.100.2"
BANNED_NET = "203.0.113."
"""All of these are banned, as one prefix and as single addresses."""
NEWCOMER = "192.0.2.77"
"""Banned by nobody: sends above every limit once it is told to."""
PORT = 7777
FLOOD_PPS, HONEST_PPS, NEWCOMER_PPS, REQUEST_PPS = 16_000, 200, 30_000, 8_000
NEWCOMERS, REQUESTS, ONE_FLOW, SILENCE = 1, 2, 3, 4
"""What else is sent, in the last word of :class:`Counters`. ONE_FLOW: the newcomer with one port. SILENCE: nothing."""
_BATCH_SECONDS = 0.005
_SOL_PACKET, _PACKET_STATISTICS = 263, 6


class Counters:
    """What the sender sent, in a file that both sides map: flood, honest, newcomer; and what else it shall send now."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            os.ftruncate(file.fileno(), 32)
            self._map = mmap.mmap(file.fileno(), 32)
        self.words = memoryview(self._map).cast("Q")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def frame(mac: bytes, source: str, number: int) -> bytes:
    """A UDP packet to the guarded host. The number makes port, size, TTL and id: senders differ, as in life."""
    payload = bytes(40 + number % 400)
    length, ident, ttl = 28 + len(payload), number * 7919 & 0xFFFF, 40 + number % 25
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, length, ident, 0x4000 * (number & 1), ttl, 17, 0,
        socket.inet_aton(source), socket.inet_aton(TARGET),
    )  # fmt: skip
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    udp = struct.pack(">4H", 1024 + number * 104729 % 60000, PORT, length - 20, 0)
    return mac + b"\x02\0\0\0\0\x02\x08\0" + head + udp + payload


def request(mac: bytes, number: int) -> bytes:
    """A request for a TCP connection from a source that nobody has seen: one of 2^20 spoofed ones."""
    source = f"10.{number >> 16 & 15}.{number >> 8 & 255}.{number & 255}"
    addresses = socket.inet_aton(source) + socket.inet_aton(TARGET)
    size = 20 + number % 3 * 4
    head = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + size, number & 0xFFFF, 0x4000 * (number & 1), 40 + number % 25, 6, 0
    )
    head += addresses
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    ports = struct.pack(">HH", 1024 + number % 60000, PORT)
    tcp = ports + struct.pack(
        ">IIBBHHH", number * 7919 & 0xFFFFFFFF, 0, size << 2, 2, 1024 + number % 60000, 0, 0
    )
    tcp += b"\x02\x04\x05\xb4\x01\x01\x01\x00"[: size - 20]
    check = checksum(addresses + struct.pack(">HH", 6, len(tcp)) + tcp)
    return mac + b"\x02\0\0\0\0\x02\x08\0" + head + tcp[:16] + struct.pack(">H", check) + tcp[18:] + bytes(6)


def send(interface: str, mac: str, folder: Path, share: float = 1.0) -> None:
    """Send until we are ended."""
    a_batch = {
        name: round(pps * part * _BATCH_SECONDS)
        for name, pps, part in (
            ("flood", FLOOD_PPS, share),
            ("honest", HONEST_PPS, 1.0),
            ("newcomer", NEWCOMER_PPS, share),
            ("requests", REQUEST_PPS, share),
        )
    }
    counters = Counters(folder / "sent").words
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((interface, 0))
    to = bytes.fromhex(mac.replace(":", ""))
    flood = [frame(to, f"{BANNED_NET}{n}", n) for n in range(1, 255)]
    honest, newcomer = frame(to, HONEST, 1_000), [frame(to, NEWCOMER, n) for n in range(2_000, 2_254)]
    due, at, number = time.monotonic(), 0, 0
    while True:
        if counters[3] == SILENCE:
            time.sleep(0.05)
            continue
        for _ in range(a_batch["flood"]):
            at += 1
            wire.send(flood[at % len(flood)])
        counters[0] += a_batch["flood"]
        for _ in range(a_batch["honest"]):
            wire.send(honest)
        counters[1] += a_batch["honest"]
        if counters[3] == REQUESTS:
            for _ in range(a_batch["requests"]):
                number += 7919
                wire.send(request(to, number))
        if counters[3] in {NEWCOMERS, ONE_FLOW}:
            ports = len(newcomer) if counters[3] == NEWCOMERS else 1
            for _ in range(a_batch["newcomer"]):
                wire.send(newcomer[at % ports])
                at += 1
            counters[2] += a_batch["newcomer"]
        due = max(due + _BATCH_SECONDS, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))


class Behind:
    """Counts what comes out behind the wall: a packet socket sees what XDP let through, and nothing else."""

    def __init__(self, interface: str) -> None:
        self.flood = self.honest = self.newcomer = self.unread = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((interface, 0x0800))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        honest, newcomer = socket.inet_aton(HONEST), socket.inet_aton(NEWCOMER)
        banned = socket.inet_aton(BANNED_NET + "0")[:3]
        while True:
            data, where = self._socket.recvfrom(128)
            if where[2] == socket.PACKET_OUTGOING:
                continue
            source = data[26:30]
            if source[:3] == banned:
                self.flood += 1
            elif source == honest:
                self.honest += 1
            elif source == newcomer:
                self.newcomer += 1

    def overrun(self) -> int:
        """Packets that came out behind the wall and were too many for us to read, in all."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.unread += struct.unpack("II", raw)[1]
        return self.unread


if __name__ == "__main__":
    send(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 1.0)
