# SPDX-License-Identifier: Apache-2.0
"""Several runs one after the other, and the table of what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from xdpwall.errors import XdpwallError
from xdpwall.lab import report
from xdpwall.lab.legit import KINDS
from xdpwall.lab.progress import Progress

_TITLES = {
    "newcomer": "NEW",
    "http": "WEB",
    "stream": "OPEN",
    "idle": "IDLE",
    "dns": "DNS",
    "ping": "PING",
    "host_ping": "HOST PING",
}


def run(jobs: Sequence[tuple[str, Callable[[], dict[str, Any]]]], progress: Progress) -> dict[str, Any]:
    """Do all jobs. One whose lab fails does not keep the others from running; it counts as missed.

    Args:
        jobs: a name to show, and what gives the result of one run.
        progress: who watches.

    Returns:
        ``{"schema": 1, "runs": [...], "passed": bool}``; a run that failed is ``{"name", "error"}``.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    runs: list[dict[str, Any]] = []
    for number, (name, job) in enumerate(jobs, 1):
        progress.phase(f"{number} of {len(jobs)}: {name}")
        try:
            runs.append({"name": name, **job()})
        except XdpwallError as error:
            progress.note(f"{name} could not be run: {error.message}")
            runs.append({"name": name, "error": error.message, "passed": False})
    return {"schema": 1, "runs": runs, "passed": all(run["passed"] for run in runs)}


def missed(series: dict[str, Any]) -> list[str]:
    """The marks that were missed, each in words with the name of its run."""
    found = []
    for one in series["runs"]:
        if "error" in one:
            found.append(f"{one['name']}: could not be run: {one['error']}")
        else:
            found += [f"{one['name']}: {line}" for line in report.passed(one)]
    return found


def show(series: dict[str, Any], console: Console | None = None) -> None:
    """Print the table on standard output, or on ``console``."""
    screen = console or Console(highlight=False, width=None if Console().is_terminal else 170)
    screen.print(render(series))
    for line in missed(series):
        screen.print(Text(f"missed: {line}", style="red"))
    verdict = "PASS: every mark was met" if series["passed"] else "FAIL: some marks were missed"
    screen.print(Text(verdict, style="bold white on green" if series["passed"] else "bold white on red"))


def render(series: dict[str, Any]) -> RenderableType:
    """The table: a row each. Of users the share that succeeded, in percent, in all and by what they tried."""
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    grid.add_column("RUN", style="bold", no_wrap=True)
    titles = ["SENT", "PEAK PPS", "RECALL %", "DROP MS", "USERS %", *_TITLES.values(), "P99 MS", "BEFORE", ""]
    for title in titles:
        grid.add_column(title, justify="right", no_wrap=True)
    for one in series["runs"]:
        if "error" in one:
            grid.add_row(one["name"], *["-"] * (len(titles) - 1), Text("NOT RUN", style="bold red"))
        else:
            grid.add_row(one["name"], *_cells(one))
    return grid


def _cells(one: dict[str, Any]) -> list[RenderableType]:
    attack, legit = one["attack"], one["legit"]
    first = one["latency_ms"]["first_packet_to_first_drop"]
    cells: list[RenderableType] = [
        f"{attack['sent']:,}",
        f"{attack['peak_pps']:,}",
        _share(attack["dropped"], attack["sent"]),
        "-" if first is None else f"{first:.1f}",
        _share(legit["succeeded"], legit["attempted"]),
    ]
    for kind in KINDS:
        of_kind = legit["by_kind"].get(kind)
        cells.append(_share(of_kind["succeeded"], of_kind["attempted"]) if of_kind else "-")
    for value in (legit["p99_ms"], legit["baseline_p99_ms"]):
        cells.append("-" if value is None else f"{value:.1f}")
    cells.append(Text("ok", style="green") if one["passed"] else Text("MISSED", style="bold red"))
    return cells


def _share(part: int, whole: int) -> str:
    """Percent, rounded down: 99.999 % never reads as 100 %."""
    if not whole:
        return "-"
    return "100" if part == whole else f"{part * 10_000 // whole / 100:.2f}"
