# SPDX-License-Identifier: Apache-2.0
"""Reads captures, pcap and pcapng, packet by packet, with the length that each had on the wire.

Our own, because whether a packet is malformed or was only cut short by the capture hangs on that length, and on the
link type of the interface it came from: dpkt gives neither. Formats: the pcap and pcapng drafts of the IETF's opsawg
working group (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xdpwall.errors import InputError

ETHERNET, NULL, LOOP, SLL, SLL2 = 1, 0, 108, 113, 276
RAW = frozenset({12, 14, 101, 228, 229})
LINK_TYPES = frozenset({ETHERNET, NULL, LOOP, SLL, SLL2}) | RAW
"""Link types whose packets can be given an Ethernet header."""

_MICRO, _NANO, _NG = 0xA1B2C3D4, 0xA1B23C4D, 0x0A0D0D0A
_NG_ORDER = 0x1A2B3C4D
_INTERFACE, _SIMPLE, _ENHANCED, _OBSOLETE = 1, 3, 6, 2
_LONGEST = 1 << 24
"""No packet or block is longer than this: what says so is broken."""
_MAC_TO, _MAC_FROM = bytes.fromhex("027877000001"), bytes.fromhex("027877000002")


@dataclass(frozen=True, slots=True)
class Captured:
    """One packet of a capture.

    Args:
        at_ns: when, nanoseconds since 1970 (or whatever the capture counts from).
        frame: from its Ethernet header on. Captures without one give a made-up header, with the right EtherType.
        length: bytes that it had on the wire, counted as ``frame`` is; more than ``len(frame)`` when it was cut short.
    """

    at_ns: int
    frame: bytes
    length: int


@dataclass(frozen=True, slots=True)
class _Link:
    """An interface of a capture: link type, and its time stamps' unit, ``ticks * numerator / denominator`` ns."""

    type: int
    numerator: int
    denominator: int
    snap: int = 0


class Reader:
    """A capture file, to be iterated over once.

    Args:
        path: the file.

    ``broken`` says after the iteration what was wrong with the file's end, None for nothing.

    Raises:
        InputError: it cannot be read, or is no capture, or one of a link type that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: str | None = None

    def __iter__(self) -> Iterator[Captured]:
        try:
            with self.path.open("rb") as file:
                head = file.read(4)
                if len(head) == 4 and int.from_bytes(head, "little") == _NG:
                    yield from self._read_ng(file)
                elif head in _ORDERS:
                    yield from self._read_classic(file, *_ORDERS[head])
                else:
                    raise InputError(
                        f"{self.path}: this is no pcap or pcapng file",
                        hint="unpack it first"
                        if head[:2] in (b"\x1f\x8b", b"PK") or head[:3] in (b"BZh", b"\xfd7z")
                        else "record one with `tcpdump -w FILE`",
                    )
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _read_classic(self, file: BinaryIO, order: str, nano: bool) -> Iterator[Captured]:
        head = file.read(20)
        if len(head) < 20:
            self.broken = "the file ends within its header"
            return
        link_type = struct.unpack_from(order + "I", head, 16)[0] & 0xFFFF
        self._check(link_type)
        record = struct.Struct(order + "IIII")
        while True:
            raw = file.read(16)
            if len(raw) < 16:
                self.broken = "the file ends within a packet" if raw else None
                return
            seconds, fraction, held, length = record.unpack(raw)
            if held > _LONGEST:
                self.broken = f"a packet of {held} bytes cannot be"
                return
            data = file.read(held)
            if len(data) < held:
                self.broken = "the file ends within a packet"
                return
            yield _captured(
                link_type, seconds * 1_000_000_000 + fraction * (1 if nano else 1_000), data, length
            )

    def _read_ng(self, file: BinaryIO) -> Iterator[Captured]:
        links: list[_Link] = []
        order, kind, rest = "<", _NG, b""
        while True:
            if kind == _NG:
                # A section: its length comes before the mark that tells its byte order.
                head = file.read(8)
                if len(head) < 8:
                    self.broken = "the file ends within its header"
                    return
                order = "<" if struct.unpack_from("<I", head, 4)[0] == _NG_ORDER else ">"
                if struct.unpack_from(order + "I", head, 4)[0] != _NG_ORDER:
                    self.broken = "a section has no byte order"
                    return
                links = []
                body = self._body(file, struct.unpack_from(order + "I", head)[0], 12)
            else:
                head = file.read(4)
                body = None if len(head) < 4 else self._body(file, struct.unpack(order + "I", head)[0], 8)
            if body is None:
                self.broken = self.broken or "the file ends within a block"
                return
            if kind == _INTERFACE:
                links.append(self._link(body, order))
            elif kind in (_ENHANCED, _SIMPLE, _OBSOLETE):
                packet = _ng_packet(kind, body, order, links)
                if packet is not None:
                    yield packet
            rest = file.read(4)
            if len(rest) < 4:
                self.broken = "the file ends within a block" if rest else self.broken
                return
            kind = _NG if int.from_bytes(rest, "little") == _NG else struct.unpack(order + "I", rest)[0]

    def _body(self, file: BinaryIO, length: int, taken: int) -> bytes | None:
        """What is left of a block of this length after ``taken`` bytes, without the length at its end."""
        left = length - taken
        if length % 4 or not 4 <= left <= _LONGEST:
            self.broken = f"a block of {length} bytes cannot be"
            return None
        data = file.read(left)
        return data[:-4] if len(data) == left else None

    def _link(self, body: bytes, order: str) -> _Link:
        if len(body) < 8:
            raise InputError(f"{self.path}: broken description of an interface")
        link_type, _, snap = struct.unpack_from(order + "HHI", body)
        self._check(link_type)
        numerator, denominator, at = 1_000, 1, 8
        while at + 4 <= len(body):
            code, size = struct.unpack_from(order + "HH", body, at)
            if code == 9 and size == 1:  # if_tsresol: a power of ten, or with the top bit of two
                exponent = body[at + 4]
                base = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
                numerator, denominator = 1_000_000_000, base
            if code == 0:
                break
            at += 4 + (size + 3 & ~3)
        return _Link(link_type, numerator, denominator, snap)

    def _check(self, link_type: int) -> None:
        if link_type not in LINK_TYPES:
            raise InputError(
                f"{self.path}: captures of link type {link_type} cannot be judged",
                hint="Ethernet, Linux cooked, loopback and raw IP captures can",
            )


_ORDERS = {
    magic.to_bytes(4, name): (order, magic == _NANO)  # type: ignore[arg-type]
    for name, order in (("little", "<"), ("big", ">"))
    for magic in (_MICRO, _NANO)
}


def _ng_packet(kind: int, body: bytes, order: str, links: list[_Link]) -> Captured | None:
    """The packet of a block; None when the block is broken or names no interface."""
    if kind == _SIMPLE:
        if len(body) < 4 or not links:
            return None
        number, ticks, (length,) = 0, 0, struct.unpack_from(order + "I", body)
        held, at = min(length, links[0].snap or length, len(body) - 4), 4
    else:
        if len(body) < 20:
            return None
        number, high, low, held, length = struct.unpack_from(order + "IIIII", body)
        if kind == _OBSOLETE:
            number = struct.unpack_from(order + "H", body)[0]
        ticks, at = high << 32 | low, 20
    if number >= len(links) or at + held > len(body):
        return None
    link = links[number]
    return _captured(link.type, ticks * link.numerator // link.denominator, body[at : at + held], length)


def _captured(link_type: int, at_ns: int, data: bytes, length: int) -> Captured:
    """Give it an Ethernet header if it has none."""
    if link_type == ETHERNET:
        return Captured(at_ns, data, max(length, len(data)))
    if link_type == SLL:
        head, kind = 16, data[14:16]
    elif link_type == SLL2:
        head, kind = 20, data[0:2]
    else:
        head = 0 if link_type in RAW else 4
        version = data[head] >> 4 if len(data) > head else 0
        kind = {4: b"\x08\x00", 6: b"\x86\xdd"}.get(version, b"\xff\xff")
    frame = _MAC_TO + _MAC_FROM + kind.ljust(2, b"\xff") + data[head:]
    return Captured(at_ns, frame, max(length - head + 14, len(frame)))
