# SPDX-License-Identifier: Apache-2.0
"""The pictures of a report, as inline SVG without scripts, fonts or style of their own: colours are the page's classes.

Built as a tree, so that no text can break out of it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xdpwall.incident.model import Incident, Point
from xdpwall.incident.render.text import clean, clock, scaled
from xdpwall.lanes import Lane

LANES = tuple(lane.label for lane in Lane if lane is not Lane.CLOSED)
ALL = "all"
"""The series that stands for all lanes, where a point does not tell them apart."""
MOST_MARKS = 20
DENSE = 150
"""From so many points on a dashed line cannot be made out."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, with its number in the picture. ``kind``: ``threshold`` or ``action``."""

    number: int
    at_ms: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a panel lies in the picture, and what its axes span."""

    left: float
    top: float
    width: float
    height: float
    from_ms: int
    to_ms: int
    most: float

    def x(self, at_ms: float) -> float:
        """Across, of a moment."""
        return self.left + self.width * (at_ms - self.from_ms) / max(1, self.to_ms - self.from_ms)

    def y(self, value: float) -> float:
        """Down, of a value."""
        return self.top + self.height * (1 - value / self.most)


def series(points: Sequence[Point]) -> list[str]:
    """Labels of what is stacked, biggest at the bottom; what is too thin to be seen is left out."""
    sums: dict[str, int] = {}
    for point in points:
        for lane, pps in _parts(point).items():
            sums[lane] = sums.get(lane, 0) + pps
    thin = sum(sums.values()) / 1_000
    return sorted((lane for lane in sums if sums[lane] > thin), key=lambda lane: -sums[lane])


def timeline(incident: Incident, marks: Sequence[Mark], width: int) -> str:
    """The picture of the incident: what came, stacked by lane, with what was dropped; below, what passed.

    Args:
        incident: the record; at least two points.
        marks: thresholds and actions to draw.
        width: of the picture in its own units: 960 for a page, 400 for a phone.
    """
    points = incident.timeline
    narrow = width < 600
    left, right = (44.0, 8.0) if narrow else (64.0, 12.0)
    high, low, gap, top = (170.0, 70.0, 34.0, 34.0) if narrow else (230.0, 84.0, 38.0, 30.0)
    from_ms, to_ms = _bounds(points)
    inner = width - left - right
    seen = Frame(
        left,
        top,
        inner,
        high,
        from_ms,
        to_ms,
        nice(max(max(p.seen_pps, sum(_parts(p).values())) for p in points)),
    )
    passed = Frame(
        left, top + high + gap, inner, low, from_ms, to_ms, nice(max(p.passed_pps for p in points))
    )
    height = passed.top + passed.height + 26
    root = _element(
        None,
        "svg",
        viewBox=f"0 0 {width} {height:.0f}",
        role="img",
        class_="chart " + ("narrow" if narrow else "wide"),
    )
    _element(
        root, "title"
    ).text = "Packets per second over time: what came by kind of traffic, what was dropped, what passed"
    _grid(root, seen, "packets/s that came", 5)
    _stack(root, seen, points)
    dense = " line-dense" if len(points) > DENSE else ""
    _line(root, seen, points, [p.dropped_pps for p in points], f"line-dropped{dense}")
    _grid(root, passed, "packets/s that passed", 2)
    _area(root, passed, points, [0.0] * len(points), [float(p.passed_pps) for p in points], "area-passed")
    _line(root, passed, points, [p.passed_pps for p in points], "line-passed")
    _marks(root, seen, passed, marks)
    _times(root, passed, 4 if narrow else 8)
    return ET.tostring(root, encoding="unicode")


def bar(parts: Iterable[tuple[float, str]], label: str) -> str:
    """A bar that fills its cell: each part a fraction of the whole width, with its class."""
    root = _element(None, "svg", viewBox="0 0 1000 10", preserveAspectRatio="none", class_="bar", role="img")
    root.set("aria-label", clean(label))
    _element(root, "rect", class_="bar-ground", x="0", y="0", width="1000", height="10")
    at = 0.0
    for fraction, name in parts:
        length = 1000 * min(1.0, max(0.0, fraction))
        if length:
            _element(
                root, "rect", class_=name, x=f"{at:.1f}", y="0", width=f"{max(2.0, length):.1f}", height="10"
            )
            at += length
    return ET.tostring(root, encoding="unicode")


def nice(most: float) -> float:
    """The next round number that is not below ``most``; at least 1."""
    step = 1.0
    while True:
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if step * factor >= most:
                return step * factor
        step *= 10


def _bounds(points: Sequence[Point]) -> tuple[int, int]:
    steps = sorted(b.at_ms - a.at_ms for a, b in pairwise(points))
    last_step = steps[len(steps) // 2] if steps else 1_000
    return points[0].at_ms, points[-1].at_ms + max(1, last_step)


def _parts(point: Point) -> dict[str, int]:
    by_lane = {lane: point.by_lane.get(lane, 0) for lane in LANES if point.by_lane.get(lane, 0) > 0}
    return by_lane or ({ALL: point.seen_pps} if point.seen_pps > 0 else {})


def _element(parent: ET.Element | None, name: str, class_: str = "", **attributes: str) -> ET.Element:
    element = ET.Element(name) if parent is None else ET.SubElement(parent, name)
    if class_:
        element.set("class", class_)
    for key, value in attributes.items():
        element.set(key.replace("_", "-"), value)
    return element


def _text(
    parent: ET.Element, x: float, y: float, words: str, class_: str = "", anchor: str = "start"
) -> None:
    _element(parent, "text", class_, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor).text = words


def _grid(root: ET.Element, frame: Frame, title: str, finest: int) -> None:
    lead = int(f"{frame.most:.1e}".replace(".", "")[:2])  # 10, 15, 20, 30, ...
    steps = next(n for n in (5, 4, 3, 2, 1) if (n <= finest and lead % n == 0) or n == 1)
    _text(root, frame.left, frame.top - 10, title, "axis-title")
    for step in range(steps + 1):
        value = frame.most * step / steps
        y = frame.y(value)
        _element(
            root,
            "line",
            "grid",
            x1=f"{frame.left:.1f}",
            x2=f"{frame.left + frame.width:.1f}",
            y1=f"{y:.1f}",
            y2=f"{y:.1f}",
        )
        _text(root, frame.left - 6, y + 4, scaled(value, "").strip(), "axis", "end")


def _corners(frame: Frame, points: Sequence[Point], values: Sequence[float]) -> list[tuple[float, float]]:
    """A stair: each point's value holds until the next point."""
    ends = [point.at_ms for point in points[1:]] + [frame.to_ms]
    corners = []
    for point, end, value in zip(points, ends, values, strict=True):
        corners += [(frame.x(point.at_ms), frame.y(value)), (frame.x(end), frame.y(value))]
    return corners


def _path(corners: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)


def _area(
    root: ET.Element,
    frame: Frame,
    points: Sequence[Point],
    low: Sequence[float],
    high: Sequence[float],
    class_: str,
) -> None:
    outline = _corners(frame, points, high) + _corners(frame, points, low)[::-1]
    _element(root, "path", class_, d=_path(outline) + "Z")


def _line(
    root: ET.Element, frame: Frame, points: Sequence[Point], values: Sequence[float], class_: str
) -> None:
    _element(root, "path", class_, d=_path(_corners(frame, points, values)))


def _stack(root: ET.Element, frame: Frame, points: Sequence[Point]) -> None:
    low = [0.0] * len(points)
    for lane in series(points):
        high = [base + _parts(point).get(lane, 0) for base, point in zip(low, points, strict=True)]
        _area(root, frame, points, low, high, f"area lane-{lane}")
        low = high


def _marks(root: ET.Element, seen: Frame, passed: Frame, marks: Sequence[Mark]) -> None:
    used: list[tuple[float, int]] = []
    for mark in marks:
        if not seen.from_ms <= mark.at_ms <= seen.to_ms:
            continue
        x = seen.x(mark.at_ms)
        # Numbers that would overlap go down a step each.
        row = 0
        while any(other_row == row and abs(other - x) < 17 for other, other_row in used):
            row += 1
        used.append((x, row))
        y = seen.top + 8 + row * 17
        _element(
            root, "line", f"mark mark-{mark.kind}", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{seen.top:.1f}",
            y2=f"{passed.top + passed.height:.1f}",
        )  # fmt: skip
        spot = _element(root, "g", f"spot spot-{mark.kind}")
        _element(spot, "title").text = f"{clock(mark.at_ms)} {clean(mark.text)}"
        _element(spot, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="8")
        _text(spot, x, y + 4, str(mark.number), anchor="middle")


def _times(root: ET.Element, frame: Frame, most: int) -> None:
    length = frame.to_ms - frame.from_ms
    choices = [
        n * 1000 for n in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
    ]
    step = next((choice for choice in choices if length / choice <= most), -(-length // most))
    bottom = frame.top + frame.height
    at = -(-frame.from_ms // step) * step
    while at <= frame.to_ms:
        x = frame.x(at)
        _element(
            root, "line", "tick", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{bottom:.1f}", y2=f"{bottom + 4:.1f}"
        )
        words = clock(at) if step < 60_000 else clock(at)[:5]
        anchor = "start" if x - frame.left < 20 else "end" if frame.left + frame.width - x < 20 else "middle"
        _text(root, x, bottom + 17, words, "axis", anchor)
        at += step
