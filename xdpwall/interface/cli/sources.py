# SPDX-License-Identifier: Apache-2.0
"""`xdpwall sources`: who sends the most."""

from __future__ import annotations

from typing import Any

import click

from xdpwall.control.protocol import SORTS
from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import Column, emit_json, note, say, table
from xdpwall.interface.cli.units import bits, count, pps, size

_COLUMNS = (
    Column("SOURCE"),
    Column("PACKETS/s", right=True),
    Column("BITS/s", right=True),
    Column("SYN/s", right=True),
    Column("UDP/s", right=True),
    Column("ICMP/s", right=True),
    Column("PACKETS", right=True),
    Column("BYTES", right=True),
    Column("DROPS", right=True),
    Column("STATE"),
)


@click.command(cls=Verb)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option(
    "--sort", type=click.Choice(SORTS), default="pps", show_default=True, help="By what, largest first."
)
@click.pass_obj
def command(settings: Settings, limit: int, sort: str) -> None:
    """Who sends the most.

    A source is an IPv4 address or an IPv6 /64. Needs the controller: rates are its work.
    """
    result = ask(settings, "sources", limit=limit, sort=sort)
    if settings.json:
        emit_json(result)
        return
    rows = result["sources"]
    if not rows:
        say("no source has been seen")
        return
    table(_COLUMNS, [_row(row) for row in rows], [_style(row) for row in rows])
    if result.get("metered", 0) > len(rows):
        note(f"{count(len(rows))} of {count(result['metered'])} sources; --limit shows more")


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["source"],
        pps(row["pps"]).removesuffix("pps").rstrip(),
        bits(row["bps"]).removesuffix("bit/s").rstrip(),
        count(row["syn_pps"]),
        count(row["udp_pps"]),
        count(row["icmp_pps"]),
        count(row["packets"]),
        size(row["bytes"]),
        count(row["drops"]),
        "allowed" if row["allowed"] else "banned" if row["banned"] else "",
    ]


def _style(row: dict[str, Any]) -> str:
    return "green" if row["allowed"] else "red" if row["banned"] else ""
