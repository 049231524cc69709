# SPDX-License-Identifier: Apache-2.0
"""Bars and sparklines as text. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"


def thin_out(values: Sequence[float], width: int) -> list[float]:
    """The newest values, one a column; when there are more than columns, the highest of each group: peaks stay."""
    if width <= 0 or not values:
        return []
    if len(values) <= width:
        return list(values)
    step = -(-len(values) // width)
    first = len(values) % step
    groups = [values[:first]] if first else []
    groups += [values[at : at + step] for at in range(first, len(values), step)]
    return [max(group) for group in groups][-width:]


def sparkline(values: Sequence[float], width: int, height: int = 1, *, top: float | None = None) -> list[str]:
    """A chart of columns, newest at the right, as ``height`` lines from top to bottom.

    Args:
        values: oldest first.
        width: columns.
        height: lines; each has eight steps.
        top: the value of a full column; the largest of the values when None. Anything above zero shows.
    """
    shown = thin_out(values, width)
    highest = max(top if top is not None else 0, *shown, 1e-9) if shown else 1.0
    steps = [0 if value <= 0 else max(1, round(value / highest * height * 8)) for value in shown]
    lines = []
    for line in range(height - 1, -1, -1):
        cells = "".join(_EIGHTHS[min(8, max(0, step - line * 8))] for step in steps)
        lines.append(cells.rjust(width))
    return lines


def bar(part: float, whole: float, width: int) -> str:
    """How much of something is used: ``width`` characters, eighths of them. Over the whole it is full."""
    share = 0.0 if whole <= 0 else min(1.0, max(0.0, part / whole))
    eighths = round(share * width * 8)
    if part > 0 and whole > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_PARTS[rest] if rest else "")).ljust(width)


def cut(text: str, width: int) -> str:
    """At most ``width`` characters; what is left out shows as ``…``."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
