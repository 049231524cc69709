# SPDX-License-Identifier: Apache-2.0
"""What `xdpwall explain` shows to people."""

from __future__ import annotations

from typing import Any

from xdpwall.interface.cli.output import Column, note, say, table
from xdpwall.interface.cli.units import bits, count, plural, size
from xdpwall.model import format_duration_ms

_MANY = 100
"""Of fewer packets the pace says little."""
_STYLES = {"pass": "green", "drop": "red", "answer": "cyan"}


def source(result: dict[str, Any]) -> None:
    """An address."""
    name = result["source"]
    counts = "" if result["counts_as"] == name else f", which counts as {result['counts_as']}"
    say(f"{name}{counts}: packets to {result['target']}")
    for line in (*_listed(result["listed"]), *_metered(result["meters"]), *_lanes(result["lanes"])):
        say(f"  {line}")
    say("")
    table(
        (
            Column("PACKET"),
            Column("NOW"),
            Column("STAGE"),
            Column("REASON"),
            Column("IN A FLOOD"),
            Column("REASON"),
        ),
        [
            [
                row["packet"],
                _verdict(row),
                row["stage"],
                row["reason"],
                _verdict(row["over_budget"]),
                row["over_budget"]["reason"],
            ]
            for row in result["packets"]
        ],
        [_STYLES[row["verdict"]] for row in result["packets"]],
    )
    say("")
    meanings = {
        part["reason"]: part["meaning"] for row in result["packets"] for part in (row, row["over_budget"])
    }
    for reason, meaning in meanings.items():
        say(f"{reason}: {meaning}")
    say('"in a flood": while the budget of every lane is spent')


def capture(result: dict[str, Any], *, pace: bool) -> None:
    """A file."""
    head = f"{result['file']}: {plural(result['packets'], 'packet')}, {plural(result['sources'], 'source')}"
    say(f"{head}, {result['capture_ms'] / 1000:.1f} s")
    verdicts = f"passed {count(result['passed'])}, dropped {count(result['dropped'])}"
    if result["answered"]:
        verdicts += f", answered {count(result['answered'])}"
    say(verdicts)
    for line in _left_out(result):
        note(f"note: {line}")
    if result["reasons"]:
        say("")
        table(
            (
                Column("VERDICT"),
                Column("REASON"),
                Column("STAGE"),
                Column("PACKETS", right=True),
                Column("BYTES", right=True),
                Column("MEANING"),
            ),
            [
                [
                    row["verdict"],
                    row["reason"],
                    row["stage"],
                    count(row["packets"]),
                    size(row["bytes"]),
                    row["meaning"],
                ]
                for row in result["reasons"]
            ],
            [_STYLES[row["verdict"]] for row in result["reasons"]],
        )
    if result["top_sources"]:
        say("")
        table(
            (
                Column("SOURCE"),
                Column("PACKETS", right=True),
                Column("PASSED", right=True),
                Column("NOT PASSED", right=True),
                Column("REASONS"),
            ),
            [
                [
                    row["source"],
                    count(row["packets"]),
                    count(row["passed"]),
                    count(row["dropped"]),
                    ", ".join(f"{name} {count(number)}" for name, number in row["reasons"].items()),
                ]
                for row in result["top_sources"]
            ],
        )
    if not pace and result["tried"] >= _MANY:
        say("")
        say(_hurry(result))


def packet_line(row: dict[str, Any]) -> str:
    """One packet of a capture."""
    return f"{row['number']:>7}  {_verdict(row):<6}  {row['reason']:<18}  {row['packet']}"


def _verdict(row: dict[str, Any]) -> str:
    return "pass (would drop)" if row.get("would_drop") else str(row["verdict"])


def _hurry(result: dict[str, Any]) -> str:
    """Packets came faster or slower than they did: limits per second see that."""
    took, span = max(1, result["took_ms"]), result["capture_ms"]
    times = span / took
    if times >= 1.5:
        how = f"{times:,.0f} times as fast as in the capture" if times >= 10 else f"{times:.1f} times as fast"
        what = "limits and budgets per second trip sooner than they would have"
    elif span and times < 0.67:
        how = f"{1 / times:.1f} times as slowly as in the capture"
        what = "limits and budgets per second trip later than they would have"
    else:
        return f"they were tried in {took} ms, about as fast as in the capture"
    return f"they were tried in {took} ms, {how}: {what}; --pace keeps the capture's own time"


def _left_out(result: dict[str, Any]) -> list[str]:
    lines = []
    if result["sent_by_us"]:
        lines.append(
            f"{plural(result['sent_by_us'], 'packet')} came from this host: the wall learned flows from them"
        )
    if result["filled_up"]:
        lines.append(
            f"{plural(result['filled_up'], 'packet')} had been cut short by the capture: filled up with zeros"
        )
    lines += [f"{plural(number, 'packet')} not tried: {cause}" for cause, number in result["skipped"].items()]
    if result["broken"]:
        lines.append(f"the file is not whole: {result['broken']}")
    return lines


def _listed(listed: dict[str, Any] | None) -> list[str]:
    if listed is None:
        return []
    lines = []
    if listed["allowed_by"]:
        lines.append(f"allowed: the allowlist has {listed['allowed_by']}")
    ban = listed["ban"]
    if ban:
        left = (
            "for ever"
            if ban["remaining_ms"] is None
            else f"for {format_duration_ms(ban['remaining_ms'])} more"
        )
        why = f" ({ban['reason']})" if ban["reason"] else ""
        by = f"by {ban['origin']}, strike {ban['strikes']}"
        lines.append(
            f"banned: {ban['prefix']} {left}, {by}{why}; it dropped {plural(ban['dropped_packets'], 'packet')}"
        )
    return lines or ["on no list: neither banned nor allowed"]


def _lanes(lanes: list[dict[str, Any]]) -> list[str]:
    limited = [row for row in lanes if row["budget_pps"] or row["budget_bps"]]
    if not limited:
        return ["lanes: no budgets"]
    busy = [row for row in limited if row["left_percent"] < 50]
    if not busy:
        return [f"lanes: quiet, each of the {len(limited)} budgets has half or more left"]
    words = (
        f"{row['lane']} {row['left_percent']} % of {count(row['budget_pps'])}/s"
        + (f" ({count(row['dropped_packets'])} dropped so far)" if row.get("dropped_packets") else "")
        for row in busy
    )
    return [f"lanes: little is left of {', '.join(words)}"]


def _metered(meters: dict[str, Any]) -> list[str]:
    lines = []
    for scope in ("source", "prefix"):
        meter = meters[scope]
        if meter is None:
            lines.append(f"{scope} meter: nothing was counted lately")
            continue
        limits = ", ".join(
            f"{name} {bits(limit) if name == 'bps' else count(limit) + '/s'}"
            + (f" ({meter['left_percent'][name]} % left)" if name in meter["left_percent"] else "")
            for name, limit in meters["limits"][scope].items()
            if limit
        )
        seen = format_duration_ms(max(1, meter["last_seen_ms"]))
        lines.append(
            f"{scope} meter {meter['prefix']}: {plural(meter['packets'], 'packet')} ({size(meter['bytes'])}),"
            f" {count(meter['syn'])} SYN, {count(meter['udp'])} UDP, {count(meter['icmp'])} ICMP,"
            f" {count(meter['drops'])} dropped, last {seen} ago"
        )
        lines.append(f"  limits: {limits or 'none'}")
    return lines
