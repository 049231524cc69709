# SPDX-License-Identifier: Apache-2.0
"""Where sources are registered: country and network of each, and the shares of a whole incident. All offline.

An address says where it is registered, not where its user sits; and a source that never completed a handshake may have
been written by anyone. Both are said wherever shares are shown.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xdpwall.errors import AddressError
from xdpwall.incident.countries import RESERVED, UNKNOWN, country_name
from xdpwall.incident.faces import Place, SourceTable
from xdpwall.incident.model import GeoDatabase, Origin, Share
from xdpwall.incident.origin_mmdb import MmdbLookup
from xdpwall.incident.origin_reserved import SIX_TO_FOUR, is_reserved
from xdpwall.incident.origin_table import (
    U32,
    U64,
    Family,
    OriginTable,
    Part,
    PartName,
    Ranges,
    pack_country,
    unpack_country,
)
from xdpwall.model import Prefix

_V4_MARK = np.uint64(0xFFFF_0000)
MOST_NETWORKS = 200
"""How many networks an incident's origin names; countries are all named, there are some 250."""


class Lookup(Protocol):
    """One half of a database, open: values by address, names of networks."""

    @property
    def part(self) -> Part:
        """Where it comes from."""

    def find(self, addresses: U64, family: Family) -> npt.NDArray[Any]:
        """A country's packed letters or an AS number at each address; 0 is unknown."""

    def names_of(self, numbers: list[int]) -> dict[int, str]:
        """Names of networks by AS number; those not known are left out."""

    def close(self) -> None:
        """Let go of what it holds."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where many sources are registered, in their order: packed country letters and AS numbers, 0 for unknown."""

    countries: npt.NDArray[np.uint16]
    networks: U32


class TableLookup:
    """One half of a table of origins. What was unpacked stays until :meth:`close`: that is what a question costs."""

    def __init__(self, table: OriginTable, part: PartName) -> None:
        self.part = table.parts[part]
        self._table = table
        self._name = part
        self._ranges: dict[Family, Ranges] = {}
        self._names: dict[int, str | None] = {}

    def find(self, addresses: U64, family: Family) -> npt.NDArray[Any]:
        """See :class:`Lookup`."""
        if family not in self._ranges:
            self._ranges[family] = self._table.ranges(self._name, family)
        return self._ranges[family].find(addresses)

    def names_of(self, numbers: list[int]) -> dict[int, str]:
        """See :class:`Lookup`."""
        fresh = [number for number in numbers if number not in self._names]
        if fresh:
            found = self._table.names(fresh)
            self._names |= {number: found.get(number) for number in fresh}
        return {number: name for number in numbers if (name := self._names[number]) is not None}

    def close(self) -> None:
        """Forget what was unpacked."""
        self._ranges.clear()
        self._names.clear()


class FileLookup:
    """An MMDB file of the user's, opened at the first question and mapped until :meth:`close`."""

    def __init__(self, lookup: MmdbLookup) -> None:
        self.part = lookup.part
        self._lookup = lookup

    def find(self, addresses: U64, family: Family) -> npt.NDArray[Any]:
        """See :class:`Lookup`."""
        return self._lookup.find(addresses, family)

    def names_of(self, numbers: list[int]) -> dict[int, str]:
        """See :class:`Lookup`; knows the networks that :meth:`find` met."""
        known = self._lookup.names()
        return {number: known[number] for number in numbers if known.get(number)}

    def close(self) -> None:
        """Unmap the file."""
        self._lookup.close()


class OriginBook:
    """Looks up origins in one database; the ``Attributor`` of the incidents.

    Args:
        countries: says countries.
        networks: says networks.
    """

    def __init__(self, countries: Lookup, networks: Lookup) -> None:
        self._countries = countries
        self._networks = networks

    @property
    def database(self) -> GeoDatabase:
        """Both halves in one description, as it stands in a report."""
        parts = (self._countries.part, self._networks.part)
        first, second = parts
        return GeoDatabase(
            name="; ".join(f"{what}: {part.name}" for what, part in zip(_HALVES, parts, strict=True)),
            date=first.date if first.date == second.date else f"{first.date} / {second.date}",
            licence="; ".join(_once(part.licence for part in parts)),
            attribution="; ".join(
                f"{what}: {part.attribution}"
                for what, part in zip(_HALVES, parts, strict=True)
                if part.attribution
            ),
        )

    def locate(self, keys: U64) -> Places:
        """Country and network of each source, shape as ``keys`` (``dataplane.keys``). Reserved ones have neither."""
        countries = np.zeros(len(keys), dtype=np.uint16)
        networks = np.zeros(len(keys), dtype=np.uint32)
        for family, where, addresses in _by_family(keys):
            if not len(addresses):
                continue
            reserved = is_reserved(addresses, family)
            code = self._countries.find(addresses, family)
            number = self._networks.find(addresses, family)
            countries[where] = np.where(reserved, _RESERVED, code)
            networks[where] = np.where(reserved, 0, number)
        return Places(countries, networks)

    def origin(self, table: SourceTable) -> Origin:
        """Countries and networks of a whole incident, biggest first."""
        places = self.locate(table.keys)
        by_country = [
            _share(unpack_country(code) or UNKNOWN, country_name(unpack_country(code) or UNKNOWN), *sums)
            for code, sums in _sums(places.countries, table)
        ]
        rows = list(_sums(places.networks, table))[:MOST_NETWORKS]
        names = self._networks.names_of([number for number, _ in rows if number])
        by_as = [
            _share(
                f"AS{number}" if number else "",
                names.get(number, "") if number else "no network known",
                *sums,
            )
            for number, sums in rows
        ]
        proven = int(table.packets[table.proven].sum())
        give_back_memory()
        return Origin(
            by_country=tuple(by_country),
            by_as=tuple(by_as),
            database=self.database,
            note=believable(int(table.packets.sum()), proven),
        )

    def places(self, sources: list[str]) -> list[Place]:
        """Where each source is, in the same order; an entry that is no address is nowhere."""
        keys = [_key(source) for source in sources]
        found = self.locate(np.array([key or 0 for key in keys], dtype=np.uint64))
        networks = found.networks.tolist()
        names = self._networks.names_of(sorted({number for number in networks if number}))
        give_back_memory()
        return [
            Place()
            if key is None
            else Place(unpack_country(code) or None, number or None, names.get(number) or None)
            for key, code, number in zip(keys, found.countries.tolist(), networks, strict=True)
        ]

    def close(self) -> None:
        """Let go of files."""
        self._countries.close()
        self._networks.close()


_HALVES = ("countries", "networks")
_RESERVED = np.uint16(pack_country(RESERVED))


def believable(packets: int, proven: int) -> str:
    """In words, how far the origins of an incident can be believed.

    Args:
        packets: all packets of the metered sources.
        proven: those of sources that completed a handshake.
    """
    registered = (
        "A country is where the address is registered, not where the one who sends sits: "
        "bots, rented servers and proxies stand between."
    )
    if not packets:
        return "No source was metered, so nothing can be said about origins."
    share = proven / packets
    if proven == 0:
        return (
            "None of these sources completed a handshake with this host, so each source address may be forged. "
            "The shares say what the packets claim, not who sent them. " + registered
        )
    if proven == packets:
        return (
            "Every source completed a handshake with this host: the addresses are real, not forged. "
            + registered
        )
    percent = f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"
    return (
        f"{percent} of the packets come from sources that completed a handshake with this host: those addresses are "
        "real. The other sources never did, so their addresses may be forged: their shares say what the packets claim, "
        "not who sent them. " + registered
    )


def give_back_memory() -> None:
    """Return freed pages to the kernel: some megabytes of lookups would otherwise stay with the daemon for good."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc: its own allocator decides


def _by_family(keys: U64) -> list[tuple[Family, npt.NDArray[np.intp], U64]]:
    """Where the sources of each family stand, and their addresses as numbers."""
    first = keys.astype("<u8").view(np.uint8).reshape(-1, 8)[:, ::-1].copy().view("<u8").reshape(-1)
    v4 = first >> np.uint64(32) == _V4_MARK
    addresses = first & np.uint64(0xFFFF_FFFF)
    six_to_four = first >> np.uint64(48) == SIX_TO_FOUR
    addresses[six_to_four] = first[six_to_four] >> np.uint64(16) & np.uint64(0xFFFF_FFFF)
    as_v4 = v4 | six_to_four
    at4, at6 = np.nonzero(as_v4)[0], np.nonzero(~as_v4)[0]
    return [(4, at4, addresses[at4]), (6, at6, first[at6])]


def _sums(groups: npt.NDArray[Any], table: SourceTable) -> list[tuple[int, tuple[Any, ...]]]:
    """Each group with its sums and the totals, most packets first, then most sources, then by its number."""
    values, at = np.unique(groups, return_inverse=True)
    size = len(values)

    def add(weights: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
        out = np.zeros(size, dtype=np.uint64)
        np.add.at(out, at, weights.astype(np.uint64))  # bincount would add in floats
        return out

    packets, octets = add(table.packets), add(table.bytes)
    sources = np.bincount(at, minlength=size)
    proven = add(np.where(table.proven, table.packets, np.uint64(0)))
    totals = (max(1, int(packets.sum())), max(1, int(octets.sum())), max(1, len(table)))
    order = np.lexsort((values, -sources, -packets.astype(np.int64)))
    return [
        (int(values[i]), (int(packets[i]), int(octets[i]), int(sources[i]), int(proven[i]), totals))
        for i in order
    ]


def _share(
    code: str, name: str, packets: int, octets: int, sources: int, proven: int, totals: tuple[int, int, int]
) -> Share:
    return Share(
        code=code,
        name=name,
        packets=packets,
        bytes=octets,
        sources=sources,
        share_packets=packets / totals[0],
        share_bytes=octets / totals[1],
        share_sources=sources / totals[2],
        handshake_packets=proven,
        spoofable_packets=packets - proven,
    )


def _key(source: str) -> int | None:
    try:
        prefix = Prefix.parse(source)
    except AddressError:
        return None
    return int.from_bytes(
        b"\xff\xff\x00\x00" + prefix.packed if prefix.version == 4 else prefix.packed[:8], "little"
    )


def _once(texts: Any) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
