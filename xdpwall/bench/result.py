# SPDX-License-Identifier: Apache-2.0
"""The bench's result, as the object that ``-o json`` prints. ``docs/guide/bench.md`` names every key. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdpwall.bench import bars
from xdpwall.bench.figures import Spread, differences, ratios
from xdpwall.bench.live import Series
from xdpwall.bench.rows import BARE, Row

Result = dict[str, Any]

_WIDE = 0.15
"""Distance of the quartiles, as a share of the median, beyond which a ratio had better be measured again."""


def row_objects(rows: Sequence[Row], measured: Mapping[str, Series]) -> list[Result]:
    """One object for each row, in the order given. The family's bare row must be among the measured."""
    return [_row(row, measured) for row in rows]


def _row(row: Row, measured: Mapping[str, Series]) -> Result:
    one, base = measured[row.name], measured[BARE[row.family]]
    found: Result = {"name": row.name, "job": row.job, "family": row.family, "title": row.title}
    found |= live_figures(one)
    found |= _ratio("ratio", ratios(one.ns, base.ns), bars.RATIO_TO_BARE.get(row.job))
    added = Spread.of(differences(one.dry_ns, base.dry_ns))
    found |= {"added_ns": added.median, "added_q1_ns": added.low, "added_q3_ns": added.high}
    other = measured.get(row.job)
    if row.family == 6 and other is not None:
        found |= _ratio("ratio_to_v4", ratios(one.ns, other.ns), bars.RATIO_V6_TO_V4)
    return found


def live_figures(one: Series) -> Result:
    """Nanoseconds and counts of a series of live frames."""
    ns = Spread.of(one.ns)
    return {
        "median_ns": _round(ns.median),
        "least_ns": _round(ns.least),
        "q1_ns": _round(ns.low),
        "q3_ns": _round(ns.high),
        "pps": round(1e9 / ns.median),
        "received_packets": one.received,
        "lost_packets": one.lost,
        "in_kind": _round(min(one.in_kind), 6),
    }


def peer_ratios(name: str, measured: Mapping[str, Series]) -> Result:
    """A peer's row beside our row of the same job, and beside bare XDP_DROP; empty where those were not measured."""
    found: Result = {}
    base = measured.get(BARE[4])
    if base is not None:
        found |= _ratio("ratio", ratios(measured[name].ns, base.ns), None)
    ours, bar = bars.RATIO_TO_PEER[name]
    if ours in measured:
        found["ours"] = ours
        found |= _ratio("ours_to_peer", ratios(measured[ours].ns, measured[name].ns), bar)
    return found


def figure(name: str, title: str, value: float, unit: str, spread: Spread | None = None) -> Result:
    """One figure of the control side; ``name`` finds its bar and ends with the unit."""
    bar = bars.CONTROL.get(name)
    found: Result = {"name": name, "title": title, "value": (shown := _round(value, 3)), "unit": unit}
    if spread is not None:
        found |= {"least": _round(spread.least, 3), "q1": _round(spread.low, 3), "q3": _round(spread.high, 3)}
    return found | {"bar": bar, "met": bars.met(shown, bar)}


def wide(result: Result) -> list[str]:
    """Names of rows whose ratios differ so much from round to round that they say little."""
    rows = [*result.get("rows", []), *result.get("peers", [])]
    return [row["name"] for row in rows if "ratio" in row and _too_wide(row)]


def _too_wide(row: Result) -> bool:
    return bool(row["ratio_q3"] - row["ratio_q1"] > _WIDE * row["ratio"])


def missed(result: Result) -> list[str]:
    """Names of everything that misses a bar, with the figure."""
    found = []
    for row in result.get("rows", []):
        found += [
            f"{row['name']}: {key} {row[key]} > {row[key + '_bar']}"
            for key in ("ratio", "ratio_to_v4")
            if row.get(f"{key}_met") is False
        ]
    found += [
        f"{row['name']}: ours_to_peer {row['ours_to_peer']} > {row['ours_to_peer_bar']}"
        for row in result.get("peers", [])
        if row.get("ours_to_peer_met") is False
    ]
    found += [
        f"{row['name']}: {row['value']} {row['unit']} > {row['bar']}"
        for row in result.get("control", [])
        if row["met"] is False
    ]
    for name in ("accuracy", "accuracy_v6"):
        accuracy = result.get(name, {})
        found += [
            f"{name}: {key} {accuracy[key + '_percent']} % > {accuracy[key + '_bar_percent']} %"
            for key in ("median", "worst")
            if accuracy.get(f"{key}_met") is False
        ]
    return found


def _ratio(key: str, values: Sequence[float], bar: float | None) -> Result:
    spread = Spread.of(values)
    shown = _round(spread.median, 3)
    return {
        key: shown,
        f"{key}_q1": _round(spread.low, 3),
        f"{key}_q3": _round(spread.high, 3),
        f"{key}_bar": bar,
        f"{key}_met": bars.met(shown, bar),
    }


def _round(value: float, digits: int = 1) -> float:
    return round(value, digits)
