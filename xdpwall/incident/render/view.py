# SPDX-License-Identifier: Apache-2.0
"""What the page shows, worked out of the record: tiles, steps, marks of the picture, shares with their remainder."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.incident import story
from xdpwall.incident.model import Action, Incident, Share
from xdpwall.incident.render import text
from xdpwall.incident.render.svg import ALL, MOST_MARKS, Mark
from xdpwall.reasons import MEANINGS

MOST_SHARES = 12
MOST_ROWS = 20
_MOST_OF_KIND = 3
_ALWAYS = frozenset({"opened", "closed", "reopened"})
_MEANING = {reason.label: meaning for reason, meaning in MEANINGS.items()}
_LANE_NAMES = {
    "syn": "TCP connection requests (SYN)",
    "tcp": "other TCP",
    "udp": "UDP",
    "icmp": "ICMP",
    "fragment": "fragments",
    "other": "other protocols",
    ALL: "all traffic",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure at the top of the page. ``tone``: ``good``, ``bad`` or nothing."""

    value: str
    label: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the latency ledger. ``after``: since the first packet, in words."""

    what: str
    at: str
    after: str


@dataclass(frozen=True, slots=True)
class Line:
    """One share with its bar: parts are fractions of the widest, with a class each."""

    name: str
    code: str
    packets: str
    sources: str
    share: str
    believed: str
    parts: tuple[tuple[float, str], ...]


def tiles(incident: Incident) -> list[Tile]:
    """The figures that are asked for first."""
    totals = incident.totals
    stopped = text.share(totals.dropped_packets, totals.packets)
    observe = incident.policy == "observe"
    found = [
        Tile(text.rough(totals.packets), "packets came", text.scaled(totals.bytes, "B")),
        Tile(
            stopped,
            "would have been stopped" if observe else "stopped by the wall",
            f"{text.count(totals.passed_packets)} {'would have ' if observe else ''}passed",
            "good" if totals.dropped_packets and not observe else "",
        ),
        Tile(
            text.rough(incident.peak_pps),
            "packets a second, peak",
            text.scaled(incident.peak_bps, "bit/s")
            + (f", {text.clock(incident.peak_at_ms)}" if incident.peak_at_ms else ""),
        ),
        Tile(
            text.span(story.lasted_ms(incident)),
            "long" if incident.state == "closed" else "so far",
            f"{text.plural(len(incident.bursts), 'pulse')}" if len(incident.bursts) > 1 else "",
        ),
    ]
    if incident.sources.seen:
        bans = incident.bans.exact + incident.bans.prefix
        least = "≥ " if incident.sources.estimated else ""
        found.append(
            Tile(least + text.count(incident.sources.seen), "sources", f"{text.plural(bans, 'ban')} written")
        )
    answered = story.probes_all_answered(incident)
    if answered is not None:
        tries = sum(probe.during_tries for probe in incident.users.probes)
        good = sum(probe.during_ok for probe in incident.users.probes)
        found.append(
            Tile(
                f"{text.count(good)} of {text.count(tries)}",
                "own probes answered",
                "of our services, during it",
                "good" if answered else "bad",
            )
        )
    return found


def steps(incident: Incident) -> list[Step]:
    """The latency ledger in the order of time; what has not happened is left out."""
    ledger = incident.ledger
    named = [
        ("first packet seen", ledger.first_packet_ms),
        ("a threshold was crossed", ledger.threshold_ms),
        ("first packet dropped in the kernel", ledger.first_drop_ms),
        ("first ban written", ledger.ban_ms),
        ("incident opened", ledger.incident_ms),
    ]
    known = sorted(((at, what) for what, at in named if at is not None), key=lambda pair: pair[0])
    first = ledger.first_packet_ms
    return [
        Step(what, text.clock_ms(at), "" if first is None or at == first else f"{at - first:+,.0f} ms")
        for at, what in known
    ]


def marks(incident: Incident) -> list[Mark]:
    """What is marked in the picture: thresholds and actions by time, numbered.

    No more than a few of each kind, so that two hundred bans do not hide the end; the list below says how many more.
    """
    found = [
        (
            crossing.at_ms,
            "threshold",
            crossing_words(crossing.what, crossing.value, crossing.limit, crossing.unit),
            f"threshold {crossing.what}",
        )
        for crossing in incident.thresholds
    ]
    found += [(action.at_ms, "action", _action_words(action), action.what) for action in incident.actions]
    found.sort(key=lambda entry: entry[0])
    of_kind: dict[str, int] = {}
    shown = []
    for at_ms, kind, words, what in found:
        of_kind[what] = of_kind.get(what, 0) + 1
        if what in _ALWAYS or of_kind[what] <= _MOST_OF_KIND:
            shown.append((at_ms, kind, words))
    if len(shown) > MOST_MARKS:  # the beginning and the end
        shown = [*shown[: MOST_MARKS // 2], *shown[-MOST_MARKS // 2 :]]
    return [Mark(number, *entry) for number, entry in enumerate(shown, 1)]


def marks_left_out(incident: Incident) -> int:
    """How many thresholds and actions are not marked."""
    return len(incident.thresholds) + len(incident.actions) - len(marks(incident))


def _action_words(action: Action) -> str:
    return f"{text.clean(action.what, 40)}: {text.clean(action.detail, 160)}".removesuffix(": ")


def crossing_words(what: str, value: float, limit: float, unit: str) -> str:
    """``syn lane: 18.4 kpps over its threshold of 2.00 kpps``."""
    if unit not in {"pps", "bps"}:
        return f"{text.clean(what, 60)}: {text.count(value)} over the threshold of {text.count(limit)}"
    name = "bit/s" if unit == "bps" else unit
    return (
        f"{text.clean(what, 60)}: {text.scaled(value, name)} over the threshold of {text.scaled(limit, name)}"
    )


def shares(entries: tuple[Share, ...]) -> list[Line]:
    """The biggest shares and the rest as one line, each with a bar: dark where a handshake proves the source."""
    shown = [entry for entry in entries if entry.packets or entry.sources][:MOST_SHARES]
    widest = max((entry.share_packets for entry in shown), default=0) or 1.0
    lines = [_line(entry, widest) for entry in shown]
    left = 1.0 - sum(entry.share_packets for entry in shown)
    others = len(entries) - len(shown)
    if others > 0 and left > 0.0005:
        rest = entries[MOST_SHARES:]
        lines.append(
            Line(
                name="all others",
                code="",
                packets=text.count(sum(entry.packets for entry in rest)),
                sources=text.count(sum(entry.sources for entry in rest)),
                share=text.percent(left),
                believed=_believed(
                    sum(entry.handshake_packets for entry in rest), sum(entry.packets for entry in rest)
                ),
                parts=(),  # many small ones together: a bar beside single ones would mislead
            )
        )
    return lines


def _line(entry: Share, widest: float) -> Line:
    proven = entry.handshake_packets / entry.packets if entry.packets else 0.0
    length = entry.share_packets / widest
    return Line(
        name=text.clean(entry.name or entry.code, 60),
        code=text.clean(entry.code, 12),
        packets=text.count(entry.packets),
        sources=text.count(entry.sources),
        share=text.percent(entry.share_packets),
        believed=_believed(entry.handshake_packets, entry.packets),
        parts=((length * proven, "bar-proven"), (length * (1 - proven), "bar-spoofable")),
    )


def _believed(proven: int, packets: int) -> str:
    return text.share(proven, packets)


def reasons(incident: Incident) -> list[tuple[str, str, int, str, float]]:
    """Verdicts of the wall: label, ``drop`` or ``pass``, packets, meaning, fraction of all packets; most first."""
    rows = []
    for action, counts in (
        ("drop", incident.totals.dropped_by_reason),
        ("pass", incident.totals.passed_by_reason),
    ):
        for label, packets in counts.items():
            if packets:
                part = packets / max(1, incident.totals.packets)
                rows.append((text.clean(label, 40), action, packets, _MEANING.get(label, ""), part))
    return sorted(rows, key=lambda row: -row[2])


def lane_name(lane: str) -> str:
    """What a lane is called in the picture's legend."""
    return _LANE_NAMES.get(lane, text.clean(lane, 30))


def kind_words(kind: str) -> str:
    """What a diversion is called."""
    return story.KIND_WORDS.get(kind, text.clean(kind, 40))


def ports(numbers: tuple[int, ...]) -> str:
    """``22, 80, 443``, no more than sixteen."""
    shown = ", ".join(str(number) for number in numbers[:16])
    return shown + (" …" if len(numbers) > 16 else "")
