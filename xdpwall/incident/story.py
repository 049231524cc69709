# SPDX-License-Identifier: Apache-2.0
"""What reports say beside the record's own verdict. Pure: no clock, no files; nothing that the record does not hold."""

from __future__ import annotations

from xdpwall.incident.model import Diversion, Incident, Vector
from xdpwall.incident.render.text import clean, endpoint, listed, plural, rough, share, span
from xdpwall.incident.words import verdict

KIND_WORDS = {
    "port_scan": "port scan",
    "host_sweep": "sweep over hosts",
    "admin_probe": "knocks at admin ports",
    "admin_login": "stranger on an admin port",
    "outbound": "new outbound traffic",
}
_COUNTED = {
    "port_scan": "port",
    "host_sweep": "address",
    "admin_probe": "request",
    "admin_login": "handshake",
    "outbound": "flow",
}


def began_ms(incident: Incident) -> int:
    """When it began: the first packet, else when it was opened."""
    return incident.first_packet_ms or incident.opened_ms


def lasted_ms(incident: Incident) -> int:
    """From the first packet to the last moment over a threshold, or to the record's last change while it is open."""
    end = incident.ended_ms or incident.updated_ms or incident.opened_ms
    return max(0, end - began_ms(incident))


def main_vectors(incident: Incident) -> list[Vector]:
    """The vectors, most packets first."""
    return sorted(incident.vectors, key=lambda vector: -vector.packets)


def headline(incident: Incident) -> str:
    """One sentence: what, at whom, how much, how much of it was stopped."""
    names = list(dict.fromkeys(clean(vector.name, 40) for vector in main_vectors(incident)))[:3]
    what = listed(names) if names else "Traffic of unknown kind"
    target = ""
    if incident.targets:
        addresses = list(dict.fromkeys(clean(entry.address, 60) for entry in incident.targets))
        target = (
            f" on {addresses[0] if len(addresses) == 1 else plural(len(addresses), 'address', 'addresses')}"
        )
        if len(incident.targets) == 1:
            first = incident.targets[0]
            target = f" on {endpoint(first.address, first.port, first.protocol)}"
    long = f"{'for' if incident.state == 'closed' else 'going on for'} {span(lasted_ms(incident))}"
    totals = incident.totals
    stopped = "would have been stopped" if incident.policy == "observe" else "were stopped"
    return (
        f"{what}{target}, {long}: {rough(totals.packets)} packets, of which "
        f"{share(totals.dropped_packets, totals.packets)} {stopped}."
    )


def sentences(incident: Incident) -> list[str]:
    """The record's verdict. What it repeats of the origin's note is left to the place where the origins stand."""
    note = incident.origin.note
    said = incident.verdict or verdict(incident)
    kept = (sentence.replace(note, "").strip() if note else sentence for sentence in said)
    return [clean(sentence, 600) for sentence in kept if sentence]


def probes_all_answered(incident: Incident) -> bool | None:
    """Whether every try of an own service during the attack was answered; None when none was made."""
    tries = sum(probe.during_tries for probe in incident.users.probes)
    if not tries:
        return None
    return sum(probe.during_ok for probe in incident.users.probes) == tries


def how_often(found: Diversion) -> str:
    """What was counted of a diversion, with its noun: ``16 ports``, ``10 requests``."""
    noun = _COUNTED.get(found.kind, "time")
    return plural(found.count, noun, "addresses" if noun == "address" else "")
