# SPDX-License-Identifier: Apache-2.0
"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only a problem makes the doctor's exit code 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Args:
        level: how bad.
        title: what was examined and what it is, in a few words.
        detail: what follows from it, in a sentence or two; may be empty when all is well.
        advice: what to do; never empty unless all is well.
    """

    level: Level
    title: str
    detail: str = ""
    advice: str = ""

    def __post_init__(self) -> None:
        if self.level is not Level.OK and not self.advice:
            raise ValueError(f"{self.title!r} says nothing about what to do")


def ok(title: str, detail: str = "") -> Finding:
    """All is well."""
    return Finding(Level.OK, title, detail)


def note(title: str, detail: str, advice: str) -> Finding:
    """Good to know; nothing suffers."""
    return Finding(Level.NOTE, title, detail, advice)


def warning(title: str, detail: str, advice: str) -> Finding:
    """The wall works, but slower or less safely than it could."""
    return Finding(Level.WARNING, title, detail, advice)


def problem(title: str, detail: str, advice: str) -> Finding:
    """The wall does not work, or not where it should."""
    return Finding(Level.PROBLEM, title, detail, advice)
