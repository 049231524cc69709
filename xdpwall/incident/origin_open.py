# SPDX-License-Identifier: Apache-2.0
"""Which database of origins is used, and how a new one is put in place.

Each half, countries and networks, is taken from the first of these that has it: the MMDB file that the config names,
the table that `xdpwall geo update` wrote for this instance, the table that is shipped.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

from xdpwall.errors import InputError, StoreError, XdpwallError
from xdpwall.incident.faces import Place, SourceTable
from xdpwall.incident.model import Origin
from xdpwall.incident.origin import FileLookup, Lookup, OriginBook, TableLookup
from xdpwall.incident.origin_mmdb import MmdbLookup, read
from xdpwall.incident.origin_table import (
    Family,
    OriginTable,
    Part,
    PartName,
    Ranges,
    ReplacedError,
    write_table,
)
from xdpwall.paths import Paths

Answer = TypeVar("Answer")
Choice = Literal["config", "update", "shipped"]
_FAMILIES: tuple[Family, ...] = (4, 6)
_PARTS: tuple[PartName, ...] = ("country", "network")


@dataclass(frozen=True, slots=True)
class Used:
    """One half that is in use: where it stands, why, what it is. ``rows``: ranges it holds, None for an MMDB."""

    half: PartName
    chosen_by: Choice
    path: Path
    part: Part
    rows: int | None


def shipped_path() -> Path:
    """The table that comes with xdpwall."""
    return Path(str(resources.files("xdpwall.incident").joinpath("data", "origins.table")))


def updated_path(paths: Paths) -> Path:
    """Where `xdpwall geo update` puts its table."""
    return paths.state / "origins.table"


class Origins:
    """The ``Attributor`` of a controller: opens the database for each question and keeps nothing between two.

    So a new database is taken up at once, and the megabytes of lookups are there only while they are used.

    Args:
        paths: the instance.
        country_file: see :func:`open_book`.
        network_file: see :func:`open_book`.
    """

    def __init__(
        self, paths: Paths, country_file: Path | None = None, network_file: Path | None = None
    ) -> None:
        self._arguments = (paths, country_file, network_file)

    def origin(self, table: SourceTable) -> Origin:
        """Countries and networks of a whole incident, biggest first.

        Raises:
            XdpwallError: as :func:`open_book`.
        """
        return self._ask(lambda book: book.origin(table))

    def places(self, sources: list[str]) -> list[Place]:
        """Where each source is, in the same order.

        Raises:
            XdpwallError: as :func:`open_book`.
        """
        return self._ask(lambda book: book.places(sources))

    def about(self, table: SourceTable, sources: list[str]) -> tuple[Origin, list[Place]]:
        """Both at once: what is unpacked for the one serves the other.

        Raises:
            XdpwallError: as :func:`open_book`.
        """
        return self._ask(lambda book: (book.origin(table), book.places(sources)))

    def _ask(self, question: Callable[[OriginBook], Answer]) -> Answer:
        for last in (False, True):
            with contextlib.closing(open_book(*self._arguments)) as book:
                try:
                    return question(book)
                except ReplacedError:
                    if last:
                        raise
        raise AssertionError("unreachable")


def open_book(paths: Paths, country_file: Path | None = None, network_file: Path | None = None) -> OriginBook:
    """The database in use. Little is read before it is asked.

    Args:
        paths: the instance.
        country_file: MMDB file that the config names for countries, or None.
        network_file: the same for networks.

    Raises:
        InputError: a file is missing or is no database.
        MissingDependencyError: an MMDB is named, and maxminddb is not installed.
    """
    table, _ = _table(paths)
    countries: Lookup = TableLookup(table, "country")
    networks: Lookup = TableLookup(table, "network")
    if country_file is not None:
        countries = FileLookup(_open_kind(country_file, "country"))
    if network_file is not None:
        networks = FileLookup(_open_kind(network_file, "network"))
    return OriginBook(countries, networks)


def in_use(paths: Paths, country_file: Path | None = None, network_file: Path | None = None) -> list[Used]:
    """What :func:`open_book` with the same arguments would use, countries first.

    Raises:
        InputError: as there.
        MissingDependencyError: as there.
    """
    table, chosen = _table(paths)
    rows = table.rows()
    used = []
    for half, file in zip(_PARTS, (country_file, network_file), strict=True):
        if file is not None:
            with contextlib.closing(_open_kind(file, half)) as lookup:
                used.append(Used(half, "config", file, lookup.part, None))
        else:
            count = sum(rows[f"{half}.{family}"] for family in _FAMILIES)
            by = chosen
            if by == "update" and table.parts[half] == OriginTable.open(shipped_path()).parts[half]:
                by = "shipped"  # an update of the other half carried it along
            used.append(Used(half, by, table.path, table.parts[half], count))
    return used


def update(paths: Paths, file: Path, *, licence: str = "", attribution: str = "") -> Part:
    """Put a new database in place of one half: countries or networks, whichever the file is about.

    The file is read whole, checked, and turned into a table beside the state database, together with the other half as
    it is now. Whoever reads meanwhile gets the old table or the new one, never a mixture.

    Args:
        paths: the instance.
        file: an MMDB file.
        licence: what to say of its licence; empty: what is known of its maker.
        attribution: whom to name; empty: what is known of its maker.

    Raises:
        InputError: no such file, or no database.
        StoreError: the table cannot be written.
        MissingDependencyError: maxminddb is not installed.
    """
    contents = read(file)
    part = replace(
        contents.part,
        licence=licence or contents.part.licence,
        attribution=attribution or contents.part.attribution,
    )
    table, _ = _table(paths)
    parts: Mapping[PartName, Part] = {**table.parts, contents.kind: part}
    ranges: dict[tuple[PartName, Family], Ranges] = {}
    for half in _PARTS:
        for family in _FAMILIES:
            mine = half == contents.kind
            ranges[half, family] = contents.ranges[family] if mine else table.ranges(half, family)
    names = contents.names if contents.kind == "network" else table.all_names()
    _replace_file(updated_path(paths), write_table(parts, ranges, names))
    return part


def forget_update(paths: Paths) -> bool:
    """Go back to the table that is shipped. False if there was nothing to forget.

    Raises:
        StoreError: the file cannot be removed.
    """
    try:
        updated_path(paths).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{updated_path(paths)}: {error.strerror}") from None
    return True


def _table(paths: Paths) -> tuple[OriginTable, Choice]:
    path = updated_path(paths)
    if path.exists():
        return OriginTable.open(path), "update"
    try:
        return OriginTable.open(shipped_path()), "shipped"
    except InputError as error:
        raise XdpwallError(
            f"the database of origins that is shipped cannot be used: {error.message}",
            hint="install xdpwall anew, or give a file of your own: xdpwall geo update FILE",
        ) from None


def _open_kind(path: Path, kind: PartName) -> MmdbLookup:
    lookup = MmdbLookup.open(path)
    if lookup.kind != kind:
        lookup.close()
        wanted, key = ("countries", "database") if kind == "country" else ("networks", "asn_database")
        raise InputError(f"{path}: geo.{key} wants a database of {wanted}, and this is of another kind")
    return lookup


def _replace_file(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="run it as root") from None
