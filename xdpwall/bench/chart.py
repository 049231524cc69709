# SPDX-License-Identifier: Apache-2.0
"""A bar chart of a result, as SVG: light and dark by the reader's own setting, no font or script from elsewhere."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 960, 26, 280, 210, 92
_GAP = 18
_NAMESPACE = "http://www.w3.org/2000/svg"
_LIGHT = {
    "ground": "#ffffff", "ink": "#1c2330", "soft": "#667085", "line": "#d9dee7",
    "wall": "#2f6fde", "base": "#98a2b3", "peer": "#c97b1e", "bar": "#c4320a",
}  # fmt: skip
_DARK = {
    "ground": "#12161d", "ink": "#e6eaf0", "soft": "#98a2b3", "line": "#2b3442",
    "wall": "#6ea2ff", "base": "#667085", "peer": "#e8a552", "bar": "#ff8562",
}  # fmt: skip
_SHAPES = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; }
.title { font-size: 18px; font-weight: 600; }
.soft { font-size: 12px; }
.spread { stroke-width: 1.5; }
.bar { stroke-width: 2; stroke-dasharray: 3 2; }
"""


def _colours(of: dict[str, str]) -> str:
    """Rules without CSS variables: many viewers of SVG do not know these."""
    return (
        f"text {{ fill: {of['ink']}; }} .soft {{ fill: {of['soft']}; }} .ground {{ fill: {of['ground']}; }}\n"
        f".wall {{ fill: {of['wall']}; }} .base {{ fill: {of['base']}; }} .peer {{ fill: {of['peer']}; }}\n"
        f".spread {{ stroke: {of['ink']}; }} .bar {{ stroke: {of['bar']}; }} .axis {{ stroke: {of['line']}; }}\n"
    )


_STYLE = f"{_SHAPES}{_colours(_LIGHT)}@media (prefers-color-scheme: dark) {{\n{_colours(_DARK)}}}\n"


def draw(result: dict[str, Any]) -> str:
    """The chart: nanoseconds a packet by row, quartiles as a thin line, the bar of each row as a dashed one."""
    groups = [
        group
        for group in (
            [row for row in result.get("rows", []) if row["family"] == 4],
            result.get("peers", []),
            [row for row in result.get("rows", []) if row["family"] == 6],
        )
        if group
    ]
    rows = [row for group in groups for row in group]
    bare = {row["family"]: row["median_ns"] for row in rows if row.get("job") == "bare"}
    longest = max([row["q3_ns"] for row in rows] + [_bar_ns(row, bare) or 0 for row in rows] + [1.0])
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + _ROW * len(rows) + _GAP * len(groups) + 34
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Nanoseconds a packet">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
        '<text class="title" x="24" y="36">Nanoseconds a packet, one core</text>',
        f'<text class="soft" x="24" y="58">{escape(_machine(result))}</text>',
        '<text class="soft" x="24" y="76">Bar: median. Thin line: quartiles. Dashed: what is asked for.</text>',
    ]
    parts += _axis(longest, scale, height)
    y = float(_TOP)
    for group in groups:
        y += _GAP
        for row in group:
            parts += _bar(row, y, scale, _bar_ns(row, bare))
            y += _ROW
    return "\n".join([*parts, "</svg>\n"])


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cpu_model']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['xdp_mode']} XDP on"
        f" {machine['link']}, {result['rounds']} rounds"
    )


def _bar_ns(row: dict[str, Any], bare: dict[int, float]) -> float | None:
    bar = row.get("ratio_bar")
    return None if bar is None or row["family"] not in bare else float(bar * bare[row["family"]])


def _axis(longest: float, scale: float, height: int) -> list[str]:
    step = next(s for s in (20, 50, 100, 200, 500, 1000, 10**9) if longest / s <= 8)
    parts = []
    for value in range(0, int(longest) + 1, step):
        x = _LEFT + value * scale
        parts.append(_line("axis", x, x, _TOP, height - 30))
        parts.append(f'<text class="soft" x="{x:.1f}" y="{height - 12}" text-anchor="middle">{value}</text>')
    return parts


def _bar(row: dict[str, Any], y: float, scale: float, bar_ns: float | None) -> list[str]:
    kind = "peer" if "peer" in row else "base" if row["job"] in {"bare", "parse"} else "wall"
    title = row["title"] + (", IPv6" if row["family"] == 6 else "")
    middle = y + _ROW / 2
    words = f"{row['median_ns']:.0f} ns, {row['pps'] / 1e6:.1f} Mpps"
    if "ratio" in row and kind != "base":
        words += f", {row['ratio']:.2f} x bare"
    end = max(row["q3_ns"], row["median_ns"], bar_ns or 0) * scale
    width, low, high = (row[key] * scale for key in ("median_ns", "q1_ns", "q3_ns"))
    parts = [
        f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(title)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{y + 5:.1f}" width="{width:.1f}" height="{_ROW - 10}" rx="2"/>',
        _line("spread", _LEFT + low, _LEFT + high, middle, middle),
        f'<text class="soft" x="{_LEFT + end + 8:.1f}" y="{middle + 4:.1f}">{escape(words)}</text>',
    ]
    if bar_ns is not None:
        x = _LEFT + bar_ns * scale
        parts.append(_line("bar", x, x, y + 2, y + _ROW - 2))
    return parts


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'
