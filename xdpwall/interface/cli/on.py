# SPDX-License-Identifier: Apache-2.0
"""`xdpwall on`: filter again after `xdpwall off`."""

from __future__ import annotations

import os

import click

from xdpwall.clock import SystemClock
from xdpwall.interface.cli.answers import tell_warnings
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import emit_json, say


@click.command(cls=Verb)
@click.pass_obj
def command(settings: Settings) -> None:
    """Filter again after `xdpwall off`: with every ban, budget and known flow that there was.

    Bans whose time ran out meanwhile are over. On a wall that is on it does nothing but see that it is.
    """
    need_root("`xdpwall on`")
    from xdpwall.control import switch_verbs

    result = switch_verbs.turn_on(settings.paths, SystemClock(), by=switch_verbs.who(os.environ))
    if settings.json:
        emit_json(result)
        return
    where = ", ".join(result["interfaces"]) or "no interface"
    say(
        f"on: the wall filters on {where}"
        if result["changed"]
        else f"the wall was on, and filters on {where}"
    )
    tell_warnings(dict(result))
