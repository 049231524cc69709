#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes xdpwall/lab/data/prefixes.txt: real prefixes by country, from which the lab's bots get their addresses.

Rarely run, by a maintainer, in a folder of its own; needs the npm client and the Python package maxminddb:

    npm pack @ip-location-db/geo-whois-asn-country-mmdb && tar xzf *.tgz
    python3 -m venv venv && venv/bin/pip install maxminddb
    venv/bin/python .../packaging/lab/make_lab_prefixes.py package/geo-whois-asn-country.mmdb > prefixes.txt

The same data and seed give the same file.
"""

from __future__ import annotations

import ipaddress
import random
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SEED = 2019
# Country: how many IPv4 and IPv6 prefixes. The first two carry most of a scenario's bots, each in a /24 of its own.
WANTED = {
    "RU": (300, 60),
    "BR": (200, 40),
    "US": (60, 12),
    "CN": (60, 12),
    "IN": (60, 12),
    "ID": (60, 12),
    "VN": (60, 12),
    "UA": (60, 12),
    "TR": (60, 12),
    "TH": (60, 12),
    "MX": (40, 12),
    "DE": (40, 12),
}
V4_LENGTHS = range(14, 19)
V6_LENGTHS = range(24, 41)

HEADER = """\
# Real prefixes by country, a sample: each line is a country code (ISO 3166-1 alpha-2) and a prefix.
# Made by packaging/lab/make_lab_prefixes.py from geo-whois-asn-country-mmdb (ip-location-db), data of {date}.
# Licence: CC BY 4.0, Number Resource Organization (nro.net). See README.md beside this file.
"""


def collect(database: Any) -> dict[tuple[str, int], list[str]]:
    """Prefixes of usable length by country and IP version, in the order of the data."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for network, record in database:
        country = record.get("country_code", "")
        lengths = V4_LENGTHS if network.version == 4 else V6_LENGTHS
        if country in WANTED and network.prefixlen in lengths and network.is_global:
            found[country, network.version].append(str(network))
    return found


def main() -> None:
    """Write the file to standard output."""
    import maxminddb  # noqa: PLC0415 - only this script needs it

    path = Path(sys.argv[1])
    with maxminddb.open_database(path) as database:
        date = datetime.fromtimestamp(database.metadata().build_epoch, tz=UTC).date().isoformat()
        found = collect(database)
    chosen = random.Random(SEED)
    lines = []
    for country, counts in WANTED.items():
        for version, count in zip((4, 6), counts, strict=True):
            prefixes = chosen.sample(found[country, version], min(count, len(found[country, version])))
            prefixes.sort(key=lambda text: ipaddress.ip_network(text).network_address.packed)
            lines += [f"{country} {prefix}" for prefix in prefixes]
    sys.stdout.write(HEADER.format(date=date) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
