# SPDX-License-Identifier: Apache-2.0
"""`xdpwall lab`: try the wall against floods in network namespaces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.options import config_option
from xdpwall.interface.cli.output import Column, emit_json, table
from xdpwall.interface.cli.units import count, pps

if TYPE_CHECKING:
    from xdpwall.lab.progress import Progress

_COLUMNS = (
    Column("SCENARIO", style="bold"),
    Column("SECONDS", right=True),
    Column("RATE", right=True),
    Column("SOURCES", right=True),
    Column("WHAT IT IS"),
)


@click.group(cls=Verbs)
def command() -> None:
    """Try the wall against floods in network namespaces.

    Everything happens in namespaces that the lab makes and removes: no packet touches a network of this host.
    """


@command.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the scenarios."""
    from xdpwall.lab.api import list_scenarios

    scenarios = list_scenarios()
    if settings.json:
        emit_json({"scenarios": scenarios})
        return
    table(
        _COLUMNS,
        [
            [
                s["name"],
                f"{s['seconds']:g}",
                pps(s["pps"]),
                "spoofed" if s["sources"] is None else count(s["sources"]),
                s["summary"],
            ]
            for s in scenarios
        ],
    )


def _run_options(function: Any) -> Any:
    function = click.option(
        "--seconds", type=click.FloatRange(0.5, 3600), metavar="N", help="Length of the attack."
    )(function)
    function = click.option(
        "--pps", "rate", type=click.IntRange(1, 50_000_000), metavar="N", help="Attack packets per second."
    )(function)
    function = click.option(
        "--report",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Write the HTML report of the incident there.",
    )(function)
    return config_option(function, "Config file of the wall in the lab; without it every default applies.")


@command.command("run", short_help="Run SCENARIO against a wall.")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@_run_options
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Of everything random.")
@click.pass_obj
def run(
    settings: Settings,
    scenarios: tuple[str, ...],
    seconds: float | None,
    rate: int | None,
    config_path: Path | None,
    seed: int | None,
    report: Path | None,
) -> int:
    """Run SCENARIO against a wall, beside legitimate users; several one after the other, or "all".

    Exit code 1 when the wall missed a mark.
    """
    need_root("`xdpwall lab run`")
    from xdpwall.lab import api

    options: dict[str, Any] = {"seconds": seconds, "pps": rate, "config": config_path, "seed": seed}
    if len(scenarios) == 1 and scenarios[0] != "all":
        return _watched(
            settings,
            lambda progress: api.run_scenario(scenarios[0], progress=progress, report=report, **options),
        )
    _one_report(report)
    return _watched(settings, lambda progress: api.run_series(scenarios, progress=progress, **options))


@command.command("replay", short_help="Replay a capture against a wall.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@_run_options
@click.option("--own-speed", is_flag=True, help="At the times of the capture; so it is without --pps.")
@click.option("--port-open", is_flag=True, help="Have somebody listen on the attacked ports.")
@click.pass_obj
def replay(
    settings: Settings,
    files: tuple[Path, ...],
    seconds: float | None,
    rate: int | None,
    config_path: Path | None,
    own_speed: bool,
    port_open: bool,
    report: Path | None,
) -> int:
    """Replay a capture (FILE is pcap or pcapng) against a wall, beside legitimate users; several one after the other.

    The packets go to the lab's server; ports stay as they are. Without --port-open nobody listens on most of them.
    """
    if own_speed and rate is not None:
        raise click.UsageError("--own-speed and --pps exclude each other")
    need_root("`xdpwall lab replay`")
    from xdpwall.lab import api

    options: dict[str, Any] = {"seconds": seconds, "pps": rate, "config": config_path, "port_open": port_open}
    if len(files) == 1:
        return _watched(
            settings, lambda progress: api.replay(files[0], progress=progress, report=report, **options)
        )
    _one_report(report)
    return _watched(settings, lambda progress: api.replay_series(files, progress=progress, **options))


def _one_report(report: Path | None) -> None:
    if report is not None:
        raise click.UsageError("--report is for one run alone")


def _watched(settings: Settings, work: Callable[[Progress], dict[str, Any]]) -> int:
    from xdpwall.interface.cli.lab_progress import watching
    from xdpwall.lab import report, series

    with watching(live=sys.stderr.isatty() and not settings.json) as progress:
        result = work(progress)
    if settings.json:
        emit_json(result)
    elif "runs" in result:
        series.show(result)
    else:
        report.show(result)
    return 0 if result["passed"] else 1
