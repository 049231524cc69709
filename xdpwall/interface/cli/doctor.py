# SPDX-License-Identifier: Apache-2.0
"""`xdpwall doctor`: examine this host, and say what to do about each finding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import config_option, interface_option
from xdpwall.interface.cli.output import draw, emit_json

if TYPE_CHECKING:
    from rich.table import Table

    from xdpwall.interface.doctor.registry import Result

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


@click.command(cls=Verb)
@interface_option
@config_option
@click.pass_obj
def command(settings: Settings, interfaces: tuple[str, ...], config_path: Path | None) -> int:
    """Examine this host, and say what to do about each finding.

    Looks at the kernel, rights, bcc, memory, clock, and at each interface: driver, XDP mode, offloads, queues, other
    programs. Changes nothing. Exit code 1 when there is a problem; notes and warnings are none.
    """
    from xdpwall.interface.doctor.collect import collect
    from xdpwall.interface.doctor.registry import examine, healthy

    host = collect(settings.paths, list(interfaces), config_path)
    results = examine(host)
    good = healthy(results)
    if settings.json:
        emit_json(
            {
                "healthy": good,
                "kernel": host.release,
                "findings": [
                    {
                        "check": result.check,
                        "interface": result.interface or None,
                        "level": result.finding.level.value,
                        "title": result.finding.title,
                        "detail": result.finding.detail,
                        "advice": result.finding.advice,
                    }
                    for result in results
                ],
            }
        )
    else:
        _show(results)
    return 0 if good else 1


def _show(results: list[Result]) -> None:
    from rich.text import Text

    for name in dict.fromkeys(result.interface for result in results):
        head = Text(f"interface {name}" if name else "this host", "bold")
        draw(head, _table([result for result in results if result.interface == name]), "")
    draw(Text(summary(results)))


def _table(results: list[Result]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=9)
    table.add_column(overflow="fold")
    for result in results:
        found = result.finding
        table.add_row(Text(f"  {found.level}", _STYLES[found.level]), Text(found.title))
        if found.level != "ok":
            if found.detail:
                table.add_row("", Text(found.detail, "dim"))
            table.add_row("", Text(f"-> {found.advice}"))
    return table


def summary(results: list[Result]) -> str:
    """How many findings of each kind."""
    counts = {
        level: sum(r.finding.level == level for r in results) for level in ("problem", "warning", "note")
    }
    if not any(counts.values()):
        return "all is well"
    return ", ".join(
        f"{number} {level}{'' if number == 1 else 's'}" for level, number in counts.items() if number
    )
