# SPDX-License-Identifier: Apache-2.0
"""When something before the wall was full: what to say of it, and what to ask the provider for. Pure.

A full line loses packets before any of this host's programs can see them. Only who stands upstream can help, and helps
soonest who is told: at which address, which packets, how many, since when, from where, and which means are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from xdpwall.incident.model import Incident, Saturation, Vector

_JOINS_MS = 30_000
_MOST = 50
_KINDS = {"link": "the line", "nic": "the network card", "kernel": "the kernel's receive queues"}
_FLOWSPEC_PROTOCOLS = {"tcp": "protocol 6", "udp": "protocol 17", "icmp": "protocol 1 or 58"}
_REFLECTED = "reflection"


def merged(known: tuple[Saturation, ...], found: Iterable[Saturation]) -> tuple[Saturation, ...]:
    """Take in what is full now. What was full within the last 30 s goes on, with its highest figure."""
    entries = list(known)
    for new in found:
        at = next(
            (
                index
                for index, old in enumerate(entries)
                if (old.kind, old.interface) == (new.kind, new.interface)
                and new.from_ms - old.until_ms <= _JOINS_MS
            ),
            None,
        )
        if at is None:
            entries.append(new)
        else:
            old = entries[at]
            entries[at] = replace(
                old,
                until_ms=max(old.until_ms, new.until_ms),
                value=max(old.value, new.value),
                limit=new.limit,
            )
    return tuple(entries[-_MOST:])


def sentence(incident: Incident) -> str:
    """That it was full, and that the provider must be asked; empty when it was not."""
    if not incident.saturation:
        return ""
    parts = [describe(entry) for entry in incident.saturation[:3]]
    return (
        f"Saturated upstream, ask your provider: {'; '.join(parts)}. What was lost there never reached the wall, and "
        "is in none of its figures."
    )


def describe(entry: Saturation) -> str:
    """One of them, in words."""
    where = _KINDS[entry.kind] + (f" at {entry.interface}" if entry.interface else "")
    if entry.unit == "bps":
        limit = f" of {_bits(entry.limit)}" if entry.limit else ""
        what = f"was full, at most {_bits(entry.value)}{limit}"
    else:
        what = f"lost up to {entry.value:,} packets/s"
    return f"{where} {what}, from {_time(entry.from_ms)} to {_time(entry.until_ms)}"


@dataclass(frozen=True, slots=True)
class Ask:
    """One line of what to ask for: a name, and what to say under it."""

    name: str
    text: str


def asks(incident: Incident) -> list[Ask]:
    """What to tell the provider, and what to ask for, the gentlest means first; empty when nothing was full."""
    if not incident.saturation:
        return []
    found = [Ask("Targets", _targets(incident))]
    vectors = sorted(incident.vectors, key=lambda vector: -vector.packets)[:6]
    found += [Ask("Vector", _vector(vector)) for vector in vectors]
    found += [
        Ask(
            "Peak seen here",
            f"{incident.peak_pps:,} packets/s, {_bits(incident.peak_bps)}; upstream it was more: "
            + "; ".join(describe(entry) for entry in incident.saturation[:3]),
        ),
        Ask("Time", _times(incident)),
        Ask("Sources", _sources(incident)),
    ]
    filters = [text for text in (_filter(incident, vector) for vector in vectors) if text]
    if filters:
        found.append(
            Ask(
                "1. Ask for", "a filter on your side of the line (ACL or BGP flowspec): " + "; ".join(filters)
            )
        )
    found += [
        Ask("2. Or for", "scrubbing: lead our prefix through your cleaning, and send us what is left"),
        Ask(
            "3. Last resort",
            f"RTBH (a black hole) for {_first_target(incident)}: the attack then has what it wanted for this one "
            "address, and all others live",
        ),
    ]
    return found


def _targets(incident: Incident) -> str:
    if not incident.targets:
        return "not known: no packet was sampled; all addresses behind this line"
    shown = [
        f"{target.address}{f' port {target.port}' if target.port is not None else ''}"
        f"{f' ({target.protocol})' if target.protocol else ''}"
        for target in incident.targets[:8]
    ]
    more = len(incident.targets) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _first_target(incident: Incident) -> str:
    return incident.targets[0].address if incident.targets else "the attacked address"


def _vector(vector: Vector) -> str:
    size = f", {vector.bytes // vector.packets} bytes each on average" if vector.packets else ""
    sure = "" if vector.confidence >= 0.7 else " (uncertain)"
    return f"{vector.name}{sure}: {vector.protocol}{_ports(vector)}{size}, peak {vector.peak_pps:,} packets/s"


def _ports(vector: Vector) -> str:
    remote = f" from port {vector.remote_port}" if vector.remote_port is not None else ""
    return remote + (f" to port {vector.local_port}" if vector.local_port is not None else "")


def _filter(incident: Incident, vector: Vector) -> str:
    """A match that an ACL or flowspec rule (RFC 8955) can hold; empty where it would stop everybody."""
    protocol = _FLOWSPEC_PROTOCOLS.get(vector.protocol)
    if protocol is None:
        return ""
    parts = [f"destination {_first_target(incident)}", protocol]
    if vector.remote_port is not None:
        parts.append(f"source port {vector.remote_port}")
    if vector.local_port is not None and not (vector.remote_port and _REFLECTED in vector.name.lower()):
        parts.append(f"destination port {vector.local_port}")
    narrow = vector.remote_port is not None or vector.protocol == "icmp"
    return f"{', '.join(parts)} -> {'drop' if narrow else 'rate limit, users use it too'}"


def _times(incident: Incident) -> str:
    end = "going on" if incident.ended_ms is None else f"until {_time(incident.ended_ms)}"
    began = incident.first_packet_ms or incident.opened_ms
    full = "; ".join(f"full {_time(e.from_ms)} to {_time(e.until_ms)}" for e in incident.saturation[:3])
    return f"since {_time(began)}, {end}; {full} (all UTC)"


def _sources(incident: Incident) -> str:
    sources, parts = incident.sources, []
    if sources.seen:
        parts.append(f"{'at least ' if sources.estimated else ''}{sources.seen:,} addresses")
    networks = [
        f"{share.code} {share.name} {share.share_packets * 100:.0f} %".replace("  ", " ")
        for share in incident.origin.by_as[:5]
        if share.code.startswith("AS")
    ]
    if networks:
        parts.append(f"networks: {', '.join(networks)}")
    top = [f"{source.source} ({source.packets:,} packets)" for source in sources.top[:5]]
    if top:
        parts.append(f"most from: {', '.join(top)}")
    forged = sum(source.proof == "spoofable" for source in sources.top)
    if forged:
        parts.append("addresses may be forged: filter by target and kind rather than by source")
    return "; ".join(parts) or "not known"


def _bits(number: int | None) -> str:
    value = float(number or 0)
    for step, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if value >= step:
            return f"{value / step:.3g} {unit}"
    return f"{value:.0f} bit/s"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
