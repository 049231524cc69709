# SPDX-License-Identifier: Apache-2.0
"""`xdpwall verdicts`: what was passed and dropped, and why."""

from __future__ import annotations

from typing import Any

import click

from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import Column, emit_json, say, table
from xdpwall.interface.cli.units import count, pps, share, size

_HEAD = (Column("INTERFACE"), Column("REASON"), Column("VERDICT"), Column("PACKETS", right=True))
_TAIL = (Column("SHARE", right=True), Column("BYTES", right=True), Column("MEANING", style="dim"))

_STYLES = {"pass": "", "drop": "red", "would_drop": "yellow"}


@click.command(cls=Verb)
@click.pass_obj
def command(settings: Settings) -> None:
    """What was passed and dropped, by reason, since the wall was loaded.

    would_drop: it passed, only because its reason observes (see `xdpwall observed`).
    """
    result = ask(settings, "verdicts")
    if settings.json:
        emit_json(result)
        return
    rows = result["verdicts"]
    if not rows:
        say("no packet has been seen")
        return
    if result.get("policy") == "observe":
        say("policy is observe: nothing is dropped; would_drop is what enforce would drop")
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["interface"]] = totals.get(row["interface"], 0) + row["packets"]
    rated = any("pps" in row for row in rows)
    columns = (*_HEAD, *((Column("NOW", right=True),) if rated else ()), *_TAIL)
    table(
        columns,
        [_row(row, totals[row["interface"]], rated) for row in rows],
        [_STYLES[row["action"]] for row in rows],
    )


def _row(row: dict[str, Any], total: int, rated: bool) -> list[str]:
    now = [pps(row.get("pps", 0))] if rated else []
    return [
        row["interface"],
        row["reason"],
        row["action"].replace("_", " "),
        count(row["packets"]),
        *now,
        share(row["packets"], total),
        size(row["bytes"]),
        row["meaning"],
    ]
