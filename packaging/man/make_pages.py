# SPDX-License-Identifier: Apache-2.0
"""Writes the manual pages from the command line and the models of the config, so that they cannot go stale.

python packaging/man/make_pages.py FOLDER    writes xdpwall.1 and xdpwall.toml.5 into it
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from xdpwall import __version__
from xdpwall.config_text import tables, toml_value
from xdpwall.interface.cli.main import cli
from xdpwall.paths import BPFFS, DEFAULT_CONFIG, Paths

COMMON = frozenset({"--output", "--instance", "--help"})
"""Options that every verb takes; they stand once, under OPTIONS."""
FILES = (
    (str(DEFAULT_CONFIG), "The config; see xdpwall.toml(5)."),
    (str(Paths().database), "Bans, allowlist, history and incidents."),
    (str(Paths().socket), "The controller's socket, for root."),
    (str(BPFFS / "xdpwall"), "Pinned programs, maps and links: what keeps the wall up with no process."),
)


def roff(text: str) -> str:
    """Plain text as roff: nothing in it is a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return "\n".join(("\\&" + line) if line[:1] in ".'" else line for line in text.splitlines())


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a help text. As in click, a backspace before one keeps its lines as they are."""
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.lstrip().startswith("\b"):
            yield ".nf\n" + roff("\n".join(line.strip() for line in block.splitlines()[1:])) + "\n.fi"
        else:
            yield roff(" ".join(block.split()))


def options(command: click.Command, context: click.Context, leave: frozenset[str]) -> Iterator[str]:
    """The options of a verb, as .TP items."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not leave & set(parameter.opts):
            yield f".TP\n.B {roff(record[0])}\n{roff(record[1])}"


def verbs(group: click.Group, context: click.Context, above: str) -> Iterator[str]:
    """Every verb below a group, each with its usage, help and options."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f".SS {roff(f'{above} {name} {usage}')}"
        yield from ("\n.PP\n".join([part]) + "\n.PP" for part in paragraphs(command.help or ""))
        yield from options(command, inner, COMMON)
        if isinstance(command, click.Group):
            yield from verbs(command, inner, f"{above} {name}")


def command_page() -> str:
    """xdpwall(1)."""
    context = click.Context(cli, info_name="xdpwall")
    lines = [
        f'.TH XDPWALL 1 "" "xdpwall {__version__}" "System administration"',
        ".SH NAME",
        roff("xdpwall - a wall in the network card's path: verdicts in the kernel, policy in Python"),
        ".SH SYNOPSIS",
        ".B xdpwall\n[OPTIONS] VERB [ARGUMENTS]...",
        ".SH DESCRIPTION",
        *(f"{part}\n.PP" for part in paragraphs(cli.help or "")),
        roff(
            "Programs, bans and counters stay in the kernel: the controller may stop, crash or be upgraded, and the"
            " wall stands. All verbs but `--help` need root."
        ),
        ".SH OPTIONS",
        *options(cli, context, frozenset()),
        ".SH VERBS",
        *verbs(cli, context, ""),
        ".SH EXIT STATUS",
        ".TP\n.B 0\nDone.\n.TP\n.B 1\nFailed.\n.TP\n.B 2\nUsage, or a mistake in the config.",
        ".TP\n.B 3\nNo controller answers.\n.TP\n.B 4\nNot found.\n.TP\n.B 5\nRefused.",
        ".SH FILES",
        *(f".TP\n.I {roff(name)}\n{roff(what)}" for name, what in FILES),
        ".SH SERVICE",
        roff(
            "`systemctl start xdpwall` puts the wall up and starts the controller. `systemctl reload xdpwall` takes a"
            " changed config over. `systemctl stop xdpwall` stops the controller and leaves the wall in force;"
            " `systemctl stop xdpwall-load` takes it down."
        ),
        ".SH SEE ALSO",
        ".BR xdpwall.toml (5),\n.BR systemctl (1),\n.BR journalctl (1)",
    ]
    return "\n".join(lines) + "\n"


def config_page() -> str:
    """xdpwall.toml(5)."""
    lines = [
        f'.TH XDPWALL.TOML 5 "" "xdpwall {__version__}" "File formats"',
        ".SH NAME",
        roff("xdpwall.toml - configuration of xdpwall(1)"),
        ".SH DESCRIPTION",
        roff(
            f"TOML, read from {DEFAULT_CONFIG}. Every key has a default that is safe. `xdpwall config check` finds"
            " every mistake, with its line; `xdpwall config init` writes the file with every key explained. Keys"
            " marked (load) are compiled into the data path: `systemctl reload xdpwall`, or `xdpwall load`, puts"
            " them in force without a gap."
        ),
        ".SH KEYS",
    ]
    for table in tables():
        lines.append(f".SS {roff(f'[{table.name}]' if table.name else 'Top of the file')}")
        if table.meaning:
            lines.append(roff(" ".join(table.meaning.split())))
        for key in table.keys:
            load = " (load)" if key.needs_load else ""
            name = f"{key.name.rpartition('.')[2]} = {toml_value(key.default)}"
            lines.append(
                f".TP\n.B {roff(name)}\n{roff(' '.join(f'{key.meaning} {key.allowed}{load}'.split()))}"
            )
    lines += [".SH SEE ALSO", ".BR xdpwall (1)"]
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write both pages."""
    (folder / "xdpwall.1").write_text(command_page(), encoding="utf-8")
    (folder / "xdpwall.toml.5").write_text(config_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
