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
            [s["name"], f"{s['seconds']:g}", pps(s["pps"]), count(s["sources"]), s["summary"]]
            for s in scenarios
        ],
    )


def _run_options(function: Any) -> Any:
    function = click.option(
        "--seconds", type=click.FloatRange(0.5, 600), metavar="N", help="Length of the attack."
    )(function)
    function = click.option(
        "--pps", "rate", type=click.IntRange(1, 50_000_000), metavar="N", help="Attack packets per second."
    )(function)
    return config_option(function, "Config file of the wall in the lab; without it every default applies.")


@command.command("run", short_help="Run SCENARIO against a wall.")
@click.argument("scenario")
@_run_options
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Of everything random.")
@click.pass_obj
def run(
    settings: Settings,
    scenario: str,
    seconds: float | None,
    rate: int | None,
    config_path: Path | None,
    seed: int | None,
) -> int:
    """Run SCENARIO against a wall, beside a legitimate client. Exit code 1 when the wall missed a mark."""
    need_root("`xdpwall lab run`")
    from xdpwall.lab.api import run_scenario

    return _watched(
        settings,
        lambda progress: run_scenario(
            scenario, progress=progress, seconds=seconds, pps=rate, config=config_path, seed=seed
        ),
    )


@command.command("replay", short_help="Replay a capture against a wall.")
@click.argument("file", type=click.Path(path_type=Path))
@_run_options
@click.pass_obj
def replay(
    settings: Settings, file: Path, seconds: float | None, rate: int | None, config_path: Path | None
) -> int:
    """Replay a capture (FILE is pcap or pcapng) against a wall, beside a legitimate client."""
    need_root("`xdpwall lab replay`")
    from xdpwall.lab.api import replay as replay_capture

    return _watched(
        settings,
        lambda progress: replay_capture(
            file, progress=progress, seconds=seconds, pps=rate, config=config_path
        ),
    )


def _watched(settings: Settings, work: Callable[[Progress], dict[str, Any]]) -> int:
    from xdpwall.interface.cli.lab_progress import watching
    from xdpwall.lab import report

    with watching(live=sys.stderr.isatty() and not settings.json) as progress:
        result = work(progress)
    missed = report.passed(result)
    if settings.json:
        emit_json(result)
    else:
        report.show(result)
    return 1 if missed else 0
