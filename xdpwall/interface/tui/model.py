# SPDX-License-Identifier: Apache-2.0
"""What the screen shows, worked out from an answer: pure functions from JSON to words and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xdpwall.errors import AddressError
from xdpwall.interface.cli.units import bits, count, pps, scaled, share
from xdpwall.interface.tui.feed import News
from xdpwall.model import Prefix, format_duration_ms

SORTS = ("pps", "bps", "syn", "udp", "icmp", "drops", "packets", "last")
"""What the key `s` goes through."""
SHOWN = 60
"""Rows asked for of sources and bans."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person at the screen wants to see.

    Args:
        sort: order of the sources.
        text: the filter as typed; a prefix is sent to the controller, anything else sifts what came.
    """

    sort: str = "pps"
    text: str = ""

    def question(self) -> dict[str, Any]:
        """Arguments of the op ``overview``."""
        args: dict[str, Any] = {
            "sources": SHOWN,
            "bans": SHOWN,
            "incidents": 20,
            "trend": 300,
            "sort": self.sort,
        }
        within = self.within
        if within is not None:
            args["within"] = str(within)
        return args

    @property
    def within(self) -> Prefix | None:
        """The filter as a prefix; None when it is none."""
        try:
            return Prefix.parse(self.text)
        except AddressError:
            return None

    def next_sort(self) -> Wanted:
        """The next order."""
        return replace(self, sort=SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)])

    def keeps(self, *cells: str) -> bool:
        """Whether a row passes the filter. A prefix was dealt with by the controller already."""
        if not self.text or self.within is not None:
            return True
        needle = self.text.casefold()
        return any(needle in cell.casefold() for cell in cells)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: what it is about, its cells, and the style of all of them."""

    key: str
    cells: tuple[str, ...]
    style: str = ""


def state_of(news: News) -> str:
    """One word for the header."""
    if news.answer is None:
        return "NO ANSWER"
    return str(news.answer["status"]["state"]).replace("_", " ")


def sentence(news: News) -> str:
    """The state in words, with the figures it rests on."""
    if news.answer is None:
        return "nothing can be told" if news.error is None else news.error.message
    status = news.answer["status"]
    rates = status.get("rates")
    if status["state"] == "OFF":
        return "everything passes: nothing is dropped, judged or counted until `xdpwall on`"
    if rates is None:
        return "no controller: the wall stands, nobody new is banned"
    seen, dropped, passed = rates["pps"], rates["dropped_pps"], rates["passed_pps"]
    if status["policy"] == "observe":
        would = rates.get("would_drop_pps", 0)
        return f"{pps(would)} of {pps(seen)} would be dropped ({share(would, seen)})"
    if status["state"] == "UNDER_ATTACK":
        return f"{pps(dropped)} of {pps(seen)} dropped ({share(dropped, seen)}), {pps(passed)} pass"
    if status["state"] == "DEGRADED" and status["problems"]:
        return f"{_first(status)}  ({pps(seen)} come in)"
    return f"{pps(seen)} come in, {pps(dropped)} dropped"


def _first(status: Mapping[str, Any]) -> str:
    """What is wrong, the earliest, cut at its way out, with how many more there are."""
    problems = status["problems"]
    text = problems[0].split(". ")[0].split("; ")[0]
    text = text if len(text) <= _MOST_CAUSE else f"{text[: _MOST_CAUSE - 1]}…"
    return text + (f" (+{len(problems) - 1})" if len(problems) > 1 else "")


_MOST_CAUSE = 60


def place_of(news: News) -> str:
    """Interfaces with their modes, for the right end of the header."""
    if news.answer is None:
        return ""
    status = news.answer["status"]
    parts = []
    for entry in status["interfaces"]:
        mode = entry["mode"] if entry["attached"] else "MISSING" if not entry["ifindex"] else "NOT ATTACHED"
        parts.append(f"{entry['name']} {mode}")
    shown = ", ".join(parts[:2]) + (f" +{len(parts) - 2}" if len(parts) > 2 else "")
    policy = status["policy"]
    return shown if policy == "enforce" else f"{shown} {policy}"


def notices(news: News) -> list[str]:
    """What is wrong or noteworthy, the worst first."""
    found: list[str] = []
    if news.error is not None:
        silent = f" for {format_duration_ms(news.silent_ms)}" if news.silent_ms >= 1_000 else ""
        found.append(f"the controller does not answer{silent}; trying again ({news.error.message})")
    if news.answer is not None:
        found += news.answer["status"]["problems"]
        controller = news.answer["status"]["controller"]
        uptime = controller.get("uptime_ms", 1 << 60)
        if news.restarted_ms is not None and uptime < 600_000:
            found.append(f"the controller restarted {format_duration_ms(max(1_000, uptime))} ago")
    return found


def figure(number: float) -> str:
    """A number for a column: three figures and a letter."""
    return scaled(number, "").replace(" ", "")


def source_rows(answer: Mapping[str, Any], wanted: Wanted) -> list[Row]:
    """Cells: source, country, network, pps, bps, SYN/s, dropped/s, verdict, ban left."""
    rows = []
    for entry in answer.get("sources", ()):
        ban = entry.get("ban")
        network = _network(entry)
        cells = (
            entry["source"],
            entry.get("country") or "",
            network,
            figure(entry["pps"]),
            figure(entry["bps"]),
            figure(entry["syn_pps"]),
            figure(entry["dropped_pps"]),
            entry["verdict"],
            format_duration_ms(ban["remaining_ms"]) if ban else "",
        )
        if wanted.keeps(entry["source"], cells[1], network, entry["verdict"]):
            style = _VERDICT_STYLE[entry["verdict"]] if entry["pps"] else "dim"
            rows.append(Row(entry["source"], cells, style))
    return rows


_VERDICT_STYLE = {"passed": "", "limited": "yellow", "banned": "red", "allowed": "green"}


def _network(entry: Mapping[str, Any]) -> str:
    number, name = entry.get("asn"), entry.get("as_name") or ""
    return f"AS{number} {name}".rstrip() if number else str(name)


def ban_rows(answer: Mapping[str, Any], wanted: Wanted) -> list[Row]:
    """Cells: prefix, left, dropped/s, dropped, by, strikes, reason."""
    return [
        Row(
            entry["prefix"],
            (
                entry["prefix"],
                format_duration_ms(entry["remaining_ms"]),
                figure(entry["dropped_pps"]),
                figure(entry["dropped_packets"]),
                entry["origin"],
                str(entry["strikes"]),
                entry["reason"],
            ),
            "" if entry["dropped_pps"] else "dim",
        )
        for entry in answer.get("bans", ())
        if wanted.keeps(entry["prefix"], entry["origin"], entry["reason"])
    ]


_ACTION_STYLES = {"drop": "red", "pass": "green", "would_drop": "yellow"}


def reason_rows(answer: Mapping[str, Any]) -> list[Row]:
    """Cells: reason, now, packets, meaning. What would only have been dropped is yellow."""
    return [
        Row(
            entry["reason"],
            (entry["reason"], figure(entry["pps"]), figure(entry["packets"]), entry["meaning"]),
            _ACTION_STYLES[entry["action"]] if entry["pps"] else "dim",
        )
        for entry in answer.get("reasons", ())
    ]


def incident_rows(answer: Mapping[str, Any]) -> list[Row]:
    """Cells: name, state, began, length, peak, kinds."""
    rows = []
    at_ms = answer.get("at_ms", 0)
    for entry in answer.get("incidents", ()):
        is_open = entry.get("state") == "open"
        began = entry.get("first_packet_ms") or entry.get("opened_ms") or 0
        ended = entry.get("ended_ms") if not is_open else None
        vectors = entry.get("vectors") or ()
        names = [vector["name"] if isinstance(vector, Mapping) else str(vector) for vector in vectors]
        rows.append(
            Row(
                str(entry.get("id")),
                (
                    str(entry.get("key", entry.get("id"))),
                    "OPEN" if is_open else "closed",
                    format_duration_ms(max(1_000, (ended or at_ms) - began)) if began else "",
                    pps(entry.get("peak_pps", 0)),
                    ", ".join(names) or "?",
                ),
                "bold red" if is_open else "",
            )
        )
    return rows


def bans_line(answer: Mapping[str, Any]) -> str:
    """How many bans stand, and how full the tables are."""
    bans = answer["status"]["bans"]
    full = max(_fullness(bans["exact"], bans["capacity"]), _fullness(bans["prefix"], bans["prefix_capacity"]))
    return f"bans: {count(bans['exact'])} + {count(bans['prefix'])} prefixes ({full})"


def _fullness(number: int, capacity: int) -> str:
    return share(number, capacity) if capacity else "0 %"


def traffic_figures(answer: Mapping[str, Any]) -> dict[str, tuple[int, int, Sequence[int]]]:
    """Packets per second, bits per second and the trend, of what passed and of what was (or would be) dropped."""
    rates = answer["status"].get("rates")
    trend = answer.get("trend") or {}
    if rates is None:
        return {}
    observe = answer["status"]["policy"] == "observe"
    dropped = rates.get("would_drop_pps", 0) if observe else rates["dropped_pps"]
    dropped_bps = rates.get("would_drop_bps", 0) if observe else rates.get("dropped_bps", 0)
    return {
        "passed": (rates["pps"] - dropped, rates["bps"] - dropped_bps, trend.get("passed_pps", ())),
        "would drop" if observe else "dropped": (dropped, dropped_bps, trend.get("dropped_pps", ())),
    }


def rate_words(packets: int, size: int) -> str:
    """``1.99 Mpps  1.02 Gbit/s``."""
    return f"{pps(packets):>10}  {bits(size):>12}"


def captions(answer: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """A title for each table, with how much there is."""
    status = answer.get("status") or {}
    bans = status.get("bans") or {"exact": 0, "prefix": 0}
    metered = answer.get("metered", 0)
    incidents = answer.get("incidents", ())
    still_open = sum(1 for entry in incidents if entry.get("state") == "open")
    sifted = f", only {wanted.text}" if wanted.text else ""
    return {
        "sources": f"Sources by {wanted.sort} ({_many(metered)} seen{sifted})",
        "bans": f"Bans ({_many(bans['exact'] + bans['prefix'])}{sifted})",
        "incidents": f"Incidents ({still_open} open)" if still_open else "Incidents",
        "reasons": "Reasons",
    }


def _many(number: int) -> str:
    return count(number) if number < 10_000 else figure(number)
