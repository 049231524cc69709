# SPDX-License-Identifier: Apache-2.0
"""`xdpwall rules`: the rules that were made from an attack's own packets."""

from __future__ import annotations

from typing import Any

import click

from xdpwall.interface.cli.answers import tell_warnings
from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.output import Column, emit_json, say, table
from xdpwall.interface.cli.units import count, pps
from xdpwall.model import format_duration_ms

_COLUMNS = (
    Column("ID", right=True),
    Column("LANE"),
    Column("POLICY"),
    Column("LEFT", right=True),
    Column("PACKETS", right=True),
    Column("NOW", right=True),
    Column("COVER", right=True),
    Column("COLLATERAL", right=True),
    Column("PROVEN", right=True),
    Column("MATCHES"),
)


@click.group(cls=Verbs, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Rules made from an attack's own packets: list them, let one only observe, take one away.

    The controller makes them, over a lane's budget, from what the attack's packets share and good ones do not. They
    lapse by themselves. Works without a controller too.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


@command.command("list", short_help="List the rules in force.")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the rules in force.

    COVER is the share of the attack's packets that a rule matched when it was made, COLLATERAL the share of known-good
    packets that it matches, PROVEN how many matching packets passed because they had proof.
    """
    result = ask(settings, "rules.list")
    if settings.json:
        emit_json(result)
        return
    rows = result["rules"]
    if not rows:
        say("no rule is in force")
        return
    table(
        _COLUMNS, [_row(row) for row in rows], ["" if row["policy"] == "enforce" else "dim" for row in rows]
    )


@command.command("observe")
@click.argument("ident", metavar="ID", type=click.IntRange(1))
@click.pass_obj
def observe(settings: Settings, ident: int) -> None:
    """Let a rule only count what it matches, and drop nothing."""
    _change(settings, "rules.observe", ident, "only observes now")


@command.command("enforce")
@click.argument("ident", metavar="ID", type=click.IntRange(1))
@click.pass_obj
def enforce(settings: Settings, ident: int) -> None:
    """Let a rule drop what it matches and has no proof."""
    _change(settings, "rules.enforce", ident, "drops now")


@command.command("del")
@click.argument("ident", metavar="ID", type=click.IntRange(1))
@click.pass_obj
def delete(settings: Settings, ident: int) -> None:
    """Take a rule out of force. The same one is not made again for ten minutes."""
    _change(settings, "rules.del", ident, "is out of force")


def _change(settings: Settings, op: str, ident: int, what: str) -> None:
    result = ask(settings, op, id=ident)
    if settings.json:
        emit_json(result)
        return
    say(f"rule {ident} {what}: {result['text']}")
    tell_warnings(result)


def _row(row: dict[str, Any]) -> list[str]:
    return [
        str(row["id"]),
        row["lane"],
        row["policy"],
        format_duration_ms(row["remaining_ms"]),
        count(row["packets"]),
        pps(row["pps"]) if "pps" in row else "",
        f"{row['cover']:.0%}",
        f"{row['collateral']:.2%} of {count(row['good'])}",
        count(row["proven_packets"]),
        row["text"],
    ]
