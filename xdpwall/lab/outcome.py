# SPDX-License-Identifier: Apache-2.0
"""Makes the result object of a run out of what was measured, and holds it against the marks. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from xdpwall.lab import aftermath, users
from xdpwall.lab.scenario import Marks
from xdpwall.lab.stage import Figures

_DISAGREE = 0.001
"""The wall counts users' packets, too: their connection requests that it answered or dropped. No user has more than one
at a time, so of a small attack the number of requests is the bound, of a large one this share."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who attacked.

    Args:
        classes: name and number of sources of each class, in the order of the marks.
        sources: how many in all.
        countries: ``[{"code", "share"}]`` by packets, as sent.
        kinds: columns of the tallies after packets and bytes.
        rows: what a class is: one of the scenario's, or a kind of packet, whose name then is its protocol as well.
    """

    classes: tuple[tuple[str, int], ...]
    sources: int
    countries: list[dict[str, object]]
    kinds: tuple[str, ...] = ("udp", "syn", "ack")
    rows: Literal["classes", "kinds"] = "classes"


def result(name: str, figures: Figures, cast: Cast, marks: Marks) -> dict[str, Any]:
    """The JSON object. ``docs/guide/lab.md`` says what each key means."""
    report = figures.report
    leaked = figures.passed.marked
    dropped = max(0, report.sent - leaked)
    wall = sum(figures.wall_dropped.values())
    legit = users.figures(figures.visits, figures.began_ns, figures.attack_ns, figures.ended_ns)
    found: dict[str, Any] = {
        "schema": 1,
        "scenario": name,
        "mode": figures.mode,
        "policy": figures.policy,
        "duration_ms": (figures.ended_ns - figures.attack_ns) // 1_000_000,
        "attack": {
            "sent": report.sent,
            "dropped": dropped,
            "leaked": leaked,
            "recall": _share(dropped, report.sent),
            "sources": _joined(cast.sources, figures),
            "peak_pps": peak_pps(figures),
            "mean_pps": _mean_pps(figures),
            "lost_on_the_way": report.lost,
            "classes": _classes(figures, cast),
            "protocols": _protocols(figures, cast),
            "countries": cast.countries,
        },
        "legit": legit,
        "latency_ms": {
            "first_packet_to_first_drop": _since_first(figures, figures.first_drop_ns),
            "first_packet_to_incident": _since_first(
                figures, figures.aftermath.opened_ns if figures.aftermath else None
            ),
        },
        "incident": aftermath.brief(figures.aftermath),
        "bans": figures.bans,
        "wall": {
            "dropped": wall,
            "dropped_before": figures.wall_dropped_before,
            "by_reason": figures.wall_dropped,
            "agrees": abs(wall - dropped) <= max(_DISAGREE * report.sent, legit["attempted"]),
        },
        "behind": {
            "leaked": leaked,
            "unmarked": figures.passed.of(-1),
            "stack_received": figures.stack_received,
        },
        "controller": {
            "cpu_ms": figures.controller_cpu_ms,
            "rss_kb": figures.controller_rss_kb,
            "alive": figures.controller_alive,
        },
        "cpu_busy": figures.cpu_busy,
    }
    found["marks"] = judge(found, marks)
    found["passed"] = all(mark["ok"] for mark in found["marks"])
    return found


def judge(found: dict[str, Any], marks: Marks) -> list[dict[str, Any]]:
    """Each mark with what was wanted, what was got, and whether it was met."""
    attack, legit = found["attack"], found["legit"]
    rows: list[dict[str, Any]] = []

    def row(name: str, wanted: str, got: object, ok: bool) -> None:
        rows.append({"name": name, "wanted": wanted, "got": got, "ok": ok})

    if marks.sent_at_least is not None:
        wanted = marks.sent_at_least
        row("packets sent", f">= {wanted:,}", attack["sent"], attack["sent"] >= wanted)
    for name, wanted_recall in marks.recall.items():
        got = attack["recall"] if name == "all" else attack["classes"].get(name, {}).get("recall")
        row(f"recall, {name}", f">= {wanted_recall:g}", got, got is not None and got >= wanted_recall)
    if marks.dropped_at_most is not None:
        got = found["wall"]["dropped"] + found["wall"]["dropped_before"]
        row("packets dropped", f"<= {marks.dropped_at_most}", got, got <= marks.dropped_at_most)
    rate = _share(legit["succeeded"], legit["attempted"])
    row(
        "requests served",
        f">= {marks.legit_at_least:g}",
        rate,
        rate is not None and rate >= marks.legit_at_least,
    )
    fresh = legit["by_kind"].get("newcomer")
    if fresh:
        rate = _share(fresh["succeeded"], fresh["attempted"])
        wanted_rate = marks.legit_at_least
        row("newcomers served", f">= {wanted_rate:g}", rate, rate is not None and rate >= wanted_rate)
    stream = legit["by_kind"].get("stream")
    if stream:
        lost = stream["attempted"] - stream["succeeded"]
        row("lost on open connections", "0", lost, lost == 0)
    if marks.first_drop_ms is not None:
        got = found["latency_ms"]["first_packet_to_first_drop"]
        row(
            "first drop, ms",
            f"<= {marks.first_drop_ms:g}",
            got,
            got is not None and got <= marks.first_drop_ms,
        )
    if marks.native:
        row("XDP mode", "native", found["mode"], found["mode"] == "native")
    if found["policy"] == "enforce":
        row("the wall's count agrees", "within 0.1 %", found["wall"]["dropped"], found["wall"]["agrees"])
    row(
        "the controller stayed up",
        "yes",
        "yes" if found["controller"]["alive"] else "no",
        found["controller"]["alive"],
    )
    return rows


def peak_pps(figures: Figures) -> int:
    """Most packets in any second, from reports a tenth of a second apart."""
    reports = figures.reports
    best = 0
    start = 0
    for end, report in enumerate(reports):
        while report.ns - reports[start].ns > 1_050_000_000:
            start += 1
        span = report.ns - reports[start].ns
        if end > start and span > 900_000_000:
            best = max(best, (report.sent - reports[start].sent) * 1_000_000_000 // span)
    return best or _mean_pps(figures)


def _mean_pps(figures: Figures) -> int:
    report = figures.report
    span = report.ns - report.first_ns
    return report.sent * 1_000_000_000 // span if report.first_ns and span > 0 else 0


def _share(part: int, whole: int) -> float | None:
    """Rounded down, so that a rounded figure never flatters."""
    return None if not whole else part * 1_000_000 // whole / 1_000_000


def _classes(figures: Figures, cast: Cast) -> dict[str, dict[str, Any]]:
    """Figures by class. What was lost on the way is spread over the classes by their packets: nobody knows better."""
    found = {}
    report = figures.report
    for number, (name, sources) in enumerate(cast.classes):
        generated = report.tallies[number][0] if report.tallies else 0
        if cast.rows == "kinds" and not generated:
            continue  # a capture need not have every kind
        sent = generated - (report.lost * generated // report.generated if report.generated else 0)
        leaked = figures.passed.of(number)
        dropped = max(0, sent - leaked)
        found[name] = {
            "sent": sent,
            "dropped": dropped,
            "leaked": leaked,
            "recall": _share(dropped, sent),
            "sources": _joined(sources, figures),
            "leaked_per_source": round(leaked / max(1, _joined(sources, figures)), 1),
        }
    return found


def _protocols(figures: Figures, cast: Cast) -> dict[str, int]:
    """Packets made by protocol: the columns after packets and bytes of ``struct sent``, or the rows of kinds."""
    if cast.rows == "kinds":
        return {name: row[0] for (name, _), row in zip(cast.classes, figures.report.tallies, strict=False)}
    return {name: sum(row[2 + at] for row in figures.report.tallies) for at, name in enumerate(cast.kinds)}


def _since_first(figures: Figures, ns: int | None) -> float | None:
    first = figures.report.first_ns
    return None if ns is None or not first else round(max(0, ns - first) / 1e6, 1)


def _joined(sources: int, figures: Figures) -> int:
    """How many of so many sources ever sent."""
    return round(sources * max((report.joined for report in figures.reports), default=1.0))
