# SPDX-License-Identifier: Apache-2.0
"""`xdpwall off`: pass everything at once, with the wall left in place."""

from __future__ import annotations

import os

import click

from xdpwall.clock import SystemClock
from xdpwall.errors import InputError
from xdpwall.interface.cli.answers import tell_warnings
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import emit_json, say
from xdpwall.model import parse_duration_ms


@click.command(cls=Verb)
@click.option("--for", "duration", metavar="TIME", help="Be on again by itself after this long, like 10m.")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown by `xdpwall status`.")
@click.pass_obj
def command(settings: Settings, duration: str | None, reason: str) -> None:
    """Pass everything at once: nothing is dropped, judged or counted until `xdpwall on`.

    Nothing is detached and no packet is lost: in each interface's place a program of two instructions runs instead of
    the wall. Bans, allowlist, known flows and counters stay. Needs no controller, and works beside one that hangs. With
    --for the kernel itself turns the wall on again, whatever became of the controller meanwhile.
    """
    need_root("`xdpwall off`")
    for_ms = None if duration is None else parse_duration_ms(duration)
    if duration is not None and for_ms is None:
        raise InputError("--for: an end is needed", hint="leave --for out: then it is off until `xdpwall on`")
    from xdpwall.control import switch_verbs

    result = switch_verbs.turn_off(
        settings.paths, SystemClock(), by=switch_verbs.who(os.environ), reason=reason, for_ms=for_ms
    )
    if settings.json:
        emit_json(result)
        return
    where = ", ".join(result["interfaces"]) or "no interface"
    end = "until `xdpwall on`" if duration is None else f"for {duration}"
    say(f"OFF {end}: everything passes on {where}")
    tell_warnings(dict(result))
