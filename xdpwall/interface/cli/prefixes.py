# SPDX-License-Identifier: Apache-2.0
"""Reads the addresses and prefixes of a command line, and lists of them from standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from xdpwall.errors import AddressError, InputError
from xdpwall.interface.cli.failure import BadLine, BadLinesError
from xdpwall.interface.cli.output import note
from xdpwall.interface.cli.units import count, plural
from xdpwall.model import Prefix

STDIN = "-"
_BOM = "\ufeff"

Reader = Callable[[str], Prefix]


@dataclass(slots=True)
class Reading:
    """What was read.

    Args:
        prefixes: in canonical text (see :func:`explicit`), each once, in the order given.
        widened: what was given as a lone IPv6 address, and the /64 it stands for.
        skipped: lines left out because of --skip-bad.
    """

    prefixes: list[str] = field(default_factory=list)
    widened: dict[str, str] = field(default_factory=dict)
    skipped: list[BadLine] = field(default_factory=list)

    def tell(self) -> None:
        """Say on stderr what a reader might not expect."""
        for given, prefix in list(self.widened.items())[:10]:
            note(f"note: {given} stands for its /64, {prefix}: one host owns a /64")
        if len(self.widened) > 10:
            note(f"note: and {count(len(self.widened) - 10)} more addresses, each for its /64")
        for bad in self.skipped:
            note(f"skipped line {bad.line}: {bad.message}")


def read_arguments(arguments: Sequence[str], *, skip_bad: bool = False, exact: bool = False) -> Reading:
    """Read the arguments of a verb; ``-`` among them stands for a list on standard input.

    Args:
        arguments: as given.
        skip_bad: leave out bad lines of standard input instead of refusing the whole.
        exact: a lone IPv6 address means itself, not its /64.

    Raises:
        InputError: there is nothing to do.
        AddressError: an argument is no prefix.
        BadLinesError: lines of standard input are no prefixes; it carries each of them.
    """
    if not arguments:
        raise InputError(
            "no address or prefix is given", hint="give some, or - to read a list from standard input"
        )
    reader = Prefix.parse if exact else Prefix.parse_source
    reading = Reading()
    given: dict[str, Prefix] = {}
    for argument in arguments:
        if argument == STDIN:
            good, bad = parse_lines(_stdin_lines(), reader)
            if bad and not skip_bad:
                raise _refusal(bad, len(good))
            given.update(good)
            reading.skipped += bad
        else:
            given[argument.strip()] = reader(argument)
    reading.prefixes = list(dict.fromkeys(map(explicit, given.values())))
    if not exact:
        reading.widened = {
            text: str(prefix) for text, prefix in given.items() if prefix.length == 64 and "/" not in text
        }
    if not reading.prefixes:
        raise InputError("standard input holds no address or prefix", hint="one per line; # begins a comment")
    return reading


def explicit(prefix: Prefix | str) -> str:
    """A prefix as text that nobody can take for a /64: one IPv6 address gets its ``/128``."""
    text = str(prefix)
    return f"{text}/128" if ":" in text and "/" not in text else text


def parse_lines(
    lines: Iterable[str], reader: Reader = Prefix.parse_source
) -> tuple[dict[str, Prefix], list[BadLine]]:
    """Read one prefix per line; blank lines and comments (#) are left out.

    Returns:
        The prefix by its text, and the lines that hold none.
    """
    good: dict[str, Prefix] = {}
    bad: list[BadLine] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            good[text] = reader(text)
        except AddressError as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            bad.append(BadLine(number, text, message))
    return good, bad


def _stdin_lines() -> list[str]:
    # Bytes that are no text make their own line bad, not the whole list.
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    return text.removeprefix(_BOM).splitlines()


def _refusal(bad: list[BadLine], good: int) -> BadLinesError:
    verb = "is" if len(bad) == 1 else "are"
    return BadLinesError(
        f"{count(len(bad))} of {plural(len(bad) + good, 'line')} {verb} no address or prefix; nothing was done",
        STDIN,
        bad,
        hint="mend them, or leave them out with --skip-bad",
    )
