# SPDX-License-Identifier: Apache-2.0
"""`xdpwall config`: check, show or begin a config file."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import InputError, PrivilegeError, RefusedError
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.config_apply import (
    apply_command,
    confirm_command,
    rollback_command,
    show_plan,
    target_of,
)
from xdpwall.interface.cli.options import config_option, interfaces_here
from xdpwall.interface.cli.output import Column, emit_json, note, say, table, write
from xdpwall.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    from xdpwall.config import Config

STDOUT = Path("-")


@click.group(cls=Verbs)
def command() -> None:
    """Check, show, begin or apply a config file."""


command.add_command(apply_command)
command.add_command(confirm_command)
command.add_command(rollback_command)


def _file_argument(function: Any) -> Any:
    return click.argument("file", required=False, type=click.Path(path_type=Path))(config_option(function))


@command.command("check", short_help="Check FILE whole: every mistake at once.")
@_file_argument
@click.pass_obj
def check(settings: Settings, file: Path | None, config_path: Path | None) -> None:
    """Check FILE whole: every mistake at once, each with its line and key."""
    from xdpwall.config import Config

    path = _one_path(file, config_path)
    config = Config.load(path)
    place = path or DEFAULT_CONFIG
    exists = place.exists()
    warnings = list(_warnings(place, config)) if exists else []
    if settings.json:
        emit_json({"path": str(place), "exists": exists, "ok": True, "warnings": warnings})
        return
    say(f"{place}: no mistake" if exists else f"there is no {place}: every default applies")
    for warning in warnings:
        note(f"warning: {warning}")


@command.command("show", short_help="Show every key with the value in force.")
@_file_argument
@click.option("--diff", is_flag=True, help="Only what FILE, or the configuration on trial, changes.")
@click.pass_obj
def show(settings: Settings, file: Path | None, config_path: Path | None, *, diff: bool) -> None:
    """Show every key with the value in force, and whether FILE or the default says so.

    With --diff: what `config apply FILE` would change of the file in force. Without FILE: what the configuration on
    trial changed, or with none on trial how the file in force differs from the defaults.
    """
    if diff:
        _show_diff(settings, file, config_path)
        return
    from xdpwall.config import Config
    from xdpwall.config_text import effective, toml_value

    path = _one_path(file, config_path)
    config = Config.load(path)
    rows = effective(config)
    if settings.json:
        emit_json(
            {
                "path": str(path or DEFAULT_CONFIG),
                "values": config.model_dump(mode="json", by_alias=True),
                "defaults": [row.name for row in rows if row.is_default],
                "dataplane_digest": config.dataplane_digest(),
            }
        )
        return
    table(
        (Column("KEY"), Column("VALUE"), Column("FROM")),
        [[row.name, toml_value(row.value), "default" if row.is_default else "file"] for row in rows],
        ["dim" if row.is_default else "bold" for row in rows],
    )


@command.command("init", short_help="Write FILE with every key explained.")
@_file_argument
@click.pass_obj
def init(settings: Settings, file: Path | None, config_path: Path | None) -> None:
    """Write FILE with every key, its default and its meaning. - writes to standard output.

    A file that is there already is never overwritten.
    """
    from xdpwall.config_text import template

    path = _one_path(file, config_path) or DEFAULT_CONFIG
    if path == STDOUT:
        write(template())
        return
    _write_new(path, template())
    if settings.json:
        emit_json({"path": str(path)})
    else:
        say(f"wrote {path}")
        say("name your interfaces in it, then try `xdpwall config check`")


def _show_diff(settings: Settings, file: Path | None, config_path: Path | None) -> None:
    from xdpwall.control import apply, trial

    target = target_of(settings, config_path)
    found = trial.read(target)
    if file is not None:
        against, change = target, apply.plan(target, apply.text_of(file), str(file))
    else:
        # On trial: what was there before. Else a name that is no file: the defaults.
        against = found.kept_path or target / "nothing" if found else target / "nothing"
        change = apply.plan(against, apply.text_of(target) if target.exists() else "", str(target))
    if settings.json:
        rows = [
            {"key": row.key, "old": row.old, "new": row.new, "effect": row.effect}
            for row in change.differences
        ]
        until = found.until_ms if found else None
        emit_json({"config": str(target), "differences": rows, "confirm_until_ms": until})
        return
    if found is not None:
        note(f"{target} is on trial until {found.until}")
    if file is None and found is None:
        note(f"{target}, and the defaults as OLD:")
    show_plan(change)


def _one_path(file: Path | None, config_path: Path | None) -> Path | None:
    if file and config_path and file != config_path:
        raise InputError(f"two files are given: {file} and {config_path}", hint="name one")
    return file or config_path


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise RefusedError(
            f"{path} is there already, and is not overwritten",
            hint="`xdpwall config init -` prints the text, to compare or to save elsewhere",
        ) from None
    except PermissionError:
        raise PrivilegeError(f"{path}: may not be written by this user", hint="run it with sudo") from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", hint="name a file in a folder that can be written"
        ) from None


def _warnings(path: Path, config: Config) -> list[str]:
    warnings = []
    mode = path.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.append(f"{path} can be written by others than its owner: chmod go-w {path}")
    if not config.interfaces:
        warnings.append("interfaces is empty: `load` and `run` will need -i")
    here = interfaces_here()
    warnings += [
        f'interfaces: this host has no "{name}" now' for name in config.interfaces if name not in here
    ]
    if not config.meters.enabled:
        warnings.append("meters.enabled is false: nothing is banned automatically")
    return warnings
