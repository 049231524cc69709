# SPDX-License-Identifier: Apache-2.0
"""The last screen of a run, for a person: what was sent, stopped, let through, from where, and how users fared."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_NAMES = {
    "BR": "Brazil", "CN": "China", "DE": "Germany", "ID": "Indonesia", "IN": "India", "MX": "Mexico",
    "RU": "Russia", "TH": "Thailand", "TR": "Turkey", "UA": "Ukraine", "US": "United States", "VN": "Vietnam",
}  # fmt: skip
_BAR = 30


def passed(result: dict[str, Any]) -> list[str]:
    """The marks that were missed, each in words; empty when the wall held."""
    return [
        f"{mark['name']}: {_value(mark['got'])}, wanted {mark['wanted']}"
        for mark in result["marks"]
        if not mark["ok"]
    ]


def show(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the screen on standard output, or on ``console``."""
    (console or Console(highlight=False)).print(render(result))


def render(result: dict[str, Any]) -> RenderableType:
    """The screen."""
    parts: list[RenderableType] = []
    if result["attack"]["sent"]:
        parts += [_attack(result), Text(), _from_where(result["attack"]["countries"])]
    else:
        parts.append(_quiet(result))
    parts += [Text(), _users(result), Text(), _wall(result), Text()]
    if result["incident"] is not None:
        parts += [_incident(result["incident"], result["latency_ms"]["first_packet_to_incident"]), Text()]
    parts += _verdict(result)
    seconds = result["duration_ms"] / 1000
    return Panel(
        Group(*parts),
        title=f"{result['scenario']}: {seconds:.0f} s against a wall in {result['mode']} mode",
        title_align="left",
        padding=(1, 2),
        width=100,
    )


def _attack(result: dict[str, Any]) -> RenderableType:
    attack = result["attack"]
    grid = Table(box=None, padding=(0, 3, 0, 0), show_edge=False)
    grid.add_column("The attack")
    for name in ("sources", "sent", "stopped", "let through", "stopped %"):
        grid.add_column(name, justify="right")
    rows = [(name, row) for name, row in attack["classes"].items()]
    if len(rows) > 1:
        rows.append(("all", attack))
    for name, row in rows:
        grid.add_row(
            name,
            f"{row['sources']:,}",
            f"{row['sent']:,}",
            f"{row['dropped']:,}",
            f"{row['leaked']:,}",
            _percent(row["recall"]),
            style="bold" if name == "all" else "",
        )
    protocols = "   ".join(
        f"{name.upper()} {count:,}" for name, count in attack["protocols"].items() if count
    )
    speed = Text(
        f"{_pps(attack['mean_pps'])} packets a second on average, {_pps(attack['peak_pps'])} at the peak.\n"
        f"{protocols}"
    )
    lines: list[RenderableType] = [grid, speed]
    if attack["lost_on_the_way"]:
        lines.append(
            Text(
                f"{attack['lost_on_the_way']:,} more never reached the wall: its ring was full.",
                style="yellow",
            )
        )
    return Group(*lines)


def _from_where(countries: list[dict[str, Any]]) -> RenderableType:
    if not countries:
        return Text("Where it came from is not known for a capture.", style="dim")
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column()
    top, rest = countries[:4], countries[4:]
    rows = [(_NAMES.get(row["code"], row["code"]), row["share"]) for row in top]
    if rest:
        rows.append((f"{len(rest)} more countries", sum(row["share"] for row in rest)))
    for name, share in rows:
        grid.add_row(name, f"{share:.1%}", Text("█" * max(1, round(share * _BAR)), style="red"))
    return Group(
        Text("From where (share of the packets; the lab knows, it chose the addresses)", style="bold"), grid
    )


def _quiet(result: dict[str, Any]) -> RenderableType:
    dropped = result["wall"]["dropped"] + result["wall"]["dropped_before"]
    return Text(f"Nobody attacked. The wall dropped {dropped:,} packets.", style="bold")


def _users(result: dict[str, Any]) -> RenderableType:
    legit = result["legit"]
    lost = legit["attempted"] - legit["succeeded"]
    text = Text("Users: ", style="bold")
    text.append(
        f"{legit['succeeded']:,} of {legit['attempted']:,} requests were answered in time"
        + (f"; {lost:,} were not." if lost else "."),
        style="not bold",
    )
    if legit["p50_ms"] is not None:
        text.append(
            f"\n       Half of them within {legit['p50_ms']:.1f} ms, 99 of 100 within {legit['p99_ms']:.1f} ms",
            style="not bold",
        )
    if legit["baseline_p99_ms"] is not None:
        text.append(
            f" (before: {legit['baseline_p50_ms']:.1f} and {legit['baseline_p99_ms']:.1f} ms).",
            style="not bold",
        )
    for error, count in legit["errors"].items():
        text.append(f"\n       {count:,} times: {error}", style="not bold yellow")
    return text


def _incident(incident: dict[str, Any], after_ms: float | None) -> RenderableType:
    when = "" if after_ms is None else f", opened {after_ms:.0f} ms after the first packet"
    text = Text(f"What the wall says: incident {incident['key']}{when}.", style="bold")
    for sentence in incident["verdict"]:
        text.append(f"\n       {sentence}", style="not bold")
    if incident["report"] is not None:
        text.append(f"\nReport: {incident['report']}", style="bold")
    return text


def _wall(result: dict[str, Any]) -> RenderableType:
    latency, controller = result["latency_ms"], result["controller"]
    text = Text("The wall: ", style="bold")
    if result["policy"] == "observe":
        text.append("it only observed, and dropped nothing; what follows it would have done.\n          ")
    if latency["first_packet_to_first_drop"] is not None:
        text.append(
            f"first drop {latency['first_packet_to_first_drop']:.0f} ms after the first packet",
            style="not bold",
        )
        heavy = result["attack"]["classes"].get("heavy")
        if heavy:
            text.append(
                f"; a heavy source got {heavy['leaked_per_source']:.0f} packets through", style="not bold"
            )
        text.append(f".\n          {result['bans']:,} bans stand. ", style="not bold")
    reasons = ", ".join(f"{name} {count:,}" for name, count in result["wall"]["by_reason"].items())
    if reasons:
        text.append(f"Dropped by reason: {reasons}.", style="not bold")
    text.append(
        f"\n          The controller used {controller['cpu_ms'] / 1000:.1f} s of CPU time and "
        f"{controller['rss_kb'] / 1024:.0f} MiB of memory.",
        style="not bold",
    )
    return text


def _verdict(result: dict[str, Any]) -> list[RenderableType]:
    grid = Table(box=None, padding=(0, 3, 0, 0), show_edge=False, show_header=False)
    for mark in result["marks"]:
        sign = Text("ok", style="green") if mark["ok"] else Text("MISSED", style="bold red")
        grid.add_row(sign, mark["name"], _value(mark["got"]), Text(f"wanted {mark['wanted']}", style="dim"))
    missed = len(passed(result))
    last = (
        Text(f"FAIL: {missed} mark{'s' if missed > 1 else ''} missed", style="bold white on red")
        if missed
        else Text(f"PASS: {_held(result)}", style="bold white on green")
    )
    return [grid, Text(), last]


def _held(result: dict[str, Any]) -> str:
    """What passing means: without a mark for what is stopped, nothing is claimed about it."""
    if any(mark["name"].startswith(("recall", "packets dropped")) for mark in result["marks"]):
        return "the wall held"
    return f"users were served; {_percent(result['attack']['recall'])} of the attack was stopped"


def _pps(number: int) -> str:
    return f"{number / 1e6:.2f} million" if number >= 100_000 else f"{number:,}"


def _value(got: object) -> str:
    if isinstance(got, float):
        return f"{got:.4f}"
    return f"{got:,}" if isinstance(got, int) else str(got)


def _percent(share: float | None) -> str:
    """Rounded down: 99.99 % never reads as 100 %."""
    return "-" if share is None else f"{int(share * 10_000) / 100:.2f} %"
