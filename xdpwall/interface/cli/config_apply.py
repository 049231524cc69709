# SPDX-License-Identifier: Apache-2.0
"""`xdpwall config apply`, `confirm` and `rollback`: another configuration, with a way back that needs nobody."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import InputError, StoreError, XdpwallError
from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import config_option
from xdpwall.interface.cli.output import Column, emit_json, note, say, table, write
from xdpwall.model import format_duration_ms, parse_duration_ms
from xdpwall.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    from xdpwall.control.apply import Done, Plan

STDIN = "-"
_SHORTEST_MS, _LONGEST_MS = 5_000, 86_400_000
_EFFECTS = {"at once": "at once", "program": "new program, swapped without a gap"}
_WHERE = "The file in force; that of the running controller is the default."


def _where_option(function: Any) -> Any:
    return config_option(function, _WHERE)


@click.command(
    "apply", cls=Verb, short_help="Put FILE in force; with --confirm only for a while unless confirmed."
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--confirm",
    "confirm_text",
    metavar="TIME",
    help="Go back by itself after this time (for example 60s) unless `xdpwall config confirm` comes before.",
)
@click.option("--dry-run", is_flag=True, help="Only check FILE and show what would change.")
@_where_option
@click.pass_obj
def apply_command(
    settings: Settings, file: Path, confirm_text: str | None, config_path: Path | None, *, dry_run: bool
) -> None:
    """Check FILE, show what differs, and put its text in the place of the file in force (- is standard input).

    The old file is kept beside it. The wall stays attached: where the program must change it is swapped, and the
    controller reads the rest. With --confirm all of it is undone after TIME, also when this terminal, the controller or
    the machine goes down meanwhile, unless `xdpwall config confirm` comes.
    """
    confirm_ms = _confirm_ms(confirm_text)
    if not dry_run:
        need_root("`xdpwall config apply`")
    from xdpwall.control import apply, trial_watch

    target = target_of(settings, config_path)
    apply.refuse_second(target)
    text, name = _text(file, target)
    change = apply.plan(target, text, name)
    if not settings.json:
        show_plan(change)
    result: dict[str, Any] = {"config": str(target), **_plan_object(change), "applied": False}
    if change.before == change.after:
        if not settings.json:
            say(f"{target} holds exactly this already: nothing to do")
    elif not dry_run:
        done = apply.put(settings.paths, change, confirm_ms, trial_watch.start)
        result |= {"applied": True, **_done_object(done)}
        if not settings.json:
            _tell_applied(change, done, confirm_ms)
    if settings.json:
        emit_json(result)


@click.command("confirm", cls=Verb, short_help="Keep the configuration that is on trial.")
@_where_option
@click.pass_obj
def confirm_command(settings: Settings, config_path: Path | None) -> None:
    """Keep the configuration that `config apply --confirm` put on trial."""
    need_root("`xdpwall config confirm`")
    from xdpwall.control import apply

    target = target_of(settings, config_path)
    found = apply.confirm(target)
    if settings.json:
        emit_json(
            {"config": str(target), "confirmed": True, "changed": list(found.changed), "kept": _kept(found)}
        )
        return
    say(f"confirmed: {target} stays")
    if found.kept:
        say(f"what it was before is in {found.kept}")


@click.command("rollback", cls=Verb, short_help="End a trial now: back to what was in force before.")
@click.option(
    "--when-due", is_flag=True, hidden=True, help="Wait for the deadline; give up when it is confirmed."
)
@_where_option
@click.pass_obj
def rollback_command(settings: Settings, config_path: Path | None, *, when_due: bool) -> None:
    """Go back at once to what was in force before `config apply --confirm`."""
    need_root("`xdpwall config rollback`")
    from xdpwall.control import apply, trial_watch

    target = target_of(settings, config_path)
    done = trial_watch.wait(settings.paths, target) if when_due else apply.roll_back(settings.paths, target)
    if settings.json:
        emit_json(
            {"config": str(target), "rolled_back": done is not None, **(_done_object(done) if done else {})}
        )
    elif done is None:
        say("nothing to roll back")
    else:
        _tell_rolled_back(target, done)


def target_of(settings: Settings, config_path: Path | None) -> Path:
    """The file in force: that of -c, else the last controller's, else the default.

    Raises:
        XdpwallError: the state file names something that cannot be a config.
    """
    if config_path is not None:
        return config_path.absolute()
    from xdpwall.control.advice import CONFIG_PATH
    from xdpwall.control.database import Database

    recorded = None
    try:
        if settings.paths.database.exists():
            database = Database(settings.paths.database, read_only=True)
            try:
                recorded = database.setting(CONFIG_PATH)
            finally:
                database.close()
    except (StoreError, OSError) as error:
        note(f"warning: {error}; {DEFAULT_CONFIG} is meant")
    target = Path(recorded) if recorded else DEFAULT_CONFIG
    # The state file is the service's, and root is about to write what it names.
    if target.suffix != ".toml" or not target.is_absolute():
        raise XdpwallError(
            f"{target}: this is not the name of a config", hint="name the file in force with -c"
        )
    return target


def show_plan(change: Plan) -> None:
    """Show what differs, for people."""
    from xdpwall.config_edit import difference
    from xdpwall.config_text import toml_value

    if change.faulty:
        note(f"warning: {change.target} has faults (`xdpwall config check`); compared with the defaults")
    if not change.differences:
        lines = difference(change.before or "", change.after, str(change.target))
        say("no value differs" + (", only the text:" if lines else ""))
        write(lines)
        return
    table(
        (Column("KEY", style="bold"), Column("OLD"), Column("NEW"), Column("TAKES EFFECT")),
        [
            [row.key, _shown(toml_value, row.old), _shown(toml_value, row.new), _EFFECTS[row.effect]]
            for row in change.differences
        ],
    )


def _shown(toml_value: Any, value: Any) -> str:
    return "" if value is None else str(toml_value(value))


def _confirm_ms(text: str | None) -> int | None:
    if text is None:
        return None
    confirm_ms = parse_duration_ms(text)
    if confirm_ms is None or not _SHORTEST_MS <= confirm_ms <= _LONGEST_MS:
        raise InputError(
            f"--confirm {text}: a time from 5s to 1d is wanted",
            hint="--confirm 60s; without --confirm it stays until you change it",
        )
    return confirm_ms


def _text(file: Path, target: Path) -> tuple[str, str]:
    from xdpwall.control.apply import text_of

    if str(file) == STDIN:
        return sys.stdin.read(), "standard input"
    if file.exists() and target.exists() and file.samefile(target):
        raise InputError(
            f"{file} is the file in force itself: there is nothing to compare it with, or to go back to",
            hint=f"edit a copy: cp {target} new.toml, then `xdpwall config apply new.toml`",
        )
    return text_of(file), str(file)


def _tell_applied(change: Plan, done: Done, confirm_ms: int | None) -> None:
    say(f"wrote {change.target}" + (f"; what it was is in {done.kept.name}" if done.kept else ""))
    _tell_live(done)
    if change.needs_load and not done.loaded:
        say("no wall is loaded: the next `xdpwall load` is by it")
    if done.trial is None:
        return
    say(f"ON TRIAL for {format_duration_ms(confirm_ms)}, until {done.trial.until} ({done.watched} watches)")
    say("  keep it:       xdpwall config confirm")
    say("  end it now:    xdpwall config rollback")
    say("  do nothing:    all of it is undone at that time")


def _tell_rolled_back(target: Path, done: Done) -> None:
    assert done.trial is not None
    say(f"rolled back: {target} " + ("is what it was before" if done.trial.kept else "is gone, as before"))
    if done.kept:
        say(f"what was on trial is in {done.kept.name}")
    for line in done.notes:
        say(line)
    _tell_live(done)


def _tell_live(done: Done) -> None:
    if done.loaded:
        say("the program was swapped; the wall stayed up, bans and counters stay")
    say("the controller has taken it over" if done.reloaded else "no controller runs: the next one reads it")


def _plan_object(change: Plan) -> dict[str, Any]:
    return {
        "differences": [
            {"key": row.key, "old": row.old, "new": row.new, "effect": row.effect}
            for row in change.differences
        ],
        "text_differs": change.before != change.after,
        "needs_load": change.needs_load,
    }


def _done_object(done: Done) -> dict[str, Any]:
    return {
        "kept": str(done.kept) if done.kept else None,
        "loaded": done.loaded,
        "reloaded": done.reloaded,
        "confirm_until_ms": done.trial.until_ms if done.trial else None,
        "watched_by": done.watched,
        "notes": done.notes,
    }


def _kept(found: Any) -> str | None:
    return str(found.kept_path) if found.kept_path else None
