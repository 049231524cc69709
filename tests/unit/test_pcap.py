# SPDX-License-Identifier: Apache-2.0
"""Captures of every form: byte orders, time units, link types, cut short, broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, PcapWriter, RawPcapReader

from xdpwall.errors import InputError
from xdpwall.pcap import Captured, Reader

IP4 = bytes.fromhex("45000014000000004011000001020304c0000201")
IP6 = bytes.fromhex("60000000000011ff") + bytes(32)
FRAME = bytes.fromhex("0278770000010278770000020800") + IP4
AT = 1_600_000_000_123_456_000


def pcap(
    packets: list[tuple[int, bytes, int]], *, order: str = "<", nano: bool = False, link: int = 1
) -> bytes:
    head = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)
    for at_ns, data, length in packets:
        seconds, rest = divmod(at_ns, 1_000_000_000)
        head += struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, len(data), length) + data
    return head


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 1, order: str = "<", options: bytes = b"", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(number: int, ticks: int, data: bytes, length: int, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data, order)


def read(tmp_path: Path, raw: bytes) -> tuple[list[Captured], str | None]:
    path = tmp_path / "capture"
    path.write_bytes(raw)
    reader = Reader(path)
    return list(reader), reader.broken


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap(tmp_path: Path, order: str, nano: bool) -> None:
    found, broken = read(
        tmp_path, pcap([(AT, FRAME, 34), (AT + 5_000, FRAME[:20], 1514)], order=order, nano=nano)
    )
    assert broken is None
    assert found == [Captured(AT, FRAME, 34), Captured(AT + 5_000, FRAME[:20], 1514)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng(tmp_path: Path, order: str) -> None:
    resolution = struct.pack(order + "HHBxxx", 9, 1, 9) + struct.pack(order + "HH", 0, 0)
    binary = struct.pack(order + "HHBxxx", 9, 1, 0x80 | 10)
    raw = (
        section(order) + interface(1, order) + interface(101, order, resolution) + interface(1, order, binary)
    )
    raw += block(0xBAD, b"unknown", order)
    raw += enhanced(0, AT // 1000, FRAME, 60, order)
    raw += enhanced(1, AT, IP4, 20, order)
    raw += enhanced(2, 3 << 10, FRAME, 34, order)
    raw += section("<") + interface(113) + enhanced(0, 5, bytes(14) + b"\x86\xdd" + IP6, 56)
    found, broken = read(tmp_path, raw)
    assert broken is None
    assert found[0] == Captured(AT, FRAME, 60)
    assert found[1] == Captured(AT, FRAME, 34)
    assert found[2] == Captured(3_000_000_000, FRAME, 34)
    assert found[3] == Captured(5_000, FRAME[:12] + b"\x86\xdd" + IP6, 54)


def test_a_simple_packet_has_no_time(tmp_path: Path) -> None:
    raw = section() + interface(snap=20) + block(3, struct.pack("<I", 34) + FRAME[:20])
    assert read(tmp_path, raw) == ([Captured(0, FRAME[:20], 34)], None)


@pytest.mark.parametrize(
    ("link", "data", "kind"),
    [
        (101, IP4, 0x0800),
        (12, IP6, 0x86DD),
        (0, struct.pack("<I", 2) + IP4, 0x0800),
        (108, struct.pack(">I", 24) + IP6, 0x86DD),
        (113, bytes(14) + b"\x08\x00" + IP4, 0x0800),
        (276, b"\x86\xdd" + bytes(18) + IP6, 0x86DD),
        (113, bytes(14) + b"\x08\x06" + bytes(28), 0x0806),
        (101, b"", 0xFFFF),
    ],
)
def test_what_has_no_ethernet_header_gets_one(tmp_path: Path, link: int, data: bytes, kind: int) -> None:
    ((packet,), broken) = read(tmp_path, pcap([(AT, data, len(data))], link=link))
    assert broken is None
    assert packet.frame[12:14] == kind.to_bytes(2, "big")
    assert data.endswith(packet.frame[14:])
    assert packet.length == len(packet.frame)


def test_the_end_is_missing(tmp_path: Path) -> None:
    whole = pcap([(AT, FRAME, 34)] * 2)
    for cut in (1, 20, len(FRAME), len(FRAME) + 3):
        found, broken = read(tmp_path, whole[:-cut])
        assert len(found) == 1
        assert broken is not None
    assert read(tmp_path, whole[:-50]) == ([Captured(AT, FRAME, 34)], None)
    raw = section() + interface() + enhanced(0, 1, FRAME, 34) * 2
    for cut in range(5, 60, 7):
        found, broken = read(tmp_path, raw[:-cut])
        assert len(found) == 1
        assert broken is not None


def test_nonsense_inside(tmp_path: Path) -> None:
    lengths = struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30)
    found, broken = read(tmp_path, pcap([(AT, FRAME, 34)]) + lengths)
    assert len(found) == 1
    assert broken is not None
    found, broken = read(tmp_path, section() + interface() + struct.pack("<II", 6, 7) + bytes(40))
    assert found == []
    assert broken is not None
    # A packet of an interface that was never described, and one longer than its block, are passed over.
    stray = enhanced(3, 1, FRAME, 34) + block(6, struct.pack("<IIIII", 0, 0, 1, 5_000, 5_000) + FRAME)
    found, broken = read(tmp_path, section() + interface() + stray + enhanced(0, 1, FRAME, 34))
    assert len(found) == 1
    assert broken is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no pcap"),
        (b"PK\x03\x04....", "unpack"),
        (b"\x1f\x8b\x08\x00....", "unpack"),
        (b"hello world, this is text", "tcpdump"),
        (pcap([], link=105), "link type 105"),
        (section() + interface(195), "link type 195"),
    ],
)
def test_what_is_no_capture(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, raw)
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="cannot be read"):
            list(Reader(path))


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_another_program_agrees(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"capture.{form}"
    with (PcapNgWriter if form == "pcapng" else PcapWriter)(str(path)) as writer:
        for size in range(14, 200, 13):
            writer.write(Ether(bytes(range(size))))
    with RawPcapReader(str(path)) as other:
        expected = [data for data, _ in other]
    assert [packet.frame for packet in Reader(path)] == expected
