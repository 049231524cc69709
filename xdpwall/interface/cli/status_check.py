# SPDX-License-Identifier: Apache-2.0
"""`status --check`: the answer as monitoring systems take it from a plugin.

One line of text, ``|``, performance data; more lines for details; the exit code is the verdict (Monitoring Plugins
Development Guidelines). The exit codes are theirs, not the ones of the other verbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from xdpwall.errors import NotLoadedError, XdpwallError
from xdpwall.interface.cli.units import pps, share

Level = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]
EXIT_CODES: Mapping[Level, int] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
FULL_WARNING, FULL_CRITICAL = 0.9, 0.98
"""How full a ban table may be, as shares of its capacity."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check says."""

    level: Level
    text: str
    details: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return EXIT_CODES[self.level]

    def lines(self) -> str:
        """What is printed. A ``|`` in a text would end it, so it is replaced."""
        head = f"XDPWALL {self.level} - {_clean(self.text)}"
        if self.figures:
            head += f" | {' '.join(self.figures)}"
        return "\n".join([head, *map(_clean, self.details)]) + "\n"


def judge(result: Mapping[str, Any], *, attack: Level = "WARNING") -> Verdict:
    """From the answer of the op ``status`` to the verdict.

    Critical is what an attack would come through: a wall that does not stand everywhere, no controller, an attack under
    ``observe``. An attack that is being stopped is ``attack``. Anything else that is wrong is a warning.
    """
    found: list[tuple[Level, str]] = []
    for entry in result["interfaces"]:
        if not entry["ifindex"]:
            found.append(("CRITICAL", f"{entry['name']} is missing"))
        elif not entry["attached"]:
            found.append(("CRITICAL", f"the wall does not run on {entry['name']}"))
    if result.get("off"):
        found.append(("WARNING", f"the wall is OFF: everything passes{_since(result['off'])}"))
    if not result["interfaces"]:
        found.append(("CRITICAL", "the wall stands on no interface"))
    if not result["controller"]["running"]:
        found.append(("CRITICAL", "no controller runs: nobody new is banned"))
    if result["state"] == "UNDER_ATTACK":
        observed = result["policy"] == "observe"
        found.append(
            ("CRITICAL", f"attack, and nothing is dropped: policy is observe; {_rates(result)}")
            if observed
            else (attack, f"under attack; {_rates(result)}")
        )
    found += _tables(result["bans"])
    found += _alarms(result)
    others = [problem for problem in result["problems"] if not (result.get("off") and " is OFF " in problem)]
    if others and not any(level == "CRITICAL" for level, _ in found):
        found.append(("WARNING", others[0]))
    found.sort(key=lambda entry: -EXIT_CODES[entry[0]])
    level: Level = found[0][0] if found else "OK"
    text = "; ".join(text for its, text in found if its == level) or f"{_quiet(result)}; {_rates(result)}"
    return Verdict(level, text, tuple(f"! {problem}" for problem in result["problems"]), _figures(result))


def _alarms(result: Mapping[str, Any]) -> list[tuple[Level, str]]:
    """Checks of the wall by itself with which an attack comes through, though the wall stands."""
    troubles = result.get("checks", {}).get("troubles", ())
    return [("CRITICAL", entry["text"]) for entry in troubles if entry["check"] in _LETS_THROUGH]


_LETS_THROUGH = frozenset({"program", "stages", "path"})


def failed(error: XdpwallError) -> Verdict:
    """The verdict when the status cannot be had: no wall at all is critical, anything else is unknown."""
    level: Level = "CRITICAL" if isinstance(error, NotLoadedError) else "UNKNOWN"
    return Verdict(level, error.message, (error.hint,) if error.hint else ())


def _tables(bans: Mapping[str, int]) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    for name, count, room in (
        ("bans", bans["exact"], bans["capacity"]),
        ("bans of prefixes", bans["prefix"], bans["prefix_capacity"]),
    ):
        if room and count >= room * FULL_WARNING:
            level: Level = "CRITICAL" if count >= room * FULL_CRITICAL else "WARNING"
            found.append((level, f"the table of {name} is {share(count, room)} full"))
    return found


def _since(off: Mapping[str, Any]) -> str:
    at = f"{datetime.fromtimestamp(off['since_ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f" since {at}" + (f" by {off['by']}" if off["by"] else "")


def _quiet(result: Mapping[str, Any]) -> str:
    return "nothing is dropped: policy is observe" if result["policy"] == "observe" else "quiet"


def _rates(result: Mapping[str, Any]) -> str:
    rates = result.get("rates")
    if rates is None:
        return "no rates"
    return f"{pps(rates['pps'])} come in, {pps(rates['dropped_pps'])} dropped"


def _figures(result: Mapping[str, Any]) -> tuple[str, ...]:
    """``'label'=value[unit];warning;critical;least;most``, as the guidelines lay it down. Totals have the unit c."""
    totals, bans, controller = result["totals"], result["bans"], result["controller"]
    figures = []
    rates = result.get("rates")
    if rates is not None:
        figures += [f"{name}={rates[name]};;;0" for name in ("pps", "bps", "dropped_pps", "passed_pps")]
    figures += [f"{name}={totals[name]}c;;;0" for name in ("packets", "dropped_packets", "passed_packets")]
    for name, count, room in (
        ("bans", bans["exact"], bans["capacity"]),
        ("prefix_bans", bans["prefix"], bans["prefix_capacity"]),
    ):
        figures.append(f"{name}={count};{int(room * FULL_WARNING)};{int(room * FULL_CRITICAL)};0;{room}")
    if controller["running"]:
        figures += [
            f"tick_lag={controller['tick_lag_ms']}ms;;;0",
            f"rss={controller['rss_kb']}KB;;;0",
            f"cpu={controller['cpu_ms'] / 1000:.3f}c;;;0",
        ]
    return tuple(figures)


def _clean(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
