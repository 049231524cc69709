# SPDX-License-Identifier: Apache-2.0
"""`xdpwall simulate`: what other settings would have done, over what the controller recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdpwall.errors import InputError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.config_apply import target_of
from xdpwall.interface.cli.output import emit_json

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.control.simulate_ask import Floors, OnRecord
    from xdpwall.detection.past import Part

TOP = 20


@click.command(cls=Verb)
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="TIME",
    help="From when on: 7d ago, or 2026-11-23T20:15 (UTC).",
)
@click.option("--until", metavar="TIME", help="Up to when; now is the default.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting to try; may be given again."
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A whole config to try; --set changes it further.",
)
@click.option(
    "--top", type=click.IntRange(1, 100_000), default=TOP, show_default=True, help="Rows of each list."
)
@click.option(
    "-c",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The config in force, to compare with.",
)
@click.pass_obj
def command(
    settings: Settings,
    since: str,
    until: str | None,
    assignments: tuple[str, ...],
    file: Path | None,
    top: int,
    config_path: Path | None,
) -> None:
    r"""Show, beside the settings in force, who would have been banned with others, and how much dropped.

    The controller's own detection looks at what it recorded: what sources near a limit sent, second by second. Nothing
    is changed. Without --set and --config only the settings in force are tried, which shows how close this comes to
    what really happened.

    \b
      xdpwall simulate --since 7d --set limits.source.pps=5000
      xdpwall simulate --since 2026-11-23T20:00 --until 2026-11-23T21:00 --config new.toml
    """
    need_root("`xdpwall simulate`")
    from xdpwall.control import simulate, simulate_ask, simulate_lanes
    from xdpwall.interface.cli import simulate_show

    now_ms = time.time_ns() // 1_000_000
    since_ms = simulate_ask.when(since, now_ms, "--since")
    until_ms = now_ms if until is None else simulate_ask.when(until, now_ms, "--until")
    if since_ms >= until_ms:
        raise InputError("--since is not before --until", hint="--since 7d --until 1d is six days")
    base = target_of(settings, config_path)
    now, other = simulate_ask.other_config(base, file, assignments)
    record = simulate_ask.on_record(settings.paths, since_ms, until_ms)
    configs = [now] if not assignments and file is None else [now, other]
    lanes: list[dict[str, simulate_lanes.LaneOutcome]] = [{} for _ in configs]
    measured: dict[str, simulate_lanes.Measured] = {}
    floors = simulate_ask.Floors()

    def also(part: Part) -> None:
        simulate_lanes.measure(measured, part)
        floors.take(part)
        for found, config in zip(lanes, configs, strict=True):
            simulate_lanes.play(found, part, config.lanes)

    outcomes = simulate.play(record.parts(), configs, record.allow, record.size(), also)
    answer = simulate_show.Answer(
        asked=(since_ms, until_ms),
        record=record,
        names=("in force", " ".join([*([str(file)] if file else []), *assignments]))[: len(configs)],
        outcomes=outcomes,
        lanes=lanes,
        measured=measured,
        notes=_notes(record, configs, floors),
        top=top,
    )
    if settings.json:
        emit_json(simulate_show.as_object(answer))
    else:
        simulate_show.show(answer)


def _notes(record: OnRecord, configs: list[Config], floors: Floors) -> list[str]:
    """What keeps the answer from being the whole truth."""
    from xdpwall.control import simulate_ask

    notes = []
    asked = record.seen_ms
    if record.unreadable:
        notes.append(f"{record.unreadable} minutes of the record cannot be read, and are left out")
    for key, limit, floor in simulate_ask.below_floor(floors, configs[-1]):
        notes.append(f"{key} = {limit}: only sources from {floor} on are on record, so this is a lower bound")
    ignored = simulate_ask.not_simulated(configs[0], configs[-1])
    if ignored:
        notes.append(f"makes no difference here: {', '.join(ignored)}")
    if configs[-1].policy == "observe":
        notes.append('policy is "observe": nothing would really have been dropped')
    if not configs[-1].meters.enabled:
        notes.append("meters.enabled is false: nothing would have been banned by itself")
    if asked < 60_000:
        notes.append("less than a minute is on record")
    return notes
