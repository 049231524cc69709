# SPDX-License-Identifier: Apache-2.0
"""How a simulation's answer looks: two columns side by side for people, the same as an object for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdpwall.interface.cli.output import Column, note, say, table
from xdpwall.interface.cli.units import count, plural
from xdpwall.model import format_duration_ms

if TYPE_CHECKING:
    from xdpwall.control.simulate import Hit, Outcome
    from xdpwall.control.simulate_ask import OnRecord
    from xdpwall.control.simulate_lanes import LaneOutcome, Measured


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown.

    Args:
        asked: from when to when, Unix ms.
        record: what there is.
        names: of the configurations: the one in force, and perhaps another.
        outcomes: of each. ``lanes``: likewise.
        measured: by lane, what the program really counted.
        notes: what people should know beside.
        top: rows of each list.
    """

    asked: tuple[int, int]
    record: OnRecord
    names: tuple[str, ...]
    outcomes: list[Outcome]
    lanes: list[dict[str, LaneOutcome]]
    measured: dict[str, Measured]
    notes: list[str]
    top: int


def as_object(answer: Answer) -> dict[str, Any]:
    """For programs."""
    record = answer.record
    return {
        "since_ms": answer.asked[0],
        "until_ms": answer.asked[1],
        "record": {
            "from_ms": record.whole[0],
            "to_ms": record.whole[1],
            "seen_ms": record.seen_ms,
            "minutes_near_a_limit": len(record.packed),
            "real_bans": record.real_bans,
            "unreadable": record.unreadable,
        },
        "runs": [
            {"name": name, **_run_object(outcome, lanes, answer.top)}
            for name, outcome, lanes in zip(answer.names, answer.outcomes, answer.lanes, strict=True)
        ],
        "lanes_measured": {
            label: {"over_packets": round(lane.over), "dropped_packets": round(lane.dropped)}
            for label, lane in sorted(answer.measured.items())
        },
        "notes": answer.notes,
        "estimate": True,
    }


def _run_object(outcome: Outcome, lanes: dict[str, LaneOutcome], top: int) -> dict[str, Any]:
    return {
        "sources_over": len(outcome.over),
        "sources_banned": len(outcome.banned),
        "source_bans": outcome.bans[0],
        "prefix_bans": outcome.bans[1],
        "prefixes_over": sum(hit.over_ms is not None for hit in outcome.prefixes.values()),
        "first_ban_ms": outcome.first_ms,
        "held_back": outcome.held_back,
        "good_sources_hit": len(outcome.good),
        "good_sources_banned": sum(hit.banned_ms is not None for hit in outcome.good),
        "dropped_packets": round(outcome.dropped),
        "dropped_packets_good": round(outcome.dropped_good),
        "not_on_record": outcome.left_out,
        "good": [_hit_object(hit) for hit in outcome.good[:top]],
        "over": [_hit_object(hit) for hit in outcome.over[:top]],
        "prefixes": [_hit_object(hit) for hit in _prefixes(outcome)[:top]],
        "lanes": {
            label: {
                "seconds_over": lane.seconds,
                "over_packets_least": round(lane.least),
                "over_packets_most": round(lane.most),
                "first_ms": lane.first_ms,
            }
            for label, lane in sorted(lanes.items())
        },
    }


def _hit_object(hit: Hit) -> dict[str, Any]:
    return {
        "prefix": str(hit.prefix),
        "over_ms": hit.over_ms,
        "banned_ms": hit.banned_ms,
        "why": hit.why,
        "good": hit.good,
        "sent_packets": round(hit.sent),
        "dropped_packets": round(hit.dropped),
    }


def _prefixes(outcome: Outcome) -> list[Hit]:
    return sorted(outcome.prefixes.values(), key=lambda hit: hit.banned_ms or hit.over_ms or 0)


def show(answer: Answer) -> None:
    """For people."""
    _head(answer)
    rows: list[tuple[str, Callable[[Outcome], str]]] = [
        ("sources over a limit", lambda run: _at_least(len(run.over), run)),
        ("  of them good", lambda run: count(sum(hit.over_ms is not None for hit in run.good))),
        ("sources banned", lambda run: _at_least(len(run.banned), run)),
        ("  of them good", lambda run: count(sum(hit.banned_ms is not None for hit in run.good))),
        ("prefixes banned", lambda run: count(run.bans[1])),
        ("first ban", lambda run: _moment(run.first_ms)),
        ("not banned: protected or known", lambda run: count(run.held_back)),
        ("packets dropped (estimate)", lambda run: count(round(run.dropped))),
        ("  of good sources", lambda run: count(round(run.dropped_good))),
    ]
    table(
        (
            Column(""),
            *(Column(name.upper() if name == "in force" else name, right=True) for name in answer.names),
        ),
        [[label, *(cell(run) for run in answer.outcomes)] for label, cell in rows],
    )
    say(f"\nreally banned in that time: {count(answer.record.real_bans)}, with the settings of then")
    _show_lanes(answer)
    last = answer.outcomes[-1]
    _list("GOOD SOURCES HIT", "they had completed a handshake", last.good, answer.top)
    _list("SOURCES OVER A LIMIT", "the first one first", last.over, answer.top)
    _list("PREFIXES", "over a limit, or many sources of them banned", _prefixes(last), answer.top)
    for line in answer.notes:
        note(f"note: {line}")
    if any(run.left_out for run in answer.outcomes):
        most = max(run.left_out for run in answer.outcomes)
        note(f"note: in the fullest minute {plural(most, 'source')} near a limit did not fit the record")


def _head(answer: Answer) -> None:
    from xdpwall.control.simulate_ask import at

    record = answer.record
    seen = format_duration_ms(max(1000, record.seen_ms // 1000 * 1000))
    asked = format_duration_ms(max(1000, (answer.asked[1] - answer.asked[0]) // 1000 * 1000))
    say(f"record: {at(record.spans[0][0])} to {at(record.spans[-1][1])}, {seen} of the {asked} asked for")
    if record.spans[0][0] > answer.asked[0] + 60_000:
        note(f"note: there is no record before {at(record.whole[0])}")
    say(f"{plural(len(record.packed), 'minute')} in which a source or lane came near a limit\n")


def _show_lanes(answer: Answer) -> None:
    labels = sorted({label for run in answer.lanes for label, lane in run.items() if lane.most})
    labels += [label for label, lane in sorted(answer.measured.items()) if lane.over and label not in labels]
    if not labels:
        return
    say(
        "\nLANES: packets beyond the budget, that need proof or a cookie (spread over many ports - all to one port)"
    )
    columns = [Column("LANE", style="bold"), Column("MEASURED", right=True), Column("DROPPED", right=True)]
    for name in answer.names:
        columns += [
            Column(name.upper() if name == "in force" else name, right=True),
            Column("SECONDS", right=True),
        ]
    rows = []
    for label in labels:
        real = answer.measured.get(label)
        row = [label, count(round(real.over)) if real else "0", count(round(real.dropped)) if real else "0"]
        for run in answer.lanes:
            lane = run.get(label)
            row += (
                [f"{count(round(lane.least))} - {count(round(lane.most))}", count(lane.seconds)]
                if lane
                else ["", ""]
            )
        rows.append(row)
    table(columns, rows)


def _list(title: str, what: str, hits: list[Hit], top: int) -> None:
    if not hits:
        return
    say(f"\n{title} ({what})" + (f", {top} of {count(len(hits))}" if len(hits) > top else ""))
    table(
        (
            Column("SOURCE", style="bold"),
            Column("FIRST OVER"),
            Column("BANNED"),
            Column("SENT", right=True),
            Column("DROPPED", right=True),
            Column("WHY"),
        ),
        [
            [
                str(hit.prefix) + (" (good)" if hit.good else ""),
                _moment(hit.over_ms),
                _moment(hit.banned_ms),
                count(round(hit.sent)),
                count(round(hit.dropped)),
                hit.why or "over a limit for less than its burst",
            ]
            for hit in hits[:top]
        ],
    )


def _moment(wall_ms: int | None) -> str:
    from xdpwall.control.simulate_ask import at

    return "" if wall_ms is None else at(wall_ms).removesuffix(" UTC")


def _at_least(number: int, run: Outcome) -> str:
    return f"{count(number)} or more" if run.left_out else count(number)
