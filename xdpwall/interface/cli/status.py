# SPDX-License-Identifier: Apache-2.0
"""`xdpwall status`: am I under attack, and is it being stopped?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import draw, emit_json
from xdpwall.interface.cli.units import bits, count, memory_kb, plural, pps, share, size
from xdpwall.model import format_duration_ms

if TYPE_CHECKING:
    from rich.table import Table

_STATES = {
    "QUIET": ("bold green", "QUIET"),
    "UNDER_ATTACK": ("bold white on red", " UNDER ATTACK "),
    "OBSERVE": ("bold cyan", "OBSERVE"),
    "DEGRADED": ("bold yellow", "DEGRADED"),
}


@click.command(cls=Verb)
@click.pass_obj
def command(settings: Settings) -> None:
    """Am I under attack, and is it being stopped?

    Works without a controller too: then there are totals, and no rates.
    """
    result = ask(settings, "status")
    if settings.json:
        emit_json(result)
    else:
        show(result)


def show(result: dict[str, Any]) -> None:
    """Draw the answer on one screen."""
    from rich.text import Text

    style, word = _STATES.get(result["state"], ("bold", str(result["state"])))
    head = Text.assemble((word, style), "  ", sentence(result), f"   [{result['instance']}]")
    draw(head, "", _facts(result), *_interfaces(result), *_problems(result))


def sentence(result: dict[str, Any]) -> str:
    """The state in words, with the figures that it rests on."""
    rates, state = result.get("rates"), result["state"]
    if rates is None:
        return "the wall stands, but nobody watches"
    seen, dropped, passed = rates["pps"], rates["dropped_pps"], rates["passed_pps"]
    if state == "OBSERVE":
        would = rates.get("would_drop_pps", dropped)
        return f"nothing is dropped; {pps(would)} of {pps(seen)} would be ({share(would, seen)})"
    if state == "UNDER_ATTACK":
        return f"{pps(dropped)} of {pps(seen)} are dropped ({share(dropped, seen)}), {pps(passed)} pass"
    if state == "DEGRADED":
        return "the wall does not do all it should: see the problems below"
    return f"{pps(seen)} come in, {pps(dropped)} are dropped"


def _facts(result: dict[str, Any]) -> Table:
    from rich.table import Table

    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="dim")
    facts.add_column()
    rates, totals, bans, controller = (
        result.get("rates"),
        result["totals"],
        result["bans"],
        result["controller"],
    )
    if rates:
        dropped = f"dropped {pps(rates['dropped_pps'])}, passed {pps(rates['passed_pps'])}"
        facts.add_row("now", f"{pps(rates['pps'])}, {bits(rates['bps'])}: {dropped}")
    facts.add_row(
        "since load",
        f"{count(totals['packets'])} packets ({size(totals['bytes'])}): "
        f"dropped {count(totals['dropped_packets'])} ({share(totals['dropped_packets'], totals['packets'])}), "
        f"passed {count(totals['passed_packets'])}",
    )
    facts.add_row(
        "bans",
        f"{plural(bans['exact'], 'source')} (room for {count(bans['capacity'])}), "
        f"{count(bans['prefix'])} prefix{'' if bans['prefix'] == 1 else 'es'} "
        f"(room for {count(bans['prefix_capacity'])})",
    )
    facts.add_row("allowlist", f"{count(result['allow'])} prefix{'' if result['allow'] == 1 else 'es'}")
    facts.add_row(
        "policy", "enforce" if result["policy"] == "enforce" else f"{result['policy']}: drops nothing"
    )
    if controller["running"]:
        facts.add_row(
            "controller",
            f"pid {controller['pid']}, up {format_duration_ms(max(controller['uptime_ms'], 1))}, "
            f"{memory_kb(controller['rss_kb'])}, {controller['cpu_ms'] / 1000:.1f} s of CPU, "
            f"{count(controller['ticks'])} ticks, {controller['tick_lag_ms']} ms late",
        )
    else:
        facts.add_row("controller", "not running; start it with `xdpwall run`")
    return facts


def _interfaces(result: dict[str, Any]) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    if not result["interfaces"]:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("interface", "index", "XDP mode", "program", ""):
        table.add_column(title)
    for entry in result["interfaces"]:
        state = Text("attached", "green") if entry["attached"] else Text("NOT ATTACHED", "bold red")
        if not entry["ifindex"]:
            state = Text("MISSING", "bold red")
        mode = entry["mode"] or "-"
        table.add_row(
            Text(entry["name"]),
            str(entry["ifindex"] or "-"),
            Text(mode, "yellow" if mode == "generic" else ""),
            str(entry["program_id"] or "-"),
            state,
        )
    return ["", table]


def _problems(result: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    if not result["problems"]:
        return []
    return ["", *(Text.assemble(("! ", "bold yellow"), problem) for problem in result["problems"])]
