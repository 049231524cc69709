# SPDX-License-Identifier: Apache-2.0
"""The bench's result for people: each figure beside its bar."""

from __future__ import annotations

from typing import Any

from xdpwall.interface.cli.output import Column, say, table
from xdpwall.interface.cli.units import scaled

_MET = {True: "met", False: "MISSED", None: ""}
_STYLE = {True: "", False: "red", None: ""}


def show(result: dict[str, Any]) -> None:
    """Draw everything."""
    _machine(result)
    _rows(result["rows"])
    say("")
    missed = result["missed"]
    say("every bar is met" if not missed else f"{len(missed)} missed:")
    for line in missed:
        say(f"  {line}")


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


def _rows(rows: list[dict[str, Any]]) -> None:
    columns = (
        Column("DATA PATH", style="bold"),
        Column("NS", right=True),
        Column("LEAST", right=True),
        Column("SPREAD", right=True),
        Column("RATE", right=True),
        Column("X BARE", right=True),
        Column("BAR", right=True),
        Column(""),
        Column("X IPV4", right=True),
        Column("TEST RUN", right=True),
    )
    lines, styles = [], []
    for row in rows:
        met = row["ratio_met"]
        if row.get("ratio_to_v4_met") is False:
            met = False
        lines.append(
            [
                f"{row['title']}, IPv6" if row["family"] == 6 else row["title"],
                f"{row['median_ns']:.0f}",
                f"{row['least_ns']:.0f}",
                f"{row['q1_ns']:.0f}-{row['q3_ns']:.0f}",
                scaled(row["pps"], "pps"),
                f"{row['ratio']:.2f}",
                "" if row["ratio_bar"] is None else f"{row['ratio_bar']:g}",
                _MET[row["ratio_met"]],
                f"{row['ratio_to_v4']:.2f}" if "ratio_to_v4" in row else "",
                f"{row['added_ns']:+.0f} ns",
            ]
        )
        styles.append(_STYLE[met])
    table(columns, lines, styles)
