# SPDX-License-Identifier: Apache-2.0
"""`xdpwall top`: the live screen."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from xdpwall.control.client import Connection
from xdpwall.errors import NoControllerError, XdpwallError
from xdpwall.interface.cli.command import Settings, Verb


@click.command(cls=Verb)
@click.option("--plain", is_flag=True, help="Lines instead of a screen: for dumb terminals, pipes and logs.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option(
    "--rounds", type=click.IntRange(1), metavar="N", help="With --plain or -o json: end after so many."
)
@click.option("--read-only", is_flag=True, help="Nothing can be banned or allowed from the screen.")
@click.pass_obj
def command(settings: Settings, plain: bool, interval: float, rounds: int | None, read_only: bool) -> int:
    """The live screen: am I under attack, is it stopped, who is it, what can I do.

    Press ? on it for the keys. Without a terminal, or with TERM=dumb, it prints lines as with --plain.
    """
    with contextlib.suppress(NoControllerError):  # the screen says so, and waits for one
        Connection(settings.paths).close()
    if settings.json or plain or not _has_screen():
        from xdpwall.interface.tui import plain as lines

        return lines.run(settings.paths, interval=interval, rounds=rounds, as_json=settings.json)
    if rounds is not None:
        raise XdpwallError("--rounds goes with --plain or -o json")
    try:
        from xdpwall.interface.tui.app import Top
    except ModuleNotFoundError as error:
        raise XdpwallError(
            f"the screen cannot be drawn: {error}", hint="pip install textual, or use `xdpwall top --plain`"
        ) from None
    app = Top(settings, interval=interval, read_only=read_only)
    app.run()
    return app.return_code or 0


def _has_screen() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", ""}
