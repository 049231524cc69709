# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them. Decimal multiples, as on the wire; JSON never sees these."""

from __future__ import annotations

import os
import sys

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def group_separator() -> str:
    """What stands between thousands: a narrow space, or a comma where the terminal may have no such glyph."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return "\u202f" if encoding == "utf8" and os.environ.get("TERM") not in {"linux", "dumb", None} else ","


def count(number: int) -> str:
    """A whole number with its thousands grouped."""
    return f"{number:,}".replace(",", group_separator())


def plural(number: int, noun: str) -> str:
    """``1 ban``, ``2 bans``; for nouns that take an s."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def scaled(number: float, unit: str) -> str:
    """Three figures and a decimal prefix: ``1.25 Mpps``, ``950 pps``."""
    for step, letter in _STEPS:
        if abs(number) >= step * 0.9995:
            value = number / step
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {letter}{unit}"
    return f"{number:.0f} {unit}"


def pps(number: float) -> str:
    """Packets per second."""
    return scaled(number, "pps")


def bits(number: float) -> str:
    """Bits per second."""
    return scaled(number, "bit/s")


def size(number: float) -> str:
    """Bytes on the wire."""
    return scaled(number, "B")


def memory_kb(kibibytes: int) -> str:
    """Memory, given in KiB."""
    return f"{kibibytes} KiB" if kibibytes < 10_240 else f"{kibibytes / 1024:.0f} MiB"


def share(part: int, whole: int) -> str:
    """A percentage that never rounds to all or to nothing unless it is: ``99.9 %``, ``<0.1 %``."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %"
