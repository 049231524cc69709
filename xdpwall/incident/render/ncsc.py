# SPDX-License-Identifier: Apache-2.0
"""The fields that a national cyber security centre asks for, as plain text to copy into its form or mail.

The centres' forms differ; these are the questions that come up in all of them. What the record knows is filled in; what
only people know is left blank and marked, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdpwall import __version__
from xdpwall.incident import story
from xdpwall.incident.model import Incident
from xdpwall.incident.render import view
from xdpwall.incident.render.text import (
    clean,
    clock,
    count,
    endpoint,
    listed,
    moment,
    percent,
    place,
    plural,
    scaled,
    share,
    span,
)
from xdpwall.incident.saturation import asks, sentence

BLANK = "____________________"
"""Stands where people have to write."""
_MOST = 20
_WIDTH = 37


def render(incident: Incident) -> str:
    """The text."""
    return "\n".join(_lines(incident)).rstrip() + "\n"


def _field(name: str, value: str = "") -> str:
    return f"{name + ':':<{_WIDTH}}{value or BLANK}"


def _lines(incident: Incident) -> Iterator[str]:
    yield f"REPORT OF AN INCIDENT: DENIAL OF SERVICE                     {clean(incident.key, 60)}"
    yield f"Lines with {BLANK} are for people to fill in."
    yield from _who()
    yield from _when(incident)
    yield from _what(incident)
    yield from _impact(incident)
    yield from _from_where(incident)
    yield from _else(incident)
    yield from _done(incident)
    yield from _upstream(incident)
    yield from _evidence(incident)


def _who() -> Iterator[str]:
    yield from ("", "1. WHO REPORTS", "")
    for name in (
        "Organisation",
        "Sector",
        "Country of the organisation",
        "Name of the contact",
        "Role",
        "Telephone (reachable now)",
        "Mail (not on attacked systems)",
        "Essential or important service",
        "May be shared with (TLP)",
        "Reported elsewhere (police, ...)",
        "Help that is asked for",
    ):
        yield _field(name)


def _when(incident: Incident) -> Iterator[str]:
    yield from ("", "2. WHEN", "")
    yield _field("Began", moment(story.began_ms(incident)))
    yield _field("Detected", moment(incident.opened_ms))
    yield _field("Ended", moment(incident.ended_ms) if incident.ended_ms else "it is still going on")
    yield _field("Lasted", span(story.lasted_ms(incident)))
    if len(incident.bursts) > 1:
        yield _field("Pulses", count(len(incident.bursts)))
    if incident.linked:
        yield _field(
            "Earlier incidents, same hand?", "number " + listed([str(number) for number in incident.linked])
        )
    yield _field("Detected by", "xdpwall, a filter in the network path of the host")


def _what(incident: Incident) -> Iterator[str]:
    yield from ("", "3. WHAT", "")
    yield _field("Kind", "denial of service (DDoS)" if incident.sources.seen > 1 else "denial of service")
    yield _field("In one sentence", story.headline(incident))
    for vector in story.main_vectors(incident)[:_MOST]:
        yield _field(
            "Vector",
            f"{clean(vector.name, 60)}: {'about ' if vector.estimated else ''}{count(vector.packets)} packets, "
            f"peak {scaled(vector.peak_pps, 'pps')}, {percent(vector.confidence)} sure",
        )
    totals = incident.totals
    yield _field("Volume", f"{count(totals.packets)} packets, {scaled(totals.bytes, 'B')}")
    yield _field("Peak", f"{scaled(incident.peak_pps, 'pps')}, {scaled(incident.peak_bps, 'bit/s')}")
    for target in incident.targets[:_MOST]:
        yield _field("Attacked", endpoint(target.address, target.port, target.protocol))
    if len(incident.targets) > _MOST:
        yield _field(
            "Attacked", f"and {plural(len(incident.targets) - _MOST, 'more address', 'more addresses')}"
        )
    yield _field("Systems and services behind these")
    yield _field("Demand, threat or claim received")
    yield _field("Suspected motive")


def _impact(incident: Incident) -> Iterator[str]:
    users = incident.users
    yield from ("", "4. IMPACT", "")
    tries = sum(probe.during_tries for probe in users.probes)
    measured = []
    if tries:
        answered = sum(probe.during_ok for probe in users.probes)
        measured.append(f"{count(answered)} of {count(tries)} probes of own services were answered during it")
    if users.completed_per_s_before is not None and users.completed_per_s_during is not None:
        measured.append(
            f"new connections completed a second: {users.completed_per_s_during:.1f} during, "
            f"{users.completed_per_s_before:.1f} before"
        )
    if users.collateral_packets is not None:
        measured.append(f"packets of known good sources dropped: {count(users.collateral_packets)}")
    yield _field("Measured on the host", "; ".join(measured) or "nothing")
    for name in (
        "Services that were out of reach",
        "For how long",
        "Users affected (number, where)",
        "Data lost, changed or disclosed",
        "Other organisations affected",
        "Cost, so far as known",
        "Back to normal since",
    ):
        yield _field(name)


def _from_where(incident: Incident) -> Iterator[str]:
    yield from ("", "5. FROM WHERE", "")
    sources = incident.sources
    if sources.seen:
        yield _field("Sources", f"{'at least ' if sources.estimated else ''}{count(sources.seen)} addresses")
    for title, entries in (
        ("Country", incident.origin.by_country[:10]),
        ("Network", incident.origin.by_as[:10]),
    ):
        for entry in entries:
            code = clean(entry.code, 12)
            yield _field(
                title,
                f"{clean(entry.name or code, 60)}{f' ({code})' if code and entry.name else ''}: "
                f"{percent(entry.share_packets)} of packets, {plural(entry.sources, 'source')}, "
                f"{share(entry.handshake_packets, entry.packets)} proven by a handshake",
            )
    if incident.origin.note:
        yield _field("How far to believe this", clean(incident.origin.note, 900))
    base = incident.origin.database
    if base is not None:
        credit = f", {clean(base.attribution, 400)}" if base.attribution else ""
        yield _field(
            "Looked up in",
            f"{clean(base.name, 200)}, data of {clean(base.date, 40)}, {clean(base.licence, 120)}{credit}",
        )
    for source in sources.top[:_MOST]:
        where = place(source.country, source.asn, source.as_name)
        proof = "proven by a handshake" if source.proof == "handshake" else "may be forged"
        yield _field(
            "Source",
            f"{clean(source.source, 60)}, {count(source.packets)} packets, {proof}{f', {where}' if where else ''}",
        )


def _else(incident: Incident) -> Iterator[str]:
    yield from ("", "6. WHAT ELSE WENT ON MEANWHILE", "")
    if not incident.diversion:
        yield _field("Recorded by the wall", "no scan, no knock at an admin port, no new outbound traffic")
    for found in incident.diversion[:_MOST]:
        where = place(found.country, found.asn, found.as_name)
        ports = f", ports {view.ports(found.ports)}" if found.ports else ""
        yield _field(
            f"{clock(found.at_ms)} to {clock(found.until_ms)}",
            f"{view.kind_words(found.kind)} from {clean(found.source, 60)}{f' ({where})' if where else ''}, "
            f"{story.how_often(found)}{ports}",
        )
    yield _field("Signs of intrusion found by people")


def _done(incident: Incident) -> Iterator[str]:
    yield from ("", "7. WHAT WAS DONE", "")
    totals = incident.totals
    dropped = f"{count(totals.dropped_packets)} packets ({share(totals.dropped_packets, totals.packets)})"
    observe = incident.policy == "observe"
    yield _field(
        "By the wall",
        "it only watched, nothing was dropped" if observe else f"{dropped} were dropped on the host",
    )
    if incident.bans.exact or incident.bans.prefix:
        yield _field(
            "Bans",
            f"{plural(incident.bans.exact, 'source')}, {plural(incident.bans.prefix, 'prefix', 'prefixes')}",
        )
    for action in incident.actions[:_MOST]:
        yield _field(clock(action.at_ms), f"{clean(action.what, 40)} {clean(action.detail, 200)}".rstrip())
    if len(incident.actions) > _MOST:
        yield _field("More", f"{count(len(incident.actions) - _MOST)} further actions are in the JSON export")
    yield _field("By people")
    yield _field("By the provider (upstream)")
    yield _field("Still to be done")


def _upstream(incident: Incident) -> Iterator[str]:
    """Only where something before the wall was full."""
    found = asks(incident)
    if not found:
        return
    yield from ("", "8. ASKED OF THE PROVIDER", "")
    yield _field("Why", clean(sentence(incident), 900))
    for ask in found:
        yield _field(clean(ask.name, 40), clean(ask.text, 900))
    yield _field("Asked whom, when, by whom")
    yield _field("What the provider did, since when")


def _evidence(incident: Incident) -> Iterator[str]:
    yield from ("", f"{9 if incident.saturation else 8}. EVIDENCE", "")
    samples = incident.samples
    yield _field(
        "Packets kept", f"{count(samples.packets)}, {clean(samples.path, 300)}" if samples.packets else "none"
    )
    yield _field("Record", f"xdpwall incident export {clean(incident.key, 60)} --format json (or stix, html)")
    yield _field("Logs of servers and provider")
    yield ""
    yield f"Filled in by xdpwall {__version__} from its record of {moment(incident.updated_ms or incident.opened_ms)}."
