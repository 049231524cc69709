# SPDX-License-Identifier: Apache-2.0
"""`xdpwall allow`: addresses and prefixes that are never dropped."""

from __future__ import annotations

from typing import Any

import click

from xdpwall.errors import NotFoundError, RefusedError
from xdpwall.interface.cli.answers import tell_refused, tell_warnings
from xdpwall.interface.cli.ask import ask, ask_in_parts
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.output import Column, emit_json, note, say, table
from xdpwall.interface.cli.prefixes import read_arguments
from xdpwall.interface.cli.protected import show_protected
from xdpwall.interface.cli.units import count

_COLUMNS = (Column("PREFIX"), Column("BY"), Column("REASON"))


@click.group(cls=Verbs)
def command() -> None:
    """Addresses and prefixes that are never dropped by a ban.

    The allowlist wins over every ban. A lone IPv6 address means that one address. Works without a controller too.
    """


@command.command("add", short_help="Put each CIDR on the allowlist; - reads a list.")
@click.argument("prefixes", nargs=-1, metavar="CIDR...")
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the list later.")
@click.option("--skip-bad", is_flag=True, help="With -: leave out lines that cannot be read.")
@click.pass_obj
def add(settings: Settings, prefixes: tuple[str, ...], reason: str, skip_bad: bool) -> int:
    """Put each CIDR on the allowlist; bans inside it are lifted. A - reads a list from standard input."""
    reading = read_arguments(prefixes, skip_bad=skip_bad, exact=True)
    result = ask_in_parts(settings, "allow.add", "prefixes", reading.prefixes, reason=reason)
    if settings.json:
        emit_json({**result, "skipped": len(reading.skipped)})
    else:
        reading.tell()
        if result["added"]:
            say(f"allowed {_many(result['added'])}")
        if result["existing"]:
            say(f"{_many(result['existing'])} stood already")
        for prefix in result["lifted"]:
            say(f"lifted the ban on {prefix}, which lies inside")
        tell_refused(result)
        tell_warnings(result)
    return RefusedError.exit_code if result["refused"] else 0


@command.command("del", short_help="Take each CIDR off the allowlist.")
@click.argument("prefixes", nargs=-1, metavar="CIDR...")
@click.option("--skip-bad", is_flag=True, help="With -: leave out lines that cannot be read.")
@click.pass_obj
def delete(settings: Settings, prefixes: tuple[str, ...], skip_bad: bool) -> int:
    """Take each CIDR off the allowlist. The exit code is 4 when one was not on it."""
    reading = read_arguments(prefixes, skip_bad=skip_bad, exact=True)
    result = ask_in_parts(settings, "allow.del", "prefixes", reading.prefixes)
    if settings.json:
        emit_json({**result, "skipped": len(reading.skipped)})
    else:
        reading.tell()
        say(f"took {_many(result['removed'])} off the allowlist")
        for prefix in result["missing"]:
            note(f"{prefix} is not on the allowlist")
        tell_refused(result)
        tell_warnings(result)
    if result["refused"]:
        return RefusedError.exit_code
    return NotFoundError.exit_code if result["missing"] else 0


@command.command("list", short_help="List the allowlist, and who is protected.")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the allowlist: what the config file names, and what was added at run time.

    Then who is protected: never banned, because this host would cut itself or its operators off. Unlike those on the
    allowlist they can be dropped for their rate.
    """
    result = ask(settings, "allow.list")
    if settings.json:
        emit_json(result)
        return
    rows: list[dict[str, Any]] = result["allow"]
    if not rows:
        say("the allowlist is empty")
    else:
        table(_COLUMNS, [[row["prefix"], row["origin"], row["reason"]] for row in rows])
    show_protected(result)


def _many(number: int) -> str:
    return f"{count(number)} prefix{'' if number == 1 else 'es'}"
