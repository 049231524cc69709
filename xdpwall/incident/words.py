# SPDX-License-Identifier: Apache-2.0
"""What is known of an incident, in sentences. Only what the record holds; what was not measured is said to be so."""

from __future__ import annotations

from xdpwall.incident import saturation
from xdpwall.incident.model import Incident, Probe
from xdpwall.incident.thresholds import Measure

_PROBES_ENOUGH = 5
_KINDS = {
    "port_scan": ("port scan", "port scans"),
    "host_sweep": ("sweep over addresses", "sweeps over addresses"),
    "admin_probe": ("source probing admin ports", "sources probing admin ports"),
    "admin_login": (
        "stranger completing handshakes on admin ports",
        "strangers completing handshakes on admin ports",
    ),
    "outbound": ("new outbound peer", "new outbound peers"),
}


def verdict(incident: Incident) -> tuple[str, ...]:
    """The sentences, most important first."""
    return tuple(
        sentence
        for sentence in (
            _course(incident),
            saturation.sentence(incident),
            _what(incident),
            *(f"{pattern[:1].upper()}{pattern[1:]}." for pattern in incident.patterns),
            _who(incident),
            *_users(incident),
            incident.observed.sentence(),
            _outcome(incident),
            _diversion(incident),
        )
        if sentence
    )


def brief(incident: Incident) -> str:
    """One line for people."""
    names = ", ".join(vector.name for vector in incident.vectors[:3]) or "kind not known"
    totals = incident.totals
    return (
        f"{names}; peak {incident.peak_pps:,} packets/s; {totals.packets:,} packets, "
        f"{totals.packets - totals.dropped_packets:,} of them passed"
    )


def crossed(found: list[Measure]) -> str:
    """What is over its threshold, worst first, in words."""
    over = sorted((m for m in found if m.ratio >= 1.0), key=lambda m: m.ratio, reverse=True)
    return "; ".join(f"{m.what}: {m.value:,.0f} against {m.limit:,.0f}" for m in over[:3]) or "nothing now"


def duration(milliseconds: int) -> str:
    """For people: ``3 min 20 s``."""
    seconds = round(milliseconds / 1000)
    if seconds < 1:
        return f"{milliseconds} ms"
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2])


def _course(incident: Incident) -> str:
    totals = incident.totals
    end = incident.ended_ms or incident.updated_ms
    span = duration(max(1, end - incident.first_packet_ms))
    lasts = "It lasted" if incident.state == "closed" else "It has lasted so far"
    word = "would have been dropped" if incident.policy == "observe" else "were dropped"
    share = totals.dropped_packets / totals.packets if totals.packets else 0.0
    text = (
        f"{lasts} {span}: {totals.packets:,} packets came in all, {totals.dropped_packets:,} ({_percent(share)}) "
        f"{word}, {totals.packets - totals.dropped_packets:,} passed; at the peak {incident.peak_pps:,} packets/s."
    )
    if len(incident.bursts) > 1:
        text += f" It came in {len(incident.bursts)} pulses."
    return text


def _what(incident: Incident) -> str:
    if not incident.vectors:
        return "What kind of packets they were is not known: none was counted by its kind or sampled."
    whole = sum(vector.packets for vector in incident.vectors) or 1
    parts = [
        f"{vector.name} ({_percent(vector.packets / whole)}"
        + ("" if vector.confidence >= 0.7 else ", uncertain")
        + ")"
        for vector in incident.vectors[:4]
    ]
    more = len(incident.vectors) - 4
    return f"It was: {', '.join(parts)}{f' and {more} more kinds' if more > 0 else ''}."


def _who(incident: Incident) -> str:
    sources = incident.sources
    if not sources.seen:
        return ""
    about = "at least about " if sources.estimated else ""
    text = f"It came from {about}{sources.seen:,} source addresses."
    known = [share for share in incident.origin.by_country if share.code != "XX"][:3]
    if known:
        where = ", ".join(f"{share.name or share.code} {_percent(share.share_packets)}" for share in known)
        text += f" Registered in: {where} of their packets."
    if incident.origin.note:
        text += f" {incident.origin.note}"
    return text


def _users(incident: Incident) -> list[str]:
    users = incident.users
    said = []
    if users.flows_before is not None and users.flows_during_min is not None:
        after = "" if users.flows_after is None else f", {users.flows_after:,} after"
        said.append(
            f"Established connections: {users.flows_before:,} before, never fewer than "
            f"{users.flows_during_min:,} during{after}."
        )
    if users.completed_per_s_during is not None:
        before = "" if users.completed_per_s_before is None else f" ({users.completed_per_s_before:g} before)"
        said.append(
            f"New connections were completed at {users.completed_per_s_during:g} per second while it was on{before}."
        )
    if users.collateral_packets:
        said.append(f"{users.collateral_packets:,} dropped packets were from sources known to be good.")
    return said


def _outcome(incident: Incident) -> str:
    probes = [probe for probe in incident.users.probes if probe.during_tries]
    if not probes:
        return (
            "Whether the services answered all the time is not known: no probes of own services are configured."
            if not incident.users.probes
            else "Whether the services answered is not known: no probe was made while it was on."
        )
    tries = sum(probe.during_tries for probe in probes)
    good = sum(probe.during_ok for probe in probes)
    if good == tries and tries >= _PROBES_ENOUGH and _kept_flows(incident) and _nobody_got_in(incident):
        return (
            f"Every attempt failed: the probed services answered {good} of {tries} tries while the attack was on, "
            "and established connections stayed."
        )
    lost = ", ".join(_missed(probe) for probe in probes if probe.during_ok < probe.during_tries)
    return f"Probes: {good} of {tries} tries were answered while it was on{f' ({lost})' if lost else ''}."


def _missed(probe: Probe) -> str:
    tail = f": {probe.last_error}" if probe.last_error else ""
    return f"{probe.name} missed {probe.during_tries - probe.during_ok}{tail}"


def _kept_flows(incident: Incident) -> bool:
    users = incident.users
    if users.flows_before is None or users.flows_during_min is None:
        return False
    return users.flows_during_min >= 0.5 * users.flows_before


def _nobody_got_in(incident: Incident) -> bool:
    """It is over, and no stranger completed a handshake on an admin port, nor did this host call somebody new."""
    inside = {"admin_login", "outbound"}
    return incident.state == "closed" and not any(found.kind in inside for found in incident.diversion)


def _diversion(incident: Incident) -> str:
    found = incident.diversion
    if not found:
        return (
            "Nothing else was noticed meanwhile: no scan, no stranger's handshake on an admin port, "
            "no new outbound peer."
        )
    counts = []
    for kind, (one, many) in _KINDS.items():
        number = sum(entry.kind == kind for entry in found)
        if number:
            counts.append(f"{number} {one if number == 1 else many}")
    return f"Meanwhile there were also: {', '.join(counts)}. Look at each of them."


def _percent(share: float) -> str:
    """Never rounded up to all or down to none."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return f"{int(share * 100_000) / 1000:g} %"
    return f"{share * 100:.1f} %".replace(".0 %", " %")
