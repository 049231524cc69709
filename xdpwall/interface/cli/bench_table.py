# SPDX-License-Identifier: Apache-2.0
"""The bench's result for people: each figure beside its bar."""

from __future__ import annotations

from typing import Any

from xdpwall.interface.cli.output import Column, say, table
from xdpwall.interface.cli.units import scaled

_MET = {True: "met", False: "MISSED", None: ""}
_STYLE = {True: "", False: "red", None: ""}
_NUMBERS = (
    Column("NS", right=True),
    Column("LEAST", right=True),
    Column("QUARTILES", right=True),
    Column("RATE", right=True),
    Column("X BARE", right=True),
)
_VERDICT = (Column("BAR", right=True), Column(""))


def show(result: dict[str, Any]) -> None:
    """Draw everything."""
    _machine(result)
    if result.get("rows"):
        _rows(result["rows"])
    if result.get("peers"):
        _peers(result["peers"])
    for one in result.get("missing", []):
        say(f"not measured: {one['name']}: {one['reason']} ({one['hint']})")
    if result.get("stages"):
        _stages(result["stages"])
    accuracies = {"": result.get("accuracy"), " (IPv6)": result.get("accuracy_v6")}
    _control(result.get("control", []), {mark: one for mark, one in accuracies.items() if one})
    missed = result["missed"]
    if missed:
        say(f"{len(missed)} missed:")
    elif any(result.get(part) for part in ("rows", "peers", "control", "accuracy")):
        say("every bar is met")
    for line in missed:
        say(f"  {line}")
    if result["wide"]:
        say(f"the rounds lie far apart, measure again when the machine is quiet: {', '.join(result['wide'])}")
    if result["quick"]:
        say("quick run: these figures only show that everything works")


def _machine(result: dict[str, Any]) -> None:
    machine = result["machine"]
    kind = "virtual, " if machine["virtual"] else ""
    say(
        f"{machine['cpu_model']} ({kind}{machine['cores']} cores), Linux {machine['kernel']}, HZ {machine['tick_hz']},"
        f" {machine['xdp_mode']} XDP on {machine['link']}"
    )
    say(
        f"{result['rounds']} rounds of {result['shot_ms']:g} ms; load {machine['load_before']} before,"
        f" {machine['load_after']} after; {machine['steal_percent']} % of the time taken by other guests"
    )
    say("")


def _numbers(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['median_ns']:.0f}",
        f"{row['least_ns']:.0f}",
        f"{row['q1_ns']:.0f}-{row['q3_ns']:.0f}",
        scaled(row["pps"], "pps"),
        f"{row['ratio']:.2f}" if "ratio" in row else "",
    ]


def _bar(row: dict[str, Any], key: str) -> list[str]:
    bar = row.get(f"{key}_bar")
    return ["" if bar is None else f"{bar:g}", _MET[row.get(f"{key}_met")]]


def _rows(rows: list[dict[str, Any]]) -> None:
    columns = (
        Column("DATA PATH", style="bold"),
        *_NUMBERS,
        *_VERDICT,
        Column("X IPV4", right=True),
        *_VERDICT,
        Column("TEST RUN", right=True),
    )
    lines, styles = [], []
    for row in rows:
        six = row["family"] == 6
        lines.append(
            [
                f"{row['title']}, IPv6" if six else row["title"],
                *_numbers(row),
                *_bar(row, "ratio"),
                f"{row['ratio_to_v4']:.2f}" if "ratio_to_v4" in row else "",
                *_bar(row, "ratio_to_v4"),
                f"{row['added_ns']:+.0f} ns",
            ]
        )
        styles.append(_STYLE[False not in (row["ratio_met"], row.get("ratio_to_v4_met"))])
    table(columns, lines, styles)
    say("")


def _peers(rows: list[dict[str, Any]]) -> None:
    columns = (Column("PEER", style="bold"), *_NUMBERS, Column("OURS / PEER", right=True), *_VERDICT)
    lines = [
        [
            row["title"],
            *_numbers(row),
            f"{row['ours_to_peer']:.2f}" if "ours_to_peer" in row else "",
            *_bar(row, "ours_to_peer"),
        ]
        for row in rows
    ]
    table(columns, lines, [_STYLE[row.get("ours_to_peer_met")] for row in rows])
    say("")


def _stages(steps: list[dict[str, Any]]) -> None:
    """A line for each step, a pair of columns for each traffic: what the step adds, and all so far."""
    kinds = list(dict.fromkeys(step["traffic"] for step in steps))
    found = {(step["traffic"], step["name"]): step for step in steps}
    titles = {step["name"]: step["title"] for step in steps}
    columns = [Column("STAGE, BY TEST RUN", style="bold")]
    for kind in kinds:
        columns += [Column(kind.upper(), right=True), Column("SUM", right=True)]
    lines = [
        [title]
        + [
            text
            for kind in kinds
            for text in (_ns(found[kind, name], "step_ns"), _ns(found[kind, name], "added_ns"))
        ]
        for name, title in titles.items()
    ]
    table(columns, lines)
    say("")


def _ns(step: dict[str, Any], key: str) -> str:
    return f"{step[key]:+.0f} ns" if key == "step_ns" else f"{step[key]:.0f} ns"


def _control(figures: list[dict[str, Any]], accuracies: dict[str, dict[str, Any]]) -> None:
    lines, styles = [], []
    for one in figures:
        quartiles = f"{one['q1']:.1f}-{one['q3']:.1f}" if "q1" in one else ""
        bar = "" if one["bar"] is None else f"{one['bar']:g}"
        lines.append([one["title"], f"{one['value']:.1f} {one['unit']}", quartiles, bar, _MET[one["met"]]])
        styles.append(_STYLE[one["met"]])
    for mark, accuracy in accuracies.items():
        for key in ("median", "worst"):
            met = accuracy[f"{key}_met"]
            lines.append(
                [
                    f"{key} error of {accuracy['heavy_sources']:,} heavy sources in a spoofed flood{mark}",
                    f"{accuracy[key + '_percent']:.3f} %",
                    "",
                    f"{accuracy[key + '_bar_percent']:g}",
                    _MET[met],
                ]
            )
            styles.append(_STYLE[met])
    if lines:
        columns = (
            Column("CONTROL", style="bold"),
            Column("", right=True),
            Column("QUARTILES", right=True),
            *_VERDICT,
        )
        table(columns, lines, styles)
        say("")
