#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes xdpwall/incident/data/origins.table: country and network of every address, for the reports.

`make geo` fetches the two npm packages that it needs and calls it; a maintainer does so now and then. The same data
give the same file.

    make_origins.py COUNTRY.mmdb ASN_FOLDER OUT
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from xdpwall.incident import origin_mmdb
from xdpwall.incident.origin_table import Family, Part, PartName, Ranges, merge_ranges, write_table

WARNING = (
    "its publisher says that this release has known errors and that later ones are published elsewhere; "
    "`xdpwall geo update FILE` takes any newer MMDB"
)


def asn_rows(path: Path, family: Family, names: dict[int, str]) -> Iterator[tuple[int, int, int]]:
    """Ranges of one CSV, IPv6 cut to 64 bits. ``names`` gets the name of each AS, the first one seen."""
    shift = 0 if family == 4 else 64
    with path.open(encoding="utf-8", newline="") as file:
        for first, last, number, name in csv.reader(file):
            names.setdefault(int(number), name.strip())
            yield int(first) >> shift, int(last) >> shift, int(number)


def package_date(folder: Path) -> str:
    """The date in the version of an npm package of this publisher: 2.3.2026061719 is of 2026-06-17."""
    version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    return datetime.strptime(version.rsplit(".", 1)[-1][:8], "%Y%m%d").date().isoformat()


def main() -> None:
    """Write the table, and say how large it is."""
    country_path, asn_folder, out = (Path(argument) for argument in sys.argv[1:4])
    names: dict[int, str] = {}
    ranges: dict[tuple[PartName, Family], Ranges] = {}
    families: tuple[Family, ...] = (4, 6)
    countries = origin_mmdb.read(country_path)
    for family in families:
        ranges["country", family] = countries.ranges[family]
    for family in families:
        rows = asn_rows(asn_folder / f"asn-ipv{family}-num.csv", family, names)
        ranges["network", family] = merge_ranges(rows, family, np.uint32)
    parts: dict[PartName, Part] = {
        "country": Part(
            name="ip-location-db geo-whois-asn-country",
            date=countries.part.date,
            licence="CC BY 4.0",
            attribution="Number Resource Organization (nro.net), merged by ip-location-db",
            warning=WARNING,
        ),
        "network": Part(
            name="ip-location-db asn",
            date=package_date(asn_folder),
            licence="CC BY 4.0",
            attribution="RouteViews (routeviews.org), IP to ASN Lite by DB-IP (db-ip.com), "
            "Number Resource Organization (nro.net), merged by ip-location-db",
            warning=WARNING,
        ),
    }
    table = write_table(parts, ranges, names)
    out.write_bytes(table)
    rows_by_lookup = ", ".join(f"{part}.{family}: {len(r.starts)}" for (part, family), r in ranges.items())
    sys.stdout.write(f"{out}: {len(table)} bytes; {rows_by_lookup}; networks with a name: {len(names)}\n")


if __name__ == "__main__":
    main()
