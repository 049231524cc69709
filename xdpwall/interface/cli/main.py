# SPDX-License-Identifier: Apache-2.0
"""The entry point, and the one place that decides between a traceback, a hint and an exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence

import click

from xdpwall import __version__
from xdpwall.errors import XdpwallError
from xdpwall.interface.cli.command import Settings, Verbs
from xdpwall.interface.cli.failure import (
    ReaderGoneError,
    lines_for_people,
    object_for_programs,
    usage_error,
)
from xdpwall.interface.cli.output import emit_json

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # what a shell reports for a process that SIGPIPE ended

VERBS: dict[str, tuple[str, str]] = {
    "load": ("load", "Compile the wall and attach it; swaps a loaded one without a gap."),
    "unload": ("unload", "Detach the wall and remove its bans and counters."),
    "run": ("run", "Run the controller: watch, decide, ban."),
    "off": ("off", "Pass everything at once, with the wall left in place."),
    "on": ("on", "Filter again after `xdpwall off`."),
    "status": ("status", "Am I under attack, and is it being stopped?"),
    "top": ("top", "The live screen: watch, and act."),
    "sources": ("sources", "Who sends the most."),
    "verdicts": ("verdicts", "What was passed and dropped, and why."),
    "observed": ("observed", "What parts on trial would have dropped, and whom it would have hit."),
    "ban": ("ban", "Ban addresses and prefixes, lift and list bans."),
    "allow": ("allow", "Addresses and prefixes that are never dropped."),
    "incident": ("incident", "What happened: incidents on record, and reports of them."),
    "geo": ("geo", "The offline database of countries and networks."),
    "rules": ("rules", "Rules made from an attack's own packets."),
    "learn": ("learn", "Which budgets quiet traffic speaks for."),
    "simulate": ("simulate", "What other settings would have done, over recorded traffic."),
    "explain": ("explain", "Which stage decides about a packet, and why."),
    "config": ("config", "Check, show, begin or apply a config file."),
    "doctor": ("doctor", "Examine this host, and say what to do about each finding."),
    "lab": ("lab", "Try the wall against floods in network namespaces."),
    "bench": ("bench", "Measure what the wall costs a packet, beside its peers."),
}


@click.command(
    cls=Verbs,
    lazy=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 no controller, 4 not found, 5 refused.",
)
@click.version_option(__version__, "--version", prog_name="xdpwall", message="%(prog)s %(version)s")
def cli() -> None:
    """A wall in the NIC path of this host: verdicts in the kernel, policy in Python."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; the process's own when None.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    settings = Settings()
    try:
        code = cli.main(args=arguments, prog_name="xdpwall", standalone_mode=False, obj=settings)
    except XdpwallError as error:
        failure = error
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        failure = usage_error(error)
    except click.ClickException as error:
        failure = XdpwallError(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ReaderGoneError:
        return EXIT_BROKEN_PIPE
    except SystemExit as error:
        # click's own way out, when a page of help finds no reader.
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is shown whole
        traceback.print_exc()
        failure = XdpwallError(
            f"this is a bug: {type(error).__name__}: {error}", hint="please report it with the lines above"
        )
    else:
        return code if isinstance(code, int) else 0
    return _fail(failure, settings, arguments)


def _fail(error: XdpwallError, settings: Settings, arguments: list[str]) -> int:
    if settings.json or asks_for_json(arguments):
        with contextlib.suppress(ReaderGoneError):  # the exit code says more
            emit_json({"error": object_for_programs(error)})
    for line in lines_for_people(error):
        click.echo(line, err=True)
    return error.exit_code


def asks_for_json(arguments: list[str]) -> bool:
    """Whether JSON was asked for, judged by the bare arguments: they may be too wrong for click to get that far."""
    for at, argument in enumerate(arguments):
        if argument == "--":
            return False
        if argument in {"-ojson", "--output=json"}:
            return True
        if argument in {"-o", "--output"} and arguments[at + 1 : at + 2] == ["json"]:
            return True
    return False
