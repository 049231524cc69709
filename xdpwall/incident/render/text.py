# SPDX-License-Identifier: Apache-2.0
"""Numbers, times and foreign text as the reports write them. Times are UTC."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from xdpwall.incident.countries import country_name

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LONGEST = 300


def clean(text: object, limit: int = _LONGEST) -> str:
    """Foreign text on one line: no control characters, none that turn the direction or hide, no more than ``limit``."""
    kept = []
    for char in str(text):
        kind = unicodedata.category(char)
        if kind in {"Cc", "Zl", "Zp"} or char == "\u00a0":
            kept.append(" ")
        elif kind not in {"Cf", "Cs", "Co", "Cn"}:
            kept.append(char)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def count(number: float) -> str:
    """``36,035,112``."""
    return f"{round(number):,}"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """``1 source``, ``20,000 sources``."""
    return f"{count(number)} {noun if number == 1 else nouns or noun + 's'}"


def scaled(number: float, unit: str) -> str:
    """Three figures and a decimal prefix: ``1.25 Mpps``, ``950 pps``."""
    for step, letter in _STEPS:
        if abs(number) >= step * 0.9995:
            value = number / step
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {letter}{unit}"
    return f"{number:.0f} {unit}"


def rough(number: float) -> str:
    """For a headline: ``36.0 million``, ``1.25 million``, ``9,300``."""
    for step, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= step * 0.9995:
            value = number / step
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {word}"
    return count(number)


def share(part: float, whole: float) -> str:
    """A percentage that never rounds to all or to nothing unless it is."""
    return percent(part / whole) if whole else "0 %"


def percent(fraction: float) -> str:
    """Like :func:`share`, from a fraction."""
    value = 100 * fraction
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99.9 < value < 100:
        return ">99.9 %"
    return f"{value:.0f} %" if value in {0, 100} else f"{value:.1f} %"


def moment(unix_ms: float) -> str:
    """``2026-11-23 16:44:50 UTC``."""
    return _at(unix_ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(unix_ms: float) -> str:
    """``16:44:50``."""
    return _at(unix_ms).strftime("%H:%M:%S")


def clock_ms(unix_ms: float) -> str:
    """``16:44:50.123``."""
    at = _at(unix_ms)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


def stamp(unix_ms: float) -> str:
    """``2026-11-23T16:44:50.123Z``."""
    at = _at(unix_ms)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def span(milliseconds: float) -> str:
    """A length of time in its two largest units: ``230 ms``, ``35 s``, ``1 h 30 min``, ``2 d 4 h``."""
    if milliseconds <= 0:
        return "0 s"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.2f} s"
    parts = []
    rest = round(milliseconds / 1000)
    for seconds, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def place(country: str | None, asn: int | None, as_name: str | None) -> str:
    """``Russia, AS13238 YANDEX LLC``; empty if nothing is known."""
    network = "" if asn is None else f"AS{asn} {clean(as_name or '', 80)}".strip()
    return ", ".join(part for part in (clean(country_name(country), 60) if country else "", network) if part)


def endpoint(address: str, port: int | None, protocol: str = "") -> str:
    """``192.0.2.10 port 443/tcp``, ``192.0.2.10 any port/udp``."""
    where, kind = clean(address, 60), f"/{clean(protocol, 12)}" if protocol else ""
    if port is None:
        return f"{where} any port{kind}" if protocol in {"tcp", "udp"} else where
    return f"{where} port {port}{kind}"


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def _at(unix_ms: float) -> datetime:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, tz=UTC)  # a damaged record still gives a report
