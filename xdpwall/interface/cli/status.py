# SPDX-License-Identifier: Apache-2.0
"""`xdpwall status`: am I under attack, and is it being stopped?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xdpwall.clock import SystemClock
from xdpwall.errors import XdpwallError
from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import draw, emit_json, write
from xdpwall.interface.cli.units import bits, count, memory_kb, plural, pps, share, size
from xdpwall.model import format_duration_ms

if TYPE_CHECKING:
    from rich.table import Table

_STATES = {
    "QUIET": ("bold green", "QUIET"),
    "UNDER_ATTACK": ("bold white on red", " UNDER ATTACK "),
    "OBSERVE": ("bold cyan", "OBSERVE"),
    "DEGRADED": ("bold yellow", "DEGRADED"),
    "OFF": ("bold white on red", " OFF "),
}


@click.command(cls=Verb)
@click.option("--check", is_flag=True, help="One line for a monitoring system, which reads the exit code.")
@click.option(
    "--attack",
    type=click.Choice(["ok", "warning", "critical"]),
    default="warning",
    show_default=True,
    help="With --check: what an attack that is being stopped counts as.",
)
@click.pass_obj
def command(settings: Settings, check: bool, attack: str) -> int:
    """Am I under attack, and is it being stopped?

    Works without a controller too: then there are totals, and no rates. With --check it is a monitoring plugin: text,
    performance data, and the exit codes 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    """
    if check:
        return _check(settings, attack)
    result = ask(settings, "status")
    if settings.json:
        emit_json(result)
    else:
        show(result, _more(settings) if result["controller"]["running"] else {})
    return 0


def _check(settings: Settings, attack: str) -> int:
    from xdpwall.interface.cli import status_check

    try:
        level = attack.upper()
        verdict = status_check.judge(ask(settings, "status"), attack=level)  # type: ignore[arg-type]
    except XdpwallError as error:
        verdict = status_check.failed(error)
    if settings.json:
        emit_json({"level": verdict.level, "text": verdict.text, "details": list(verdict.details)})
    else:
        write(verdict.lines())
    return verdict.exit_code


def _more(settings: Settings) -> dict[str, Any]:
    """Lanes and incidents. A controller that is older than this command may not know of them."""
    try:
        return ask(settings, "overview", sources=0, bans=0, incidents=3, trend=0)
    except XdpwallError:
        return {}


def show(result: dict[str, Any], more: dict[str, Any] | None = None) -> None:
    """Draw the answer on one screen. ``more`` is an answer of the op ``overview``, or empty."""
    from rich.text import Text

    style, word = _STATES.get(result["state"], ("bold", str(result["state"])))
    head = Text.assemble((word, style), "  ", sentence(result), f"   [{result['instance']}]")
    more = more or {}
    draw(
        head,
        "",
        _facts(result),
        *_interfaces(result),
        *_lanes(more.get("lanes") or []),
        *_incidents(more.get("incidents") or []),
        *_problems(result),
    )


def sentence(result: dict[str, Any]) -> str:
    """The state in words, with the figures that it rests on."""
    rates, state = result.get("rates"), result["state"]
    if state == "OFF":
        return "everything passes; nothing is dropped, judged or counted until `xdpwall on`"
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
    cookies = result.get("cookies")
    if cookies and cookies["on"]:
        facts.add_row("SYN cookies", "on: connection requests over budget are answered in the stack's place")
    facts.add_row("allowlist", f"{count(result['allow'])} prefix{'' if result['allow'] == 1 else 'es'}")
    facts.add_row(
        "policy", "enforce" if result["policy"] == "enforce" else f"{result['policy']}: drops nothing"
    )
    trial = observed_line(result.get("observed"), result["policy"])
    if trial:
        facts.add_row("observing", trial)
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


def observed_line(observed: dict[str, Any] | None, policy: str) -> str:
    """What only observes, what it would have dropped, and whom it would have hit; empty when all is enforced."""
    if not observed or not (observed["parts"] or observed["would_drop_packets"]):
        return ""
    parts = "everything" if policy == "observe" else ", ".join(observed["parts"]) or "no part any more"
    good = observed["good_sources"]
    whom = "" if good is None else f", {plural(good, 'known-good source')} among them"
    would = f"{count(observed['would_drop_packets'])} packets would have been dropped{whom}"
    return f"{parts}: {would} (`xdpwall observed`)"


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


def _lanes(lanes: list[dict[str, Any]]) -> list[Any]:
    """Lanes in which something happens, each against its budget; none of them in quiet times is one line."""
    from rich.table import Table

    busy = [lane for lane in lanes if lane.get("pps") or lane.get("dropped_pps")]
    if not busy:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("lane", "now", "budget", "over it", "dropped", "known users"):
        table.add_column(title, justify="left" if title == "lane" else "right")
    for lane in busy:
        budget = lane.get("budget_pps")
        cells = [pps(lane.get(key) or 0) for key in ("over_pps", "dropped_pps", "passed_on_proof_pps")]
        style = "red" if lane.get("dropped_pps") else ""
        table.add_row(lane["lane"], pps(lane["pps"]), pps(budget) if budget else "-", *cells, style=style)
    return ["", table]


def _incidents(incidents: list[dict[str, Any]]) -> list[Any]:
    from rich.text import Text

    still_open = [entry for entry in incidents if entry.get("state") == "open"]
    if not still_open:
        return []
    lines = [
        f"incident {entry.get('key', entry.get('id'))} is open, peak {pps(entry.get('peak_pps', 0))}: "
        f"`xdpwall incident show {entry.get('id')}`"
        for entry in still_open
    ]
    return ["", *(Text(line, "bold red") for line in lines)]


def _problems(result: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    if not result["problems"]:
        return []
    since = {entry["text"]: entry["since_ms"] for entry in result.get("checks", {}).get("troubles", ())}
    now = SystemClock().wall_ms()

    def age(problem: str) -> str:
        seconds = max(1, (now - since.get(problem, 0)) // 1_000)
        return f"  (for {format_duration_ms(seconds * 1_000)})" if since.get(problem) else ""

    return [
        "",
        *(
            Text.assemble(("! ", "bold yellow"), problem, (age(problem), "dim"))
            for problem in result["problems"]
        ),
    ]
