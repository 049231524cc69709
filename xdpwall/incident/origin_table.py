# SPDX-License-Identifier: Apache-2.0
"""The table of origins: country and network (AS) of every routed address, in one small file.

The file is two lines of text, then blocks that are compressed by themselves, so that each is read only when it is
wanted and no more than one has to be in memory at a time:

    xdpwall-origins 1
    {"parts": {"country": {...}, "network": {...}}, "blocks": [{"name", "length", "count", "width"}, ...]}

A part is looked up by two blocks a family, ``country.4.starts`` and ``country.4.values``: value ``i`` holds from
start ``i`` up to the next start. Starts are IPv4 addresses (4 bytes), or the first 64 bits of IPv6 addresses (8 bytes:
a source is a /64), strictly rising from 0. A country is two ASCII letters in 16 bits, a network its AS number in 32
bits; 0 means not known. Starts are kept as differences, and all numbers as planes (first every highest byte, then every
next one): that packs to a quarter. ``network.numbers`` are AS numbers, rising; ``network.names`` their names, one a
line, in UTF-8.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xdpwall.errors import InputError

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
Family = Literal[4, 6]
PartName = Literal["country", "network"]

MAGIC = b"xdpwall-origins 1\n"
# The dictionary is what each reader must hold. The best level's own would be 64 MiB, and gains nothing here.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]
_START_WIDTH: Mapping[Family, int] = {4: 4, 6: 8}
_VALUE_WIDTH: Mapping[PartName, int] = {"country": 2, "network": 4}
_MOST_ROWS = 50_000_000
_MOST_NAMES_BYTES = 64 << 20


class ReplacedError(InputError):
    """The file is another one than when its head was read: open it again."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where one half of the table comes from. ``date``: of the data, ISO 8601. ``warning``: its makers' own."""

    name: str
    date: str
    licence: str
    attribution: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Ranges:
    """One lookup: value ``i`` holds from ``starts[i]`` to before ``starts[i + 1]``.

    Args:
        starts: strictly rising, the first is 0; ``uint32`` for IPv4, ``uint64`` for IPv6.
        values: of the same length; ``uint16`` for countries, ``uint32`` for networks.
    """

    starts: npt.NDArray[Any]
    values: npt.NDArray[Any]

    def find(self, addresses: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The value at each address; 0 where none is known. Any order, any length."""
        if not len(addresses):
            return np.zeros(0, dtype=self.values.dtype)
        wanted = addresses.astype(self.starts.dtype)
        return self.values[np.searchsorted(self.starts, wanted, side="right") - 1]


@dataclass(frozen=True, slots=True)
class Block:
    """One compressed block: where it lies in the file, how many numbers (or names) it holds, bytes a number."""

    name: str
    offset: int
    length: int
    count: int
    width: int


@dataclass(frozen=True, slots=True)
class OriginTable:
    """An open table: only its head is in memory. Each call reads what it needs and keeps nothing.

    Args:
        path: the file.
        parts: where each half comes from.
        blocks: by name.
        inode: of the file whose head was read. The path may have got another one since; that one is not mixed in.
    """

    path: Path
    parts: Mapping[PartName, Part]
    blocks: Mapping[str, Block] = field(repr=False)
    inode: int = 0

    @classmethod
    def open(cls, path: Path) -> OriginTable:
        """Read the head.

        Raises:
            InputError: there is no such file, or it is no table of origins.
        """
        try:
            with path.open("rb") as file:
                if file.readline(len(MAGIC)) != MAGIC:
                    raise _bad(path, "it does not begin like a table of origins")
                head = json.loads(file.readline(1 << 16))
                offset = file.tell()
                stat = os.fstat(file.fileno())
            parts: dict[PartName, Part] = {name: Part(**head["parts"][name]) for name in _VALUE_WIDTH}
            for part in parts.values():
                if not all(isinstance(text, str) for text in asdict(part).values()):
                    raise TypeError("its sources are not named in words")
                date.fromisoformat(part.date)
            blocks = {}
            for entry in head["blocks"]:
                block = Block(
                    entry["name"], offset, int(entry["length"]), int(entry["count"]), int(entry["width"])
                )
                if not 0 <= block.count <= _MOST_ROWS or block.length < 0 or block.width not in {1, 2, 4, 8}:
                    raise _bad(path, f"block {block.name!r} is out of bounds")
                blocks[block.name] = block
                offset += block.length
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror}", hint="`xdpwall geo status` names what is used"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise _bad(path, str(error)) from None
        if stat.st_size != offset:
            raise _bad(path, "it is cut off, or has more than its head says")
        return cls(path, parts, blocks, stat.st_ino)

    def ranges(self, part: PartName, family: Family) -> Ranges:
        """One lookup, unpacked: 1 to 4 MB.

        Raises:
            InputError: the file is damaged.
        """
        width = _START_WIDTH[family]
        steps = self._numbers(f"{part}.{family}.starts", width)
        starts = np.cumsum(steps, dtype=f"u{width}")
        values = self._numbers(f"{part}.{family}.values", _VALUE_WIDTH[part])
        if not len(starts) or len(starts) != len(values) or starts[0] or not (starts[1:] > starts[:-1]).all():
            raise _bad(self.path, f"{part}.{family} is damaged")
        return Ranges(starts, values)

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """The names of these networks, by AS number; those that are not known are left out."""
        wanted = np.array(sorted(set(numbers)), dtype=np.uint32)
        known = self._numbers("network.numbers", 4)
        if not len(known):
            return {}
        at = np.searchsorted(known, wanted)
        at[at == len(known)] = 0
        found = {
            int(place): int(number)
            for place, number in zip(at, wanted, strict=True)
            if known[place] == number
        }
        if not found:
            return {}
        text = self._unpack("network.names", _MOST_NAMES_BYTES)
        # Ninety thousand texts for a hundred that are wanted would cost ten times the memory.
        ends = np.nonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))[0]
        names = {}
        for place, number in found.items():
            start = int(ends[place - 1]) + 1 if place else 0
            end = int(ends[place]) if place < len(ends) else len(text)
            names[number] = text[start:end].decode("utf-8", "replace")
        return names

    def all_names(self) -> dict[int, str]:
        """Every name, by AS number."""
        lines = self._unpack("network.names", _MOST_NAMES_BYTES).decode("utf-8", "replace").split("\n")
        return dict(zip(self._numbers("network.numbers", 4).tolist(), lines, strict=False))

    def rows(self) -> dict[str, int]:
        """How many ranges each lookup holds, by ``country.4`` and so on."""
        return {
            name.removesuffix(".starts"): block.count
            for name, block in self.blocks.items()
            if name.endswith(".starts")
        }

    def _numbers(self, name: str, width: int) -> npt.NDArray[Any]:
        count = self.blocks[name].count if name in self.blocks else 0
        raw = self._unpack(name, count * width)
        if len(raw) != count * width:
            raise _bad(self.path, f"block {name!r} is damaged")
        planes = np.frombuffer(raw, dtype=np.uint8).reshape(width, count)
        # Native numbers from the planes, lowest byte last in the file.
        return np.ascontiguousarray(planes[::-1].T).view(f"<u{width}").reshape(count)

    def _unpack(self, name: str, most: int) -> bytes:
        if name not in self.blocks:
            raise _bad(self.path, f"block {name!r} is missing")
        block = self.blocks[name]
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino != self.inode:
                    raise ReplacedError(f"{self.path} was replaced while it was read", hint="try again")
                file.seek(block.offset)
                packed = file.read(block.length)
            # One byte more than may come: a bomb is noticed, not unpacked.
            return lzma.LZMADecompressor(memlimit=16 << 20).decompress(packed, max_length=most + 1)
        except (lzma.LZMAError, EOFError) as error:
            raise _bad(self.path, f"block {name!r}: {error}") from None
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}") from None


def write_table(
    parts: Mapping[PartName, Part],
    ranges: Mapping[tuple[PartName, Family], Ranges],
    names: Mapping[int, str],
) -> bytes:
    """The bytes of a table. The same input gives the same bytes.

    Args:
        parts: where both halves come from.
        ranges: all four lookups.
        names: of networks, by AS number.
    """
    blocks: list[dict[str, Any]] = []
    body = bytearray()

    def add(name: str, raw: bytes, count: int, width: int) -> None:
        packed = lzma.compress(raw, filters=_FILTERS)
        blocks.append({"name": name, "length": len(packed), "count": count, "width": width})
        body.extend(packed)

    for (part, family), table in ranges.items():
        width = _START_WIDTH[family]
        starts = table.starts.astype(np.uint64)
        if not len(starts) or starts[0] or not (starts[1:] > starts[:-1]).all():
            raise ValueError(f"{part}.{family}: starts must rise from 0")
        steps = np.diff(starts, prepend=np.uint64(0))
        add(f"{part}.{family}.starts", _planes(steps, width), len(steps), width)
        width = _VALUE_WIDTH[part]
        add(f"{part}.{family}.values", _planes(table.values, width), len(table.values), width)
    numbers = sorted(names)
    add("network.numbers", _planes(np.array(numbers, dtype=np.uint32), 4), len(numbers), 4)
    text = "\n".join(" ".join(names[number].split()) for number in numbers).encode()
    add("network.names", text, len(numbers), 1)
    head = {"parts": {name: asdict(part) for name, part in parts.items()}, "blocks": blocks}
    return MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + bytes(body)


def merge_ranges(rows: Iterable[tuple[int, int, int]], family: Family, dtype: npt.DTypeLike) -> Ranges:
    """A lookup from ranges.

    Args:
        rows: first, last (inclusive) and value, in rising order of ``first``; where two overlap the earlier one wins.
            IPv6: of the first 64 bits of each address.
        family: 4 or 6.
        dtype: of the values.
    """
    starts, values = [0], [0]
    free = 0  # the first address that no row has yet
    for given, last, value in rows:
        first = max(given, free)
        if last < first:
            continue
        for start, what in ((free, 0), (first, value)):
            if start == starts[-1]:
                values[-1] = what
            elif what != values[-1]:
                starts.append(start)
                values.append(what)
        free = last + 1
    if free < 1 << (_START_WIDTH[family] * 8) and values[-1]:
        starts.append(free)
        values.append(0)
    merged = Ranges(np.array(starts, dtype=f"u{_START_WIDTH[family]}"), np.array(values, dtype=dtype))
    keep = np.ones(len(values), dtype=np.bool_)
    keep[1:] = merged.values[1:] != merged.values[:-1]
    return Ranges(merged.starts[keep], merged.values[keep])


def pack_country(code: str) -> int:
    """``"RU"`` as the number that stands in a table; 0 for anything but two ASCII letters."""
    if len(code) == 2 and code.isascii() and code.isalpha():
        return int.from_bytes(code.upper().encode(), "big")
    return 0


def unpack_country(number: int) -> str:
    """The inverse of :func:`pack_country`; empty for 0."""
    return int(number).to_bytes(2, "big").decode("ascii", "replace") if number else ""


def _planes(numbers: npt.NDArray[Any], width: int) -> bytes:
    return numbers.astype(f">u{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: no usable table of origins: {what}", hint="`xdpwall geo update FILE` writes a new one"
    )
