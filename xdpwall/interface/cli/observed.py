# SPDX-License-Identifier: Apache-2.0
"""`xdpwall observed`: what parts on trial would have dropped, and whom it would have hit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import Column, emit_json, say, table
from xdpwall.interface.cli.units import count, plural, size

_PARTS = (
    Column("PART"),
    Column("POLICY"),
    Column("WOULD DROP", right=True),
    Column("BYTES", right=True),
    Column("GOOD SOURCES", right=True),
    Column("REASONS", style="dim"),
)
_RULES = (
    Column("RULE", right=True),
    Column("MATCHED", right=True),
    Column("BYTES", right=True),
    Column("PROVEN", right=True),
    Column("MATCHES"),
)
_GOOD = (
    Column("GOOD SOURCE"),
    Column("KNOWN BY"),
    Column("SAMPLED", right=True),
    Column("LAST SEEN"),
    Column("WOULD HAVE BEEN DROPPED FOR", style="dim"),
)


@click.command(cls=Verb)
@click.pass_obj
def command(settings: Settings) -> None:
    """What the parts that only observe would have dropped, and which good sources that would have hit.

    A packet is counted here if it passed in the end, and only because its reason observes. A good source completed a
    handshake lately, or its packet belongs to a flow of this host; they are looked for in samples, so there may be more
    than are listed. Without a controller nobody looks for them.
    """
    result = ask(settings, "observed")
    if settings.json:
        emit_json(result)
        return
    parts, rules = result["parts"], result["rules"]
    if not parts and not rules:
        say(
            'nothing observes: every part is enforced. To try one: observe = ["lanes.udp"] in the config, and load'
        )
        return
    say(f"observing as now since {_time(result['since_ms'])}")
    if parts:
        table(_PARTS, [_part(row, result["good_source_count"] is not None) for row in parts])
    if rules:
        table(_RULES, [_rule(row) for row in rules])
    _tell_good(result)


def _tell_good(result: dict[str, Any]) -> None:
    number = result["good_source_count"]
    if number is None:
        say("no controller runs: nobody looked for good sources among them")
        return
    if not number:
        say("no source that is known to be good was seen among them")
        return
    say(f"{plural(number, 'known-good source')} would have lost packets:")
    table(_GOOD, [_good(row) for row in result["good_sources"]])


def _part(row: dict[str, Any], watched: bool) -> list[str]:
    return [
        row["part"],
        "observe" if row["observes"] else "enforce again",
        count(row["packets"]),
        size(row["bytes"]),
        count(row["good_sources"]) if watched else "?",
        ", ".join(f"{entry['reason']} {count(entry['packets'])}" for entry in row["reasons"]),
    ]


def _rule(row: dict[str, Any]) -> list[str]:
    return [
        str(row["id"]),
        count(row["packets"]),
        size(row["bytes"]),
        count(row["proven_packets"]),
        row["text"],
    ]


def _good(row: dict[str, Any]) -> list[str]:
    return [
        row["source"],
        row["proof"],
        count(row["samples"]),
        _time(row["last_ms"]),
        ", ".join(row["reasons"]),
    ]


def _time(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
