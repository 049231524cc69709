# SPDX-License-Identifier: Apache-2.0
"""`xdpwall unload`: the panic button."""

from __future__ import annotations

from pathlib import Path

import click

from xdpwall.errors import NoControllerError, XdpwallError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import config_option, interface_option
from xdpwall.interface.cli.output import emit_json, note, say


@click.command(cls=Verb)
@interface_option
@config_option
@click.pass_obj
def command(settings: Settings, interfaces: tuple[str, ...], config_path: Path | None) -> None:
    """Detach the wall and remove its counters and the kernel's bans. Needs no controller, bcc or config.

    With -i only from these interfaces, with -c only from those of that config; the rest stands. Bans stay on record
    and come back when a controller runs again.
    """
    need_root("`xdpwall unload`")
    names: tuple[str, ...] = interfaces
    if config_path is not None and not names:
        from xdpwall.config import Config

        names = Config.load(config_path).interfaces
    from xdpwall.control import syncookies
    from xdpwall.dataplane import loader

    report = loader.unload(settings.paths, list(names) or None)
    if report.removed:
        for line in syncookies.restore(settings.paths):
            note(line)
    if settings.json:
        emit_json({"instance": report.instance, "interfaces": report.interfaces, "removed": report.removed})
    else:
        where = ", ".join(report.interfaces) or "no interface"
        say(f"unloaded {report.instance!r} from {where}" + ("" if report.removed else "; the rest stands"))
    _warn_of_controller(settings)


def _warn_of_controller(settings: Settings) -> None:
    from xdpwall.control.client import call

    try:
        answer = call(settings.paths, "ping", timeout=2.0)
    except NoControllerError:
        return
    except XdpwallError as error:
        note(f"warning: a controller still runs ({error.message}); stop it too")
        return
    note(f"warning: the controller (pid {answer['pid']}) still runs, with no wall to work on; stop it too")
