# SPDX-License-Identifier: Apache-2.0
"""`xdpwall ban`: ban addresses and prefixes, lift and list bans."""

from __future__ import annotations

import sys
from typing import Any

import click

from xdpwall.errors import NotFoundError, RefusedError, XdpwallError
from xdpwall.interface.cli.answers import tell_refused, tell_warnings
from xdpwall.interface.cli.ask import ask, ask_in_parts
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.output import Column, emit_json, note, say, table, write
from xdpwall.interface.cli.prefixes import explicit, read_arguments
from xdpwall.interface.cli.units import count, plural, size
from xdpwall.model import Prefix, format_duration_ms, parse_duration_ms

_COLUMNS = (
    Column("PREFIX"),
    Column("LEFT", right=True),
    Column("BY"),
    Column("STRIKES", right=True),
    Column("DROPPED", right=True),
    Column("BYTES", right=True),
    Column("REASON"),
)
_SHOWN = 100


@click.group(cls=Verbs)
def command() -> None:
    """Ban addresses and prefixes, lift and list bans.

    A lone IPv6 address stands for its /64, as one host owns a /64. Works without a controller too.
    """


@command.command("add", short_help="Ban each CIDR; - reads a list.")
@click.argument("prefixes", nargs=-1, metavar="CIDR...")
@click.option(
    "--for", "length", metavar="TIME", help="How long: 90s, 10m, 1h30m, 7d or perm. Default: bans.time."
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the list later.")
@click.option("--skip-bad", is_flag=True, help="With -: leave out lines that cannot be read.")
@click.pass_obj
def add(
    settings: Settings, prefixes: tuple[str, ...], length: str | None, reason: str, skip_bad: bool
) -> int:
    """Ban each CIDR: its packets are dropped from now on.

    A - reads a list from standard input, one per line, with # for comments. If any line is bad nothing is banned. One
    that is banned already gets the new time. Refused ones (allowlisted, protected, too wide) make the exit code 5.
    """
    args: dict[str, Any] = {} if length is None else {"for_ms": parse_duration_ms(length)}
    reading = read_arguments(prefixes, skip_bad=skip_bad)
    result = ask_in_parts(settings, "ban.add", "items", reading.prefixes, reason=reason, **args)
    if settings.json:
        emit_json({**result, "widened": reading.widened, "skipped": len(reading.skipped)})
    else:
        reading.tell()
        time = f" for {length}" if length and args["for_ms"] else " for ever" if length else ""
        if result["added"]:
            say(f"banned {_many(result['added'])}{time}")
        if result["updated"]:
            say(f"{_many(result['updated'])} stood already and got the new time")
        tell_refused(result)
        tell_warnings(result)
    return RefusedError.exit_code if result["refused"] else 0


@command.command("del")
@click.argument("prefixes", nargs=-1, metavar="CIDR...")
@click.option("--skip-bad", is_flag=True, help="With -: leave out lines that cannot be read.")
@click.pass_obj
def delete(settings: Settings, prefixes: tuple[str, ...], skip_bad: bool) -> int:
    """Lift the ban on each CIDR.

    Exactly these: a wider ban that covers one stays, and is named. The exit code is 4 when one was not banned.
    """
    reading = read_arguments(prefixes, skip_bad=skip_bad)
    result = ask_in_parts(settings, "ban.del", "prefixes", reading.prefixes)
    if settings.json:
        emit_json({**result, "widened": reading.widened, "skipped": len(reading.skipped)})
    else:
        reading.tell()
        say(f"lifted {plural(result['removed'], 'ban')}")
        for prefix in result["missing"]:
            wider = result["covered_by"].get(prefix)
            note(f"{prefix} is not banned by itself{f', but {wider} is, which holds it' if wider else ''}")
        tell_warnings(result)
    return NotFoundError.exit_code if result["missing"] else 0


@command.command("list", short_help="List the bans that stand.")
@click.option(
    "--limit", type=click.IntRange(0), help=f"How many to show; 0 is all. Default: {_SHOWN}, with JSON all."
)
@click.option(
    "--prefixes",
    "only_prefixes",
    is_flag=True,
    help="Only the prefixes, one a line, as `ban add -` reads them.",
)
@click.pass_obj
def list_(settings: Settings, limit: int | None, only_prefixes: bool) -> None:
    """List the bans that stand, the ones that drop most first."""
    result = ask(settings, "ban.list")
    bans: list[dict[str, Any]] = result["bans"]
    bans.sort(key=lambda ban: (-ban["dropped_packets"], ban["prefix"]))
    shown = bans[:limit] if limit else bans
    if only_prefixes and not settings.json:
        write("".join(f"{explicit(ban['prefix'])}\n" for ban in shown))
        return
    if settings.json:
        emit_json({**result, "bans": shown})
        return
    if not bans:
        say("nothing is banned")
        return
    shown = bans if limit == 0 else bans[: limit or _SHOWN]
    table(_COLUMNS, [_row(ban) for ban in shown])
    if len(shown) < len(bans):
        note(f"{count(len(shown))} of {plural(len(bans), 'ban')}; --limit 0 shows all")


@command.command("test", short_help="Is it banned? Exit code 0: yes, 4: no.")
@click.argument("prefix", metavar="CIDR")
@click.pass_obj
def test(settings: Settings, prefix: str) -> int:
    """Is this address or prefix banned? Exit code 0: yes, the whole of it; 4: no."""
    parsed = Prefix.parse_source(prefix)
    result = ask(settings, "ban.test", prefix=explicit(parsed))
    if settings.json:
        emit_json(result)
    else:
        say(_answer(prefix.strip(), parsed, result))
    return 0 if result["banned"] else NotFoundError.exit_code


@command.command("flush")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def flush(settings: Settings, yes: bool) -> None:
    """Lift every ban. Asks first on a terminal."""
    if not yes and sys.stdin.isatty():
        question = f"Lift every ban of instance {settings.paths.instance!r}?"
        if not click.confirm(question, err=True):
            raise XdpwallError("not confirmed; every ban stands")
    result = ask(settings, "ban.flush")
    if settings.json:
        emit_json(result)
    else:
        say(f"lifted {plural(result['removed'], 'ban')}")
        tell_warnings(result)


def _answer(given: str, parsed: Prefix, result: dict[str, Any]) -> str:
    ban = result["ban"]
    name = given if explicit(parsed) == given else f"{given} ({explicit(parsed)})"
    by = "" if not ban or ban["prefix"] == str(parsed) else f" by {explicit(ban['prefix'])}"
    if result["banned"]:
        left = (
            "for ever"
            if ban["remaining_ms"] is None
            else f"for {format_duration_ms(ban['remaining_ms'])} more"
        )
        why = f": {ban['reason']}" if ban["reason"] else ""
        dropped = plural(ban["dropped_packets"], "packet")
        return f"{name} is banned{by} {left} ({ban['origin']}{why}); it dropped {dropped}"
    if result["allowed_by"] and ban:
        return f"{name} is not dropped: it is banned{by}, but the allowlist has {result['allowed_by']}, which wins"
    if result["allowed_by"]:
        return f"{name} is not banned; the allowlist has {result['allowed_by']}"
    return f"{name} is not banned"


def _row(ban: dict[str, Any]) -> list[str]:
    return [
        explicit(ban["prefix"]),
        format_duration_ms(ban["remaining_ms"]),
        ban["origin"],
        count(ban["strikes"]),
        count(ban["dropped_packets"]),
        size(ban["dropped_bytes"]),
        ban["reason"],
    ]


def _many(number: int) -> str:
    return f"{count(number)} prefix{'' if number == 1 else 'es'}"
