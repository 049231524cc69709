# SPDX-License-Identifier: Apache-2.0
"""The fields of a packet that a rule can name, as columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdpwall import fingerprint as fp
from xdpwall.fingerprint import SIZE, Pattern
from xdpwall.lanes import Lane

Matrix = npt.NDArray[np.uint16]
"""One row a packet, one column a field; each number in host order."""
Rows = npt.NDArray[np.bool_]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Field:
    """One or two bytes of the features, and which of their bits count. Two bytes are in network order."""

    name: str
    at: int
    size: int = 1
    mask: int = 0xFFFF


FIELDS: tuple[Field, ...] = (
    Field("protocol", fp.PROTOCOL),
    Field("version", fp.VERSION),
    Field("service", fp.SERVICE),
    Field("ttl", fp.TTL),
    Field("id", fp.ID, 2),
    Field("flags4", fp.FRAGMENT, 2, 0xC000),
    Field("offset", fp.FRAGMENT, 2, 0x3FFF),
    Field("source_port", fp.SOURCE_PORT, 2),
    Field("target_port", fp.TARGET_PORT, 2),
    Field("flags", fp.FLAGS),
    Field("data_offset", fp.DATA_OFFSET),
    Field("window", fp.WINDOW, 2),
    Field("sequence", fp.SEQUENCE, 2),
    Field("sequence_low", fp.SEQUENCE + 2, 2),
    Field("acknowledgement", fp.ACKNOWLEDGEMENT, 2),
    Field("acknowledgement_low", fp.ACKNOWLEDGEMENT + 2, 2),
    Field("length", fp.LENGTH, 2),
    Field("ip_header", fp.IP_HEADER),
    Field("urgent", fp.URGENT, 2),
    *(Field(f"tail{n}", fp.TAIL + n) for n in range(SIZE - fp.TAIL)),
)
BY_NAME: Mapping[str, int] = {field.name: column for column, field in enumerate(FIELDS)}
TAIL: tuple[int, ...] = tuple(column for column, field in enumerate(FIELDS) if field.name.startswith("tail"))
"""Columns of what follows the transport header; in TCP's lanes the options, and from :data:`DATA` on the data."""
DATA: tuple[int, ...] = TAIL[fp.DATA - fp.TAIL :]
RANGED: Mapping[int, str] = {
    BY_NAME[name]: member
    for name, member in (("ttl", "ttl"), ("length", "length"), ("source_port", "source_port"))
}
"""Columns that a rule can hold to a range, and the member of the pattern that says so."""

_TCP_ONLY = ("flags", "data_offset", "window", "acknowledgement", "acknowledgement_low", "urgent")
_MISSING: Mapping[Lane, tuple[str, ...]] = {
    Lane.SYN: (),
    Lane.TCP: (),
    Lane.UDP: (*_TCP_ONLY, "sequence", "sequence_low"),
    Lane.ICMP: (*_TCP_ONLY, "target_port"),
    Lane.FRAGMENT: (*_TCP_ONLY, "sequence", "sequence_low"),
    Lane.OTHER: (*_TCP_ONLY, "sequence", "sequence_low", "source_port", "target_port"),
}


def columns(lane: Lane) -> list[int]:
    """The fields that packets of a lane have."""
    missing = _MISSING.get(lane, ())
    return [column for column, field in enumerate(FIELDS) if field.name not in missing]


def matrix(packets: Sequence[bytes]) -> Matrix:
    """Columns of many packets' features. Shape ``(len(packets), len(FIELDS))``."""
    raw = np.frombuffer(b"".join(packets), np.uint8).reshape(len(packets), SIZE).astype(np.uint16)
    table = np.empty((len(packets), len(FIELDS)), np.uint16)
    for column, field in enumerate(FIELDS):
        value = raw[:, field.at]
        if field.size == 2:
            value = value << np.uint16(8) | raw[:, field.at + 1]
        table[:, column] = value & np.uint16(field.mask)
    return table


@dataclass(frozen=True, slots=True)
class Terms:
    """A conjunction: columns that have a value, and columns that lie in a range (both ends included)."""

    values: Mapping[int, int]
    spans: Mapping[int, Span]

    def match(self, table: Matrix) -> Rows:
        """Which rows match."""
        hit = np.ones(len(table), np.bool_)
        for column, value in self.values.items():
            hit &= table[:, column] == value
        for column, (low, high) in self.spans.items():
            hit &= (table[:, column] >= low) & (table[:, column] <= high)
        return hit

    def pattern(self, lane: Lane) -> Pattern:
        """For the kernel."""
        mask, value = bytearray(SIZE), bytearray(SIZE)
        for column, wanted in self.values.items():
            field = FIELDS[column]
            bits = field.mask & (0xFF if field.size == 1 else 0xFFFF)
            for number, target in ((bits, mask), (wanted, value)):
                for n, byte in enumerate(number.to_bytes(field.size, "big")):
                    target[field.at + n] |= byte
        spans = {RANGED[column]: span for column, span in self.spans.items()}
        return Pattern(lane, bytes(mask), bytes(value), **spans)
