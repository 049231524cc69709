# SPDX-License-Identifier: Apache-2.0
"""`xdpwall load`: compile the wall, pin it, attach it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdpwall.errors import InputError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import check_interfaces, config_option, config_to_go_by, interface_option
from xdpwall.interface.cli.output import emit_json, note, say
from xdpwall.interface.cli.units import count

if TYPE_CHECKING:
    from xdpwall.dataplane.loader import LoadReport


@click.command(cls=Verb)
@interface_option
@config_option
@click.option(
    "--wait",
    metavar="TIME",
    help="Wait this long for interfaces that are not there yet, then go on with those that are (for the boot).",
)
@click.pass_obj
def command(
    settings: Settings, interfaces: tuple[str, ...], config_path: Path | None, wait: str | None
) -> None:
    """Compile the wall for the config, pin it and attach it.

    On a loaded wall each program is swapped in one step: no packet goes unfiltered, and bans and counters stay. Without
    -i the interfaces of the config are taken. Another's XDP program is never replaced.
    """
    need_root("`xdpwall load`")
    config = config_to_go_by(config_path)
    late: list[str] = []
    if wait is not None:
        interfaces, late = _those_that_come(interfaces or config.interfaces, wait)
    names = check_interfaces(interfaces)
    from xdpwall.dataplane import loader, switch

    report = loader.load(config, settings.paths, names)
    if switch.is_off(settings.paths):
        report.warnings.append("the wall is OFF: what was loaded filters only from `xdpwall on` on")
    report.warnings.extend(f"{name} is not there, and is NOT guarded: load again once it is" for name in late)
    if settings.json:
        emit_json(_as_object(report))
        return
    for line in _lines(report):
        say(line)
    for warning in report.warnings:
        note(f"warning: {warning}")


def _those_that_come(wanted: Sequence[str], wait: str) -> tuple[tuple[str, ...], list[str]]:
    """The interfaces that are there in time, and those that are not. All of them when none is: the load says so."""
    from xdpwall.dataplane import presence
    from xdpwall.model import parse_duration_ms

    patience = parse_duration_ms(wait)
    if patience is None:
        raise InputError("--wait: an end is needed", hint="for example 30s")
    late = presence.wait_for(wanted, patience)
    there = tuple(name for name in wanted if name not in late)
    return (there, late) if there else (tuple(wanted), [])


def _lines(report: LoadReport) -> list[str]:
    observe = ", observe only: nothing is dropped" if report.policy == "observe" else ""
    head = "loaded" if report.fresh else "swapped"
    built = f"{count(report.instructions)} instructions, compiled in {report.compile_ms} ms"
    lines = [f"{head} {report.instance!r} in {report.ms} ms ({built}){observe}"]
    for entry in report.interfaces:
        how = "swapped without a gap" if entry.swapped else "attached"
        lines.append(f"  {entry.name}: {how}, {entry.mode} mode")
    return lines


def _as_object(report: LoadReport) -> dict[str, object]:
    return {
        "instance": report.instance,
        "policy": report.policy,
        "fresh": report.fresh,
        "interfaces": [{"name": e.name, "mode": e.mode, "swapped": e.swapped} for e in report.interfaces],
        "warnings": report.warnings,
        "instructions": report.instructions,
        "compile_ms": report.compile_ms,
        "duration_ms": report.ms,
    }
