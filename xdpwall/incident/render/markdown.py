# SPDX-License-Identifier: Apache-2.0
"""The report as Markdown, short enough for a chat: lists, no tables, which many chats do not know.

Foreign text stands in code spans, where no mark, mention or link in it means anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdpwall.incident import story
from xdpwall.incident.model import Incident, Share
from xdpwall.incident.render import view
from xdpwall.incident.render.text import (
    clean,
    clock,
    count,
    endpoint,
    moment,
    percent,
    place,
    scaled,
    share,
    span,
)
from xdpwall.incident.saturation import asks

_MOST = 5
_MARKS = frozenset("\\`*_[]<>#|~&")
_JOINER = "\u2060"


def render(incident: Incident) -> str:
    """The text."""
    return "\n".join(_lines(incident)).rstrip() + "\n"


def plain(words: object, limit: int = 600) -> str:
    """Text with every mark of Markdown made harmless, for sentences."""
    escaped = "".join(f"\\{char}" if char in _MARKS else char for char in clean(words, limit))
    if escaped[:1] in {"-", "+"}:
        escaped = f"\\{escaped}"
    # An invisible joiner keeps chats from making mentions and links of what is no such thing.
    return escaped.replace("@", f"@{_JOINER}").replace("://", f":{_JOINER}//")


def code(words: object, limit: int = 120) -> str:
    """Text as a code span."""
    inner = clean(words, limit).replace("`", "'")
    return f"`{inner or '-'}`"


def _lines(incident: Incident) -> Iterator[str]:
    state = "over" if incident.state == "closed" else "going on"
    yield f"**Incident {plain(incident.key, 60)}** ({state})"
    yield ""
    yield plain(story.headline(incident))
    yield ""
    yield f"- from {moment(story.began_ms(incident))}"
    if incident.ended_ms:
        yield f"- until {moment(incident.ended_ms)} ({span(story.lasted_ms(incident))})"
    for sentence in story.sentences(incident):
        yield f"- {plain(sentence)}"
    yield from _upstream(incident)
    yield from _vectors(incident)
    yield from _origins(incident)
    yield from _steps(incident)
    yield from _users(incident)
    yield from _diversion(incident)


def _upstream(incident: Incident) -> Iterator[str]:
    found = asks(incident)
    if found:
        yield from ("", "**Saturated upstream: what to ask your provider for**", "")
    for ask in found:
        yield f"- {plain(ask.name, 40)}: {plain(ask.text, 900)}"


def _vectors(incident: Incident) -> Iterator[str]:
    if incident.vectors:
        yield from ("", "**What came**", "")
    for vector in story.main_vectors(incident)[:_MOST]:
        about = "about " if vector.estimated else ""
        yield (
            f"- {plain(vector.name, 60)}: {about}{count(vector.packets)} packets "
            f"({share(vector.packets, incident.totals.packets)}), peak {scaled(vector.peak_pps, 'pps')}"
        )
    for target in incident.targets[:_MOST]:
        yield f"- aimed at {code(endpoint(target.address, target.port, target.protocol))}"
    yield from _more(len(incident.targets))


def _origins(incident: Incident) -> Iterator[str]:
    origin = incident.origin
    if not origin.by_country:
        return
    yield from ("", "**Where it came from**", "")
    for title, entries in (("countries", origin.by_country), ("networks", origin.by_as)):
        if entries:
            yield f"- {title}: " + ", ".join(_share(entry) for entry in entries[:_MOST])
    if origin.note:
        yield f"- {plain(origin.note, 900)}"
    if origin.database is not None:
        base = origin.database
        credit = f", data by {plain(base.attribution, 400)}" if base.attribution else ""
        yield f"- database of {plain(base.date, 40)}, licence {plain(base.licence, 120)}{credit}"


def _share(entry: Share) -> str:
    return f"{plain(entry.name or entry.code, 60)} {percent(entry.share_packets)}"


def _steps(incident: Incident) -> Iterator[str]:
    steps = view.steps(incident)
    if steps:
        yield from ("", "**How fast the wall was**", "")
    for step in steps:
        yield f"- {step.at} {step.what}{f' ({step.after})' if step.after else ''}"


def _users(incident: Incident) -> Iterator[str]:
    if incident.users.probes:
        yield from ("", "**Probes of own services**", "")
    for probe in incident.users.probes[:_MOST]:
        yield (
            f"- {code(probe.name, 60)}: {probe.during_ok} of {probe.during_tries} answered during it, "
            f"{probe.before_ok} of {probe.before_tries} before"
        )
    yield from _more(len(incident.users.probes))


def _diversion(incident: Incident) -> Iterator[str]:
    if incident.diversion:
        yield from ("", "**What else went on meanwhile**", "")
    for found in incident.diversion[:_MOST]:
        where = place(found.country, found.asn, found.as_name)
        ports = f", ports {view.ports(found.ports)}" if found.ports else ""
        yield (
            f"- {clock(found.at_ms)} to {clock(found.until_ms)}: {plain(view.kind_words(found.kind), 60)} from "
            f"{code(found.source, 60)}{f' ({plain(where)})' if where else ''}, {story.how_often(found)}{ports}"
        )
    yield from _more(len(incident.diversion))


def _more(total: int) -> Iterator[str]:
    if total > _MOST:
        yield f"- and {count(total - _MOST)} more"
