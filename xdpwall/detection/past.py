# SPDX-License-Identifier: Apache-2.0
"""A minute of traffic, small enough to keep for a month: what sources near a limit sent, second by second.

For each source (and each prefix) there are ten figures a second: of each kind how much came in that second, and how
much of it in its busiest tenth. The second half tells a burst from a steady stream, and token buckets are about bursts.
A figure is kept as its logarithm in steps of 1/32 octave, at most 1.1 % off.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xdpwall.detection.keys import Keys
from xdpwall.detection.limits import KINDS

SECONDS = 60
"""Seconds of a part at most."""
TENTH = 0.1
_STEPS = 32
_MAGIC = b"xwp1"
_MOST_BYTES = 64 << 20
_PARTS_OF_PACKETS = slice(2, 5)  # SYN, UDP, ICMP: often all packets, or none
_EVEN = 1.5  # a tenth up to this many times its even share is taken for even

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint16]
Flags = npt.NDArray[np.uint8]

PROVEN, BANNED, GUESSED = 1, 2, 4
"""Flags of a row: it had completed a handshake; a ban that stood dropped what it sent, or part of it; the kinds of what
the ban dropped are not known."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Sources, or prefixes, of one part.

    Args:
        keys: unique, shape ``(n,)``.
        flags: :data:`PROVEN` and the others, shape ``(n,)``.
        total: packets, bits, ... of each second in the order of ``KINDS``, shape ``(5, n, seconds)``.
        tenth: of them, in the busiest tenth of that second, the same shape.
        left_out: how many more there were at most, beyond what is kept at a time.
    """

    keys: Keys
    flags: Flags
    total: Floats
    tenth: Floats
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.keys)


def no_rows(seconds: int = 0) -> Rows:
    """None at all."""
    none = np.empty((len(KINDS), 0, seconds))
    return Rows(np.empty(0, np.uint64), np.empty(0, np.uint8), none, none)


@dataclass(frozen=True, slots=True)
class Part:
    """Up to a minute on end.

    Args:
        at_ms: Unix time of its beginning.
        seconds: how long it is.
        floors: what a source must send in one second to be kept, of each of ``KINDS``; the same of prefixes.
        sources: those above their floors. ``prefixes``: likewise.
        lanes: by label, packets and bits that asked for the lane's budget in each second, then packets beyond it and of
            those the ones dropped; shape ``(4, seconds)``.
    """

    at_ms: int
    seconds: int
    floors: tuple[tuple[float, ...], tuple[float, ...]]
    sources: Rows = field(default_factory=no_rows)
    prefixes: Rows = field(default_factory=no_rows)
    lanes: dict[str, Floats] = field(default_factory=dict)

    def pack(self) -> bytes:
        """For a database."""
        head = {
            "at_ms": self.at_ms,
            "seconds": self.seconds,
            "floors": self.floors,
            "rows": [[len(rows), rows.left_out] for rows in (self.sources, self.prefixes)],
            "lanes": sorted(self.lanes),
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        blobs = [struct.pack("<I", len(text)), text]
        for rows in (self.sources, self.prefixes):
            blobs += [rows.keys.astype("<u8").tobytes(), rows.flags.tobytes(), *_planes(_codes_of(rows))]
        for label in sorted(self.lanes):
            blobs += _planes(encode(self.lanes[label]))
        return _MAGIC + zlib.compress(b"".join(blobs), 6)

    @classmethod
    def unpack(cls, raw: bytes) -> Part:
        """The inverse of :meth:`pack`.

        Raises:
            ValueError: it is none.
        """
        if not raw.startswith(_MAGIC):
            raise ValueError("this is no part of the record, or another version's")
        try:
            machine = zlib.decompressobj()
            reader = _Reader(machine.decompress(raw[len(_MAGIC) :], _MOST_BYTES))
            (size,) = struct.unpack("<I", reader.take(4))
            head = json.loads(reader.take(size))
            seconds = int(head["seconds"])
            if not 0 < seconds <= SECONDS:
                raise ValueError(f"{seconds} seconds")
            both = [_rows_from(reader, int(n), int(left), seconds) for n, left in head["rows"]]
            lanes = {str(label): decode(reader.codes((4, seconds))) for label in head["lanes"]}
            floors = tuple(tuple(map(float, scope)) for scope in head["floors"])
            sources, prefixes = both
            return cls(int(head["at_ms"]), seconds, floors, sources, prefixes, lanes)  # type: ignore[arg-type]
        except (zlib.error, struct.error, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a part of the record cannot be read: {error}") from None


def rows_in(raw: bytes) -> tuple[int, int]:
    """How many sources and prefixes a packed part has, without unpacking all of it.

    Raises:
        ValueError: it is none.
    """
    try:
        head = zlib.decompressobj().decompress(raw[len(_MAGIC) :], 1 << 16)
        (size,) = struct.unpack_from("<I", head)
        (sources, _), (prefixes, _) = json.loads(head[4 : 4 + size])["rows"]
        return int(sources), int(prefixes)
    except (zlib.error, struct.error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a part of the record cannot be read: {error}") from None


def encode(values: Floats) -> Codes:
    """Figures of 0 or more as logarithms; below one half is 0."""
    codes = 1 + np.rint(_STEPS * np.log2(np.maximum(values, 1)))
    codes[values < 0.5] = 0
    packed: Codes = codes.astype(np.uint16)
    return packed


def decode(codes: Codes) -> Floats:
    """The inverse of :func:`encode`, rounded to whole numbers below 32."""
    values = np.exp2((codes.astype(np.float64) - 1) / _STEPS)
    small = values < _STEPS
    values[small] = np.rint(values[small])
    values[codes == 0] = 0
    return values


def _codes_of(rows: Rows) -> Codes:
    total = encode(rows.total)
    # Equal to the packets, and the difference is nothing: it packs to nothing, too.
    total[_PARTS_OF_PACKETS] ^= total[0]
    tenth = encode(rows.tenth)
    tenth[rows.tenth <= rows.total * TENTH * _EVEN] = 0
    return np.concatenate([total, tenth])


def _rows_from(reader: _Reader, count: int, left_out: int, seconds: int) -> Rows:
    if count < 0 or left_out < 0:
        raise ValueError("a count below 0")
    keys = np.frombuffer(reader.take(8 * count), "<u8").astype(np.uint64)
    flags = np.frombuffer(reader.take(count), np.uint8)
    if len(np.unique(keys)) != count:
        raise ValueError("a source is there twice")
    codes = reader.codes((2 * len(KINDS), count, seconds))
    total, tenth = codes[: len(KINDS)], codes[len(KINDS) :]
    total[_PARTS_OF_PACKETS] ^= total[0]
    amounts = decode(total)
    bursts = np.where(tenth == 0, amounts * TENTH, decode(tenth))
    return Rows(keys, flags, amounts, np.minimum(bursts, amounts), left_out)


def _planes(codes: Codes) -> list[bytes]:
    """High bytes, then low ones: the high ones of a row are nearly all the same."""
    return [(codes >> 8).astype(np.uint8).tobytes(), (codes & 0xFF).astype(np.uint8).tobytes()]


class _Reader:
    """Bytes, one piece after the other."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._raw[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("it ends too early")
        self._at += count
        return piece

    def codes(self, shape: tuple[int, ...]) -> Codes:
        count = int(np.prod(shape))
        high, low = (np.frombuffer(self.take(count), np.uint8).astype(np.uint16) for _ in range(2))
        codes: Codes = (high * np.uint16(256) + low).reshape(shape)
        return codes
