# SPDX-License-Identifier: Apache-2.0
"""`xdpwall learn`: budgets from quiet traffic, shown before they are applied."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import NoControllerError, RefusedError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import config_option
from xdpwall.interface.cli.output import Column, emit_json, note, say, table, write
from xdpwall.interface.cli.units import count, plural, scaled
from xdpwall.model import format_duration_ms
from xdpwall.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    from xdpwall.control.advice import Advice, OnRecord

_LEAST_S = 3_600
"""With less on record nothing is applied unless forced."""
_ENOUGH_S = 86_400


@click.command(cls=Verb)
@click.option(
    "--days", type=click.IntRange(1, 30), default=7, show_default=True, help="How far to look back."
)
@click.option(
    "--percentile",
    type=click.FloatRange(50, 100),
    default=99.9,
    show_default=True,
    metavar="P",
    help="So many percent of all seconds are to be in budget.",
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 100),
    default=2.0,
    show_default=True,
    metavar="F",
    help="Budget above that percentile, so many times.",
)
@click.option("--include-attacks", is_flag=True, help="Count seconds of attacks, too.")
@click.option(
    "--apply", "apply_", is_flag=True, help="Write the proposed budgets into the config, and reload."
)
@click.option("--force", is_flag=True, help="With --apply: also from less than an hour of quiet traffic.")
@config_option
@click.pass_obj
def command(
    settings: Settings, /, config_path: Path | None, *, apply_: bool, force: bool, **how: Any
) -> None:
    """Show, lane by lane, what quiet traffic looked like and which budgets it speaks for.

    Nothing changes without --apply. Then the changed keys are written into the config file, a copy of it is kept, all
    else of it stays as it is, and a running controller takes the new budgets over at once.
    """
    need_root("`xdpwall learn`")
    from xdpwall.config import Config
    from xdpwall.control import advice

    since_ms = time.time_ns() // 1_000_000 - how["days"] * 86_400_000
    record = advice.on_record(settings.paths, since_ms, attacks=how["include_attacks"])
    path = config_path or Path(record.config_path or DEFAULT_CONFIG)
    config = Config.load(path if config_path is not None or path.exists() else None)
    lines = advice.advise(record.observed, config.lanes, percent=how["percentile"], factor=how["factor"])
    changes = {line.key: line.proposed for line in lines if line.proposed != line.present}
    result: dict[str, Any] = {
        "config": str(path),
        "quiet_seconds": record.quiet_s,
        "attack_seconds": record.attack_s,
        "percentile": how["percentile"],
        "factor": how["factor"],
        "lanes": [line.as_object() for line in lines],
        "changes": changes,
        "applied": False,
    }
    if not settings.json:
        _show(record, lines, how["percentile"], include_attacks=how["include_attacks"])
    if apply_ and changes:
        if record.quiet_s < _LEAST_S and not force:
            raise RefusedError(
                f"only {_time(record.quiet_s)} of quiet traffic are on record",
                hint="an hour is the least, a week is better; --force applies it all the same",
            )
        result |= _apply(settings, path, changes)
    if settings.json:
        emit_json(result)
    elif not changes:
        say("the budgets fit: nothing to change")
    elif not apply_:
        say(f"`xdpwall learn --apply` would write into {path}:")
        for key, value in changes.items():
            say(f"  {key} = {value}")


def _apply(settings: Settings, path: Path, changes: dict[str, int]) -> dict[str, Any]:
    from xdpwall.config import Config
    from xdpwall.config_edit import difference, replace_file, with_values
    from xdpwall.control.apply import refuse_second

    refuse_second(path)
    before = path.read_bytes().decode("utf-8-sig") if path.exists() else None
    after = with_values(before or "", changes)
    Config.parse(after, str(path))
    if not settings.json:
        write(difference(before or "", after, str(path)))
    kept = replace_file(path, before, after)
    if not settings.json:
        say(f"wrote {path}" + (f"; what it was is in {kept.name}" if kept else ""))
    return {"applied": True, "backup": str(kept) if kept else None, "reloaded": _reload(settings)}


def _reload(settings: Settings) -> bool:
    from xdpwall.control import client

    try:
        client.call(settings.paths, "reload")
    except NoControllerError:
        note("no controller runs: the budgets take effect with the next `xdpwall run` or `xdpwall load`")
        return False
    if not settings.json:
        say("the controller has taken them over")
    return True


def _show(record: OnRecord, lines: list[Advice], percent: float, *, include_attacks: bool) -> None:
    seen = f"{_time(record.quiet_s)} of quiet traffic on record"
    if record.attack_s:
        what = "counted, too" if include_attacks else "left out"
        seen += f"; {_time(record.attack_s)} of attacks {what}"
    say(seen)
    if record.quiet_s < _ENOUGH_S:
        note(
            "note: a day has quiet and busy hours, a week has weekends: the longer it looks, the better it knows"
        )
    say("")
    table(
        (
            Column("LANE", style="bold"),
            Column("P50", right=True),
            Column("P95", right=True),
            Column("P99", right=True),
            *([] if percent in {50, 95, 99} else [Column(f"P{percent:g}", right=True)]),
            Column("MAX", right=True),
            Column("BUDGET", right=True),
            Column("S OVER", right=True),
            Column("PROPOSED", right=True),
            Column("S OVER", right=True),
        ),
        [_row(line) for line in lines],
        ["bold" if line.proposed != line.present else "" for line in lines],
    )
    say("")


def _row(line: Advice) -> list[str]:
    unit = "pps" if line.figure == "pps" else "bit/s"
    same = line.proposed == line.present
    return [
        line.lane.label,
        *(scaled(value, unit) for value in line.percentiles.values()),
        scaled(line.highest, unit),
        scaled(line.present, unit) if line.present else "off",
        count(line.over_present),
        "as it is" if same else scaled(line.proposed, unit),
        "" if same else count(line.over_proposed),
    ]


def _time(seconds: int) -> str:
    return format_duration_ms(seconds * 1000) if seconds else plural(0, "second")
