# SPDX-License-Identifier: Apache-2.0
"""Files that are captures, files that are not, and what is taken of them."""

from __future__ import annotations

import struct
from pathlib import Path

import dpkt
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from xdpwall.errors import InputError
from xdpwall.lab import capture, marks, network, run

TARGET = run.target(network.wall_link())
ATTACK = [IP(src=f"5.3.7.{n}", dst="10.10.10.10") / UDP(sport=53, dport=n) / bytes(50) for n in range(1, 11)]


def write(path: Path, packets: list[bytes], link: int = 1, step: float = 0.01) -> Path:
    with path.open("wb") as file:
        sink = dpkt.pcap.Writer(file, linktype=link)
        for number, data in enumerate(packets):
            sink.writepkt(data, ts=1_600_000_000 + number * step)
    return path


def test_frames_are_ready_to_send(tmp_path: Path) -> None:
    found = capture.read(write(tmp_path / "a.pcap", [bytes(Ether() / p) for p in ATTACK]), TARGET)
    assert len(found.frames) == found.sources == found.packets == 10
    assert [frame.offset_ns for frame in found.frames] == pytest.approx(
        [n * 10_000_000 for n in range(10)], abs=2_000
    )
    assert found.round_ns == pytest.approx(99_000_000, rel=0.01)
    for frame in found.frames:
        assert frame.data[:12] == TARGET.mac + marks.source_mac(0)
        assert len(frame.data) == 92
    assert found.slot == 96
    rows = found.frames_map()
    assert len(rows) == 10 * (8 + 96)
    assert struct.unpack_from("<II", rows) == (92, 0)


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (101, b""),
        (12, b""),
        (0, b"\x02\x00\x00\x00"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
    ids=["raw", "bsd-raw", "null", "cooked", "cooked2"],
)
def test_other_links(tmp_path: Path, link: int, head: bytes) -> None:
    path = write(tmp_path / "a.pcap", [head + bytes(p) for p in ATTACK], link)
    assert len(capture.read(path, TARGET).frames) == 10


def test_what_cannot_be_sent_is_told(tmp_path: Path) -> None:
    mixed = [bytes(Ether() / p) for p in ATTACK]
    mixed.append(bytes(Ether() / ARP()))
    mixed.append(bytes(Ether() / IP(src="10.10.10.10", dst="5.3.7.1") / TCP()))
    mixed.append(bytes(Ether() / IP(src="5.3.7.1", dst="10.10.10.10") / UDP() / bytes(1600)))
    mixed.append(bytes(Ether(type=0x0800)) + b"\x45")
    found = capture.read(write(tmp_path / "a.pcap", mixed), TARGET)
    assert len(found.frames) == 10
    assert found.skipped == {
        "not IP": 1,
        "the victim's own answer": 1,
        f"longer than {capture.LONGEST} bytes": 1,
        "broken IP header": 1,
    }


def test_a_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [bytes(Ether() / p) for p in ATTACK])
    path.write_bytes(path.read_bytes()[:-120])
    found = capture.read(path, TARGET)
    assert 8 <= len(found.frames) < 10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no pcap"),
        (b"hello, this is text and no capture at all", "no pcap"),
        (b"\xd4\xc3\xb2\xa1" + bytes(8), "no pcap"),
    ],
)
def test_what_is_no_capture(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        capture.read(path, TARGET)


def test_nothing_to_send(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no packet of it") as caught:
        capture.read(write(tmp_path / "a.pcap", [bytes(Ether() / ARP())]), TARGET)
    assert caught.value.hint is not None and "not IP (1)" in caught.value.hint
    with pytest.raises(InputError, match="no packet of it"):
        capture.read(write(tmp_path / "b.pcap", []), TARGET)
    with pytest.raises(InputError, match="link type 105"):
        capture.read(write(tmp_path / "c.pcap", [bytes(60)], link=105), TARGET)
    with pytest.raises(InputError, match="cannot be read"):
        capture.read(tmp_path / "none.pcap", TARGET)
    with pytest.raises(InputError, match="cannot be read"):
        capture.read(tmp_path, TARGET)
