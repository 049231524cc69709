# SPDX-License-Identifier: Apache-2.0
"""`xdpwall incident`: what happened, and reports of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import InputError, PrivilegeError, RefusedError
from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.output import Column, emit_json, note, say, table, write
from xdpwall.interface.cli.units import count, pps, share

if TYPE_CHECKING:
    from xdpwall.incident.model import Incident

FORMATS = ("html", "md", "json", "stix", "ncsc")
"""As in ``xdpwall.incident.render``, which a list need not import."""
_COLUMNS = (
    Column("ID", right=True),
    Column("INCIDENT"),
    Column("STATE"),
    Column("BEGAN"),
    Column("LASTED", right=True),
    Column("PEAK", right=True),
    Column("PACKETS", right=True),
    Column("STOPPED", right=True),
    Column("FROM"),
    Column("WHAT"),
)


@click.group(cls=Verbs)
def command() -> None:
    """What happened: incidents on record, and reports of them.

    Works without a controller too, from the database.
    """


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.pass_obj
def list_(settings: Settings, limit: int) -> None:
    """List the incidents, newest first."""
    result = ask(settings, "incident.list", limit=limit)
    if settings.json:
        emit_json(result)
        return
    rows = result["incidents"]
    if not rows:
        say("there is no incident on record")
        return
    table(
        _COLUMNS, [_row(row) for row in rows], ["bold red" if row["state"] == "open" else "" for row in rows]
    )
    if len(rows) == limit:
        note(f"the newest {count(limit)}; --limit shows more")


@command.command("show", short_help="Show one incident.")
@click.argument("name", metavar="[ID]", default="last")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show one incident in short. With `-o json`: the whole record.

    ID is its number, its name, or 'last' (the default).
    """
    if settings.json:
        emit_json(_ask(settings, name))
        return
    from xdpwall.interface.cli.incident_screen import draw_incident

    draw_incident(_record(settings, name))


@command.command("export", short_help="Write a report of one incident.")
@click.argument("name", metavar="[ID]", default="last")
@click.option(
    "-f", "--format", "form", type=click.Choice(FORMATS), default="html", show_default=True, help="Which."
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to; a folder gets a file named after the incident. Default: standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.pass_obj
def export(settings: Settings, name: str, form: str, target: Path | None, force: bool) -> None:
    """Write a report of one incident.

    ID is its number, its name, or 'last' (the default).

    html: one file for a browser, a phone, or paper. md: for a chat. json: the record. stix: a STIX 2.1 bundle for other
    machines. ncsc: what a national cyber security centre asks for, with blanks for what only people know.
    """
    from xdpwall.incident.render import SUFFIXES, render

    incident = _record(settings, name)
    text = render(incident, form)
    if target is None:
        if settings.json and form != "json":
            emit_json({"id": incident.id, "key": incident.key, "format": form, "text": text})
        else:
            write(text)
        return
    if target.is_dir():
        target = target / f"xdpwall-incident-{_file_name(incident.key)}{SUFFIXES[form]}"
    _write_report(target, text, force=force)
    if settings.json:
        emit_json({"id": incident.id, "key": incident.key, "format": form, "path": str(target)})
    else:
        say(f"wrote {target}")


def _ask(settings: Settings, name: str) -> dict[str, Any]:
    answer = ask(settings, "incident.show", id=name)
    record: dict[str, Any] = answer.get("incident", answer)
    return record


def _record(settings: Settings, name: str) -> Incident:
    from xdpwall.incident.model import Incident

    return Incident.from_json(_ask(settings, name))


def _row(row: dict[str, Any]) -> list[str]:
    from xdpwall.incident.render.text import clean, moment, span

    began = row["first_packet_ms"] or row["opened_ms"]
    end = row["ended_ms"] or row["updated_ms"]
    return [
        str(row["id"]),
        clean(row["key"], 40),
        row["state"],
        moment(began),
        span(max(0, end - began)),
        pps(row["peak_pps"]),
        count(row["packets"]),
        share(row["dropped_packets"], row["packets"]),
        " ".join(clean(entry["code"], 8) for entry in row["countries"][:3]),
        ", ".join(clean(name, 40) for name in row["vectors"][:3]) + (" …" if len(row["vectors"]) > 3 else ""),
    ]


def _file_name(key: str) -> str:
    return (
        "".join(char for char in key if char.isascii() and (char.isalnum() or char in "-_"))[:60] or "unnamed"
    )


def _write_report(path: Path, text: str, *, force: bool) -> None:
    """Write the file whole or not at all, for its owner alone: it names addresses of other people.

    Raises:
        RefusedError: it is there already.
        PrivilegeError: this user may not write there.
        InputError: it cannot be written for another reason.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".xdpwall-", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
                if force:
                    temporary.replace(path)
                else:
                    path.hardlink_to(temporary)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
    except FileExistsError:
        raise RefusedError(
            f"{path} is there already, and is not overwritten", hint="--force overwrites it"
        ) from None
    except PermissionError:
        raise PrivilegeError(f"{path}: may not be written by this user", hint="run it with sudo") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="name a file in a folder that is there") from None
