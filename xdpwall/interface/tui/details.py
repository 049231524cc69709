# SPDX-License-Identifier: Apache-2.0
"""All about one row, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from xdpwall.interface.cli.units import bits, count, pps, size
from xdpwall.model import format_duration_ms


@dataclass(frozen=True, slots=True)
class Details:
    """A title and lines."""

    title: str
    text: str


def of_row(table: str, key: str, answer: Mapping[str, Any]) -> Details:
    """All that the newest answer holds about a source, a ban or a reason."""
    if table == "sources":
        entry = _find(answer.get("sources", ()), "source", key)
        return Details(key, "it is gone from the list" if entry is None else _source_text(entry))
    if table == "bans":
        entry = _find(answer.get("bans", ()), "prefix", key)
        return Details(key, "it is gone from the list" if entry is None else ban_words(entry))
    entry = _find(answer.get("reasons", ()), "reason", key)
    if entry is None:
        return Details(key, "it is gone from the list")
    return Details(
        key,
        f"{entry['meaning']}\n\n{entry['action']}: {pps(entry['pps'])} now; since load "
        f"{count(entry['packets'])} packets, {size(entry['bytes'])}",
    )


def facts(prefix: str, answer: Mapping[str, Any]) -> str:
    """One or two lines about a source, for a question."""
    entry = _find(answer.get("sources", ()), "source", prefix)
    if entry is None:
        ban = ban_on(prefix, answer)
        return prefix if ban is None else f"{prefix}: {ban_words(ban)}"
    where = ", ".join(
        str(part) for part in (entry.get("country"), entry.get("as_name") or entry.get("asn")) if part
    )
    return f"{prefix} sends {pps(entry['pps'])}, {bits(entry['bps'])}" + (f" ({where})" if where else "")


def ban_on(prefix: str, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ban that holds a source, or that stands on a prefix, as the newest answer knows it."""
    found = _find(answer.get("bans", ()), "prefix", prefix)
    if found is None:
        source = _find(answer.get("sources", ()), "source", prefix)
        found = source.get("ban") if source is not None else None
    return None if found is None else dict(found)


def ban_words(ban: Mapping[str, Any]) -> str:
    """A ban in a sentence or two."""
    left = ban["remaining_ms"]
    end = "for ever" if left is None else f"for {format_duration_ms(left)} more"
    words = f"banned {end} by {ban['origin']} since {_time(ban['created_ms'])}"
    if ban["reason"]:
        words += f": {ban['reason']}"
    words += f"\nstrikes: {ban['strikes']}"
    if ban.get("dropped_packets"):
        words += f"; dropped {count(ban['dropped_packets'])} packets, {size(ban['dropped_bytes'])}"
    if ban.get("dropped_pps"):
        words += f", {pps(ban['dropped_pps'])} now"
    return words


def _source_text(entry: Mapping[str, Any]) -> str:
    lines = [
        f"now: {pps(entry['pps'])}, {bits(entry['bps'])}; dropped {pps(entry['dropped_pps'])}",
        f"of it SYN {count(entry['syn_pps'])}/s, UDP {count(entry['udp_pps'])}/s, ICMP {count(entry['icmp_pps'])}/s",
    ]
    if entry["packets"]:
        lines.append(
            f"since {_time(entry['first_seen_ms'])}: {count(entry['packets'])} packets, {size(entry['bytes'])}"
        )
    if entry.get("country") or entry.get("asn"):
        lines.append(
            f"registered in {entry.get('country') or '?'}, AS{entry.get('asn') or '?'} {entry.get('as_name') or ''}"
        )
    lines.append(f"verdict: {entry['verdict']}")
    if entry.get("ban"):
        lines.append(ban_words(entry["ban"]))
    lines.append(f"\nwhy: `xdpwall explain {entry['source'].split('/')[0]}`")
    return "\n".join(lines)


def _find(rows: Any, field: str, value: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row[field] == value), None)


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
