# SPDX-License-Identifier: Apache-2.0
"""MaxMind DB files (MMDB), the format that most makers of such data publish: read whole into ranges, or asked directly.

A record says its country as ``country_code`` (ip-location-db and others) or ``country.iso_code`` (GeoLite2, DB-IP); its
network as ``autonomous_system_number`` and ``autonomous_system_organization``, or ``asn`` and ``as_name``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xdpwall.errors import InputError, MissingDependencyError
from xdpwall.incident.origin_table import U64, Family, Part, PartName, Ranges, merge_ranges, pack_country

if TYPE_CHECKING:
    import maxminddb

# What makers want said of their data, by the beginning of the database's own type.
_MAKERS: tuple[tuple[str, str, str], ...] = (
    ("GeoLite2", "GeoLite2 End User License Agreement", "GeoLite2 data created by MaxMind (maxmind.com)"),
    ("GeoIP2", "MaxMind's terms", "GeoIP2 data created by MaxMind (maxmind.com)"),
    ("DBIP", "CC BY 4.0 (Lite), else DB-IP's terms", "IP Geolocation by DB-IP (db-ip.com)"),
    ("ipinfo", "IPinfo's terms", "IP address data powered by IPinfo (ipinfo.io)"),
)
# What the reader raises for a damaged file, beside its own InvalidDatabaseError: it trusts lengths and pointers.
_DAMAGE = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
)
_UNKNOWN_LICENCE = "not stated in the file: see its publisher"


@dataclass(frozen=True, slots=True)
class MmdbContents:
    """A whole file: lookups by family, and the names of networks (empty for countries)."""

    kind: PartName
    part: Part
    ranges: dict[Family, Ranges]
    names: dict[int, str]


@dataclass(slots=True)
class MmdbLookup:
    """A file that is asked directly, address by address. ``close`` it after use: it is mapped until then."""

    kind: PartName
    part: Part
    _reader: maxminddb.Reader
    _names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> MmdbLookup:
        """Map a file.

        Raises:
            InputError: no such file, no MMDB, or nothing about countries or networks in it.
            MissingDependencyError: maxminddb is not installed.
        """
        reader = _open(path)
        try:
            return cls(_kind(reader, path), part_of(reader), reader)
        except InputError:
            reader.close()
            raise

    def close(self) -> None:
        """Unmap it."""
        self._reader.close()

    def find(self, addresses: U64, family: Family) -> U64:
        """The value at each address as in a table: a country's packed letters, or an AS number; 0 is unknown.

        Args:
            addresses: IPv4 addresses, or the first 64 bits of IPv6 addresses, ``uint64``.
            family: which of the two.
        """
        found = np.zeros(len(addresses), dtype=np.uint64)
        if family == 6 and self._reader.metadata().ip_version == 4:
            return found
        where, width, tail = (socket.AF_INET, 4, b"") if family == 4 else (socket.AF_INET6, 8, bytes(8))
        for at, address in enumerate(addresses.tolist()):
            record = self._get(socket.inet_ntop(where, address.to_bytes(width, "big") + tail))
            if isinstance(record, dict):
                found[at] = _value(record, self.kind)
                if self.kind == "network" and found[at] and int(found[at]) not in self._names:
                    self._names[int(found[at])] = as_name_of(record)
        return found

    def _get(self, address: str) -> Any:
        """The record of an address; None where the file has none, or is damaged just there."""
        import maxminddb  # noqa: PLC0415 - as in _open

        try:
            return self._reader.get(address)
        except (maxminddb.InvalidDatabaseError, *_DAMAGE):
            return None

    def names(self) -> dict[int, str]:
        """Names of the networks that were found so far."""
        return self._names


def read(path: Path) -> MmdbContents:
    """Read a file whole: about a minute for three million networks.

    Raises:
        InputError: no such file, no MMDB, or nothing about countries or networks in it.
        MissingDependencyError: maxminddb is not installed.
    """
    reader = _open(path)
    try:
        kind = _kind(reader, path)
        rows: dict[Family, list[tuple[int, int, int]]] = {4: [], 6: []}
        names: dict[int, str] = {}
        for network, record in _networks(reader, path):
            value = _value(record, kind) if isinstance(record, dict) else 0
            if not value:
                continue
            family: Family = 4 if network.version == 4 else 6
            shift = 0 if family == 4 else 64
            rows[family].append(
                (int(network.network_address) >> shift, int(network.broadcast_address) >> shift, value)
            )
            if kind == "network" and value not in names and isinstance(record, dict):
                names[value] = as_name_of(record)
        if not rows[4] and not rows[6]:
            raise InputError(f"{path}: no record in it names a country or a network")
        dtype = np.uint16 if kind == "country" else np.uint32
        ranges = {family: merge_ranges(sorted(rows[family]), family, dtype) for family in rows}
        return MmdbContents(kind, part_of(reader), ranges, names)
    finally:
        reader.close()


def part_of(reader: maxminddb.Reader) -> Part:
    """What the file says of itself: type, description, date; licence where its maker is known."""
    about = reader.metadata()
    kind = str(about.database_type)
    licence, attribution = _UNKNOWN_LICENCE, ""
    for start, its_licence, its_attribution in _MAKERS:
        if kind.lower().startswith(start.lower()):
            licence, attribution = its_licence, its_attribution
    texts: object = about.description  # as the file has it
    described = texts.get("en") if isinstance(texts, dict) else None
    description = described if isinstance(described, str) else ""
    name = " ".join(f"{kind} {description}".split())[:200] if description and description != kind else kind
    try:
        date = datetime.fromtimestamp(about.build_epoch, tz=UTC).date().isoformat()
    except (*_DAMAGE, OSError):
        date = "1970-01-01"  # what says nothing is taken for very old
    return Part(name, date, licence, attribution)


def country_of(record: dict[str, Any]) -> str:
    """The country in a record, two letters; where it is used before where it is registered. Empty if there is none."""
    for name in ("country", "registered_country"):
        entry = record.get(name)
        if isinstance(entry, dict) and isinstance(entry.get("iso_code"), str):
            return str(entry["iso_code"])
    for name in ("country_code", "country"):
        if isinstance(record.get(name), str):
            return str(record[name])
    return ""


def as_number_of(record: dict[str, Any]) -> int:
    """The AS number in a record; 0 if there is none."""
    for name in ("autonomous_system_number", "asn"):
        value = record.get(name)
        if isinstance(value, str):
            value = value.upper().removeprefix("AS")
            value = int(value) if value.isascii() and value.isdigit() else None
        if isinstance(value, int) and 0 < value < 1 << 32:
            return value
    return 0


def as_name_of(record: dict[str, Any]) -> str:
    """The name of the network in a record; empty if there is none."""
    for name in ("autonomous_system_organization", "as_name", "as_organization", "name"):
        if isinstance(record.get(name), str):
            return str(record[name])
    return ""


def _value(record: dict[str, Any], kind: PartName) -> int:
    return pack_country(country_of(record)) if kind == "country" else as_number_of(record)


def _open(path: Path) -> maxminddb.Reader:
    try:
        import maxminddb  # noqa: PLC0415 - only who brings such a file needs it
    except ImportError:
        raise MissingDependencyError(
            f"{path}: the Python package maxminddb reads such files, and it is not installed",
            hint="apt-get install python3-maxminddb, or pip install maxminddb",
        ) from None
    try:
        # Read in Python: the C extension (3.2.0) writes beyond its own memory when it walks a damaged file.
        return maxminddb.open_database(path, maxminddb.MODE_MMAP)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", hint="name an MMDB file") from None
    except (maxminddb.InvalidDatabaseError, *_DAMAGE) as error:
        raise InputError(
            f"{path}: not a MaxMind DB file: {error}",
            hint="take the .mmdb itself, not the archive that it came in",
        ) from None


def _networks(reader: maxminddb.Reader, path: Path) -> Iterator[tuple[IPv4Network | IPv6Network, Any]]:
    import maxminddb  # noqa: PLC0415 - as in _open

    try:
        networks = iter(reader)
    except TypeError:
        raise MissingDependencyError(
            "the installed maxminddb is too old to read a file whole", hint="pip install 'maxminddb>=2.4'"
        ) from None
    try:
        # A tree has one leaf more than nodes; more are given only by one whose branches meet again, without end maybe.
        most = reader.metadata().node_count + 1
        for number, network in enumerate(networks):
            if number > most:
                raise InputError(f"{path}: damaged: its tree has loops")
            yield network
    except (maxminddb.InvalidDatabaseError, *_DAMAGE) as error:
        raise InputError(f"{path}: damaged: {error}") from None


def _kind(reader: maxminddb.Reader, path: Path) -> PartName:
    """What the file is about, judged by its first hundred records with anything in them."""
    for number, (_, record) in enumerate(_networks(reader, path)):
        if isinstance(record, dict):
            if country_of(record):
                return "country"
            if as_number_of(record):
                return "network"
        if number > 1_000:
            break
    raise InputError(
        f"{path}: its records name neither a country nor a network",
        hint="take a database of countries (country_code, country.iso_code) or of AS numbers",
    )
