# SPDX-License-Identifier: Apache-2.0
"""How a failure looks: lines on stderr for people, an object for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from xdpwall.errors import CompileError, ConfigError, InputError, VerifierError, XdpwallError

LOG_LINES = 30
"""How much of a compiler's or verifier's log people get to see; the end of it names the fault."""
LOG_LINES_JSON = 1_000


class ReaderGoneError(Exception):
    """Nobody reads standard output any more, as after `| head`. Not an OSError: click has its own ways with those."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line of a list that could not be read. ``line`` is 1-based."""

    line: int
    text: str
    message: str


class BadLinesError(InputError):
    """A list with lines that cannot be read.

    Args:
        message: how many are bad, and that nothing was done.
        name: what stands for the list in messages: a file's name, or ``-``.
        lines: every bad line.
    """

    def __init__(self, message: str, name: str, lines: list[BadLine], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.lines = lines


def lines_for_people(error: XdpwallError) -> list[str]:
    """The failure as lines for stderr: first every detail, then what failed, then the way out."""
    lines: list[str] = []
    if isinstance(error, ConfigError):
        for problem in error.problems:
            place = f"{error.path}:{problem.line}" if problem.line else error.path
            lines.append(": ".join(part for part in (place, problem.key, problem.message) if part))
    elif isinstance(error, BadLinesError):
        lines += [f"{error.name}:{bad.line}: {bad.message}" for bad in error.lines]
    elif isinstance(error, CompileError | VerifierError):
        log = error.log.splitlines()
        if len(log) > LOG_LINES:
            lines.append(f"... {len(log) - LOG_LINES} lines of the log before these; -o json has more")
        lines += [f"  {line}" for line in log[-LOG_LINES:]]
    lines.append(f"xdpwall: {error.message}")
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return lines


def object_for_programs(error: XdpwallError) -> dict[str, Any]:
    """The failure as the object that stands under ``"error"``."""
    body: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    if isinstance(error, ConfigError):
        body["config"] = {
            "path": error.path,
            "problems": [{"key": p.key, "line": p.line, "message": p.message} for p in error.problems],
        }
    elif isinstance(error, BadLinesError):
        body["lines"] = [{"line": b.line, "text": b.text, "message": b.message} for b in error.lines]
    elif isinstance(error, CompileError | VerifierError):
        body["log"] = "\n".join(error.log.splitlines()[-LOG_LINES_JSON:])
    return body


def usage_error(error: click.UsageError) -> InputError:
    """Click's complaint about the command line as one of ours."""
    message = error.format_message().rstrip(".")
    path = error.ctx.command_path if error.ctx else "xdpwall"
    return InputError(message[:1].lower() + message[1:], hint=f"try `{path} --help`")
