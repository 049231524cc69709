# SPDX-License-Identifier: Apache-2.0
"""The chart is well-formed whatever the names hold, and every row is in it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from xdpwall.bench import chart, machine


def row(name: str, ns: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "job": name, "family": 4, "title": name, "median_ns": ns, "q1_ns": ns - 5, "q3_ns": ns + 5,
        "pps": round(1e9 / ns), "ratio": ns / 80, **more,
    }  # fmt: skip


def test_chart() -> None:
    result = {
        "machine": {
            "cpu_model": 'A<B> & "C"',
            "cores": 2,
            "kernel": "6.1",
            "xdp_mode": "native",
            "link": "veth",
        },
        "rounds": 7,
        "rows": [row("bare", 80.0), row("flood", 150.0, ratio_bar=2.0), row("bare", 80.0, family=6)],
        "peers": [row("<peer>", 600.0, peer="nftables")],
    }
    drawn = chart.draw(result)
    tree = ElementTree.fromstring(drawn)
    texts = ["".join(element.itertext()) for element in tree.iter() if element.tag.endswith("text")]
    assert {"bare", "flood", "<peer>", "bare, IPv6"} <= set(texts)
    assert any('A<B> & "C"' in text for text in texts)
    rects = [element for element in tree.iter() if element.tag.endswith("rect") and "rx" in element.attrib]
    widths = [float(rect.attrib["width"]) for rect in rects]
    assert len(widths) == 4
    assert abs(widths[1] / widths[0] - 150 / 80) < 0.01
    assert "prefers-color-scheme: dark" in drawn


def test_chart_of_nothing() -> None:
    """Only the control side was measured."""
    facts = {"cpu_model": "x", "cores": 1, "kernel": "6", "xdp_mode": "native", "link": "veth"}
    ElementTree.fromstring(chart.draw({"machine": facts, "rounds": 1}))


def test_machine() -> None:
    text = "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: other\n"
    found = machine.describe(text)
    assert (found["cpu_model"], found["virtual"]) == ("A CPU", True)
    assert machine.describe("processor\t: 0\nCPU implementer\t: 0x41\n")["cpu_model"] == "0x41"
    assert machine.describe("")["cpu_model"] == "unknown"
    assert machine.steal_ticks("cpu  10 0 20 60 5 1 1 3 0 0\ncpu0 1\n") == (3, 100)
