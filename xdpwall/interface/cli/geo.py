# SPDX-License-Identifier: Apache-2.0
"""`xdpwall geo`: the offline database of countries and networks."""

from __future__ import annotations

import ipaddress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import AddressError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.options import config_option
from xdpwall.interface.cli.output import Column, emit_json, note, say, table
from xdpwall.interface.cli.units import count

if TYPE_CHECKING:
    from xdpwall.config_geo import GeoConfig
    from xdpwall.incident.origin_open import Used

OLD_DAYS = 180
"""Past this age the database is called old: address ranges change hands all the time."""
_CHOSEN = {
    "config": "named in the config",
    "update": "put here by `geo update`",
    "shipped": "shipped with xdpwall",
}
_HALVES = {"country": "countries", "network": "networks"}


@click.group(cls=Verbs)
def command() -> None:
    """The offline database that says which country and network an address belongs to."""


@command.command("status")
@config_option
@click.pass_obj
def status(settings: Settings, config_path: Path | None) -> None:
    """Which database is in use, how old it is, under which licence."""
    need_root("`xdpwall geo`")
    from xdpwall.incident.origin_open import in_use

    config = _config(config_path)
    used = in_use(settings.paths, config.country_file, config.network_file)
    today = datetime.now(tz=UTC).date()
    if settings.json:
        emit_json({"databases": [_object(one, today) for one in used]})
        return
    for at, one in enumerate(used):
        if at:
            say("")
        rows = "" if one.rows is None else f", {count(one.rows)} ranges"
        say(f"{_HALVES[one.half]}: {one.part.name}")
        say(f"  date         {one.part.date} ({_age_days(one, today)} days ago){rows}")
        say(f"  file         {one.path} ({_CHOSEN[one.chosen_by]})")
        say(f"  licence      {one.part.licence}")
        if one.part.attribution:
            say(f"  attribution  {one.part.attribution}")
        if one.part.warning:
            say(f"  warning      {one.part.warning}")
    if any(_age_days(one, today) > OLD_DAYS for one in used):
        note(f"warning: data older than {OLD_DAYS} days: `xdpwall geo update FILE` takes a newer MMDB")


@command.command("update", short_help="Use the MMDB in FILE from now on.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--licence", default="", metavar="TEXT", help="What reports say of its licence.")
@click.option("--attribution", default="", metavar="TEXT", help="Whom reports name for the data.")
@click.option("--shipped", is_flag=True, help="Go back to the database that is shipped.")
@click.pass_obj
def update(settings: Settings, file: Path | None, licence: str, attribution: str, shipped: bool) -> None:
    """Use the MMDB in FILE from now on, for countries or for networks, whichever it is about.

    The file is read whole and checked; nothing is fetched. Reports name its date, licence and attribution. A running
    controller takes it up with the next incident.
    """
    need_root("`xdpwall geo update`")
    from xdpwall.incident import origin_open

    if (file is None) != shipped:
        raise click.UsageError("give a FILE, or --shipped")
    if file is None:
        removed = origin_open.forget_update(settings.paths)
        if settings.json:
            emit_json({"removed": removed})
        else:
            say("the shipped database is in use" if removed else "the shipped database was in use already")
        return
    part = origin_open.update(settings.paths, file, licence=licence, attribution=attribution)
    used = {one.half: one for one in origin_open.in_use(settings.paths)}
    half = next(name for name, one in used.items() if one.part == part)
    if settings.json:
        emit_json({"updated": _object(used[half], datetime.now(tz=UTC).date())})
        return
    say(f"{_HALVES[half]} now come from {part.name} of {part.date}, {count(used[half].rows or 0)} ranges")
    say(f"licence: {part.licence}")


@command.command("lookup")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@config_option
@click.pass_obj
def lookup(settings: Settings, addresses: tuple[str, ...], config_path: Path | None) -> None:
    """Country and network of each ADDRESS."""
    need_root("`xdpwall geo`")
    from xdpwall.incident.countries import country_name
    from xdpwall.incident.origin_open import open_book

    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise AddressError(f"{address!r} is not an IP address", hint="write it like 192.0.2.7") from None
    config = _config(config_path)
    book = open_book(settings.paths, config.country_file, config.network_file)
    try:
        places = book.places(list(addresses))
    finally:
        book.close()
    if settings.json:
        emit_json(
            {
                "places": [
                    {"address": address, "country": place.country, "asn": place.asn, "as_name": place.as_name}
                    for address, place in zip(addresses, places, strict=True)
                ]
            }
        )
        return
    rows = [
        [
            address,
            "-" if place.country is None else f"{place.country} {country_name(place.country)}",
            "-" if place.asn is None else f"AS{place.asn}",
            place.as_name or "",
        ]
        for address, place in zip(addresses, places, strict=True)
    ]
    table((Column("ADDRESS"), Column("COUNTRY"), Column("AS"), Column("NAME")), rows)


def _config(path: Path | None) -> GeoConfig:
    from xdpwall.config import Config

    return Config.load(path).geo


def _age_days(one: Used, today: date) -> int:
    return (today - date.fromisoformat(one.part.date)).days


def _object(one: Used, today: date) -> dict[str, Any]:
    return {
        "half": one.half,
        "chosen_by": one.chosen_by,
        "path": str(one.path),
        "name": one.part.name,
        "date": one.part.date,
        "age_days": _age_days(one, today),
        "ranges": one.rows,
        "licence": one.part.licence,
        "attribution": one.part.attribution,
        "warning": one.part.warning,
    }
