# SPDX-License-Identifier: Apache-2.0
"""One incident on one screen."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from xdpwall.incident import story
from xdpwall.incident.model import Incident
from xdpwall.incident.render import view
from xdpwall.incident.render.text import clean, clock, count, moment, percent, place, scaled, share, span
from xdpwall.incident.saturation import asks
from xdpwall.interface.cli.output import draw

_MOST = 6


def draw_incident(incident: Incident) -> None:
    """Draw it for people."""
    style, word = ("bold green", "OVER") if incident.state == "closed" else ("bold white on red", "GOING ON")
    end = f" to {moment(incident.ended_ms)}" if incident.ended_ms else ""
    parts: list[Text | Table | str] = [
        Text.assemble(
            (word, style), f"  incident {clean(incident.key, 60)}  ", (f"number {incident.id}", "dim")
        ),
        Text(story.headline(incident)),
        Text(f"{moment(story.began_ms(incident))}{end}, {span(story.lasted_ms(incident))}", "dim"),
        "",
    ]
    parts += [Text(f"- {sentence}") for sentence in story.sentences(incident)]
    parts += _upstream(incident)
    parts += _vectors(incident)
    parts += _origins(incident)
    parts += _steps(incident)
    parts += _diversion(incident)
    parts += ["", Text(f"a report for others: xdpwall incident export {incident.id} --to FILE.html", "dim")]
    draw(*parts)


def _grid(*titles: str) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        grid.add_column(title.strip(), justify="right" if title.startswith(" ") else "left", overflow="fold")
    return grid


def _upstream(incident: Incident) -> list[Text | Table | str]:
    found = asks(incident)
    if not found:
        return []
    grid = _grid("ASK YOUR PROVIDER", "")
    for ask in found:
        grid.add_row(Text(clean(ask.name, 40), "bold"), Text(clean(ask.text, 900)))
    return ["", grid]


def _vectors(incident: Incident) -> list[Text | Table | str]:
    if not incident.vectors:
        return []
    grid = _grid("WHAT CAME", " PACKETS", " SHARE", " PEAK", " SURE")
    for vector in story.main_vectors(incident)[:_MOST]:
        grid.add_row(
            Text(clean(vector.name, 60)),
            ("~" if vector.estimated else "") + count(vector.packets),
            share(vector.packets, incident.totals.packets),
            scaled(vector.peak_pps, "pps"),
            percent(vector.confidence),
        )
    return ["", grid]


def _origins(incident: Incident) -> list[Text | Table | str]:
    if not incident.origin.by_country:
        return []
    grid = _grid("FROM", " PACKETS", " SHARE", " SOURCES", " PROVEN")
    for line in view.shares(incident.origin.by_country[:_MOST]):
        grid.add_row(Text(line.name), line.packets, line.share, line.sources, line.believed)
    return ["", grid, Text("proven: by a handshake; the other addresses may be forged", "dim")]


def _steps(incident: Incident) -> list[Text | Table | str]:
    steps = view.steps(incident)
    if not steps:
        return []
    grid = _grid("STEP", " TIME", " AFTER THE FIRST PACKET")
    for step in steps:
        grid.add_row(step.what, step.at, step.after)
    return ["", grid]


def _diversion(incident: Incident) -> list[Text | Table | str]:
    if not incident.diversion:
        return []
    grid = _grid("MEANWHILE", "SOURCE", "WHEN", " COUNTED", "WHERE")
    for found in incident.diversion[:_MOST]:
        grid.add_row(
            view.kind_words(found.kind),
            Text(clean(found.source, 60)),
            f"{clock(found.at_ms)} to {clock(found.until_ms)}",
            story.how_often(found),
            Text(place(found.country, found.asn, found.as_name)),
        )
    more = len(incident.diversion) - _MOST
    return ["", grid, *([Text(f"and {count(more)} more", "dim")] if more > 0 else [])]
