# SPDX-License-Identifier: Apache-2.0
"""The report as a STIX 2.1 bundle (OASIS standard, June 2021), for sharing with other machines.

Who shared addresses that anyone can have written would get bystanders blocked: an indicator is made only for a source
that completed a handshake. What was seen, forged or not, is observed data. The same record gives the same bundle: ids
are hashes of what they name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import uuid
from typing import Any

from xdpwall import __version__
from xdpwall.incident import story
from xdpwall.incident.model import Incident, Source, Vector
from xdpwall.incident.render.text import clean, count, stamp

_SCO_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""Namespace for the ids of observables (STIX 2.1, 2.9)."""
_MOST_OBSERVED = 999_999_999
"""``number_observed`` may not be more (STIX 2.1, 4.14)."""
_INDICATOR_DAYS = 7
"""How long an indicator holds: addresses of bots change hands."""
_DAY_MS = 86_400_000
_MOST_DIVERSIONS = 200
# MITRE ATT&CK (Enterprise) technique by the words in a vector's name; the first that fits.
_TECHNIQUES = (
    ("reflection", "T1498.002", "Network Denial of Service: Reflection Amplification"),
    ("syn", "T1499.001", "Endpoint Denial of Service: OS Exhaustion Flood"),
    ("ack", "T1499.001", "Endpoint Denial of Service: OS Exhaustion Flood"),
    ("", "T1498.001", "Network Denial of Service: Direct Network Flood"),
)
_SCAN = ("T1595.001", "Active Scanning: Scanning IP Blocks")
_LOOKING = {"port_scan", "host_sweep", "admin_probe"}
_PROTOCOLS = {"tcp", "udp", "icmp"}

Object = dict[str, Any]


def render(incident: Incident) -> str:
    """The bundle as JSON."""
    return json.dumps(_Bundle(incident).build(), indent=2) + "\n"


class _Bundle:
    def __init__(self, incident: Incident) -> None:
        self._incident = incident
        self._created = stamp(incident.opened_ms)
        self._modified = stamp(max(incident.opened_ms, incident.updated_ms))
        self._objects: dict[str, Object] = {}
        self._self = ""

    def build(self) -> Object:
        incident = self._incident
        self._self = self._add(
            "identity",
            "xdpwall",
            name=f"xdpwall {__version__}",
            description="A packet filter in the network path of one host; this bundle was made from its own counters.",
            identity_class="system",
        )
        patterns = {vector.name: self._attack_pattern(*_technique(vector)) for vector in incident.vectors}
        what = self._add(
            "incident",
            "incident",
            name=f"Incident {clean(incident.key, 60)}",
            description=" ".join([story.headline(incident), *story.sentences(incident)]),
        )
        for pattern in dict.fromkeys(patterns.values()):
            self._relate(what, "related-to", pattern)
        for vector in story.main_vectors(incident):
            self._relate(self._observed(vector), "related-to", patterns[vector.name])
        for source in incident.sources.top:
            self._source(source, list(dict.fromkeys(patterns.values())))
        self._diversion(what)
        if incident.origin.note:
            self._add(
                "note", "origin", abstract="How far origins can be believed", content=clean(incident.origin.note, 900),
                object_refs=[what],
            )  # fmt: skip
        refs = [name for name in self._objects if name != self._self]
        self._add(
            "report",
            "report",
            name=f"Report on incident {clean(incident.key, 60)}",
            description=story.headline(incident),
            report_types=["attack-pattern", "observed-data"],
            published=self._modified,
            object_refs=refs,
        )
        return {
            "type": "bundle",
            "id": f"bundle--{_hash_id(self._name('bundle'))}",
            "objects": list(self._objects.values()),
        }

    def _name(self, what: str) -> str:
        incident = self._incident
        return f"{incident.instance}/{incident.key}/{incident.id}/{incident.opened_ms}/{what}"

    def _add(self, kind: str, what: str, **fields: Any) -> str:
        """Add an object of the domain; ``what`` tells it apart from others of its kind."""
        name = f"{kind}--{_hash_id(what if kind == 'attack-pattern' else self._name(f'{kind}/{what}'))}"
        if name not in self._objects:
            created_by = {"created_by_ref": self._self} if self._self else {}
            self._objects[name] = {
                "type": kind, "spec_version": "2.1", "id": name, **created_by, "created": self._created,
                "modified": self._modified, **fields,
            }  # fmt: skip
        return name

    def _observable(self, kind: str, identity: Object, **fields: Any) -> str:
        """Add an observable; its id is made of the properties that the standard names for its kind."""
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        name = f"{kind}--{uuid.uuid5(_SCO_NAMESPACE, text)}"
        self._objects.setdefault(
            name, {"type": kind, "spec_version": "2.1", "id": name, **identity, **fields}
        )
        return name

    def _relate(self, source: str, how: str, target: str) -> None:
        self._add(
            "relationship",
            f"{source} {how} {target}",
            relationship_type=how,
            source_ref=source,
            target_ref=target,
        )

    def _attack_pattern(self, number: str, name: str) -> str:
        return self._add(
            "attack-pattern",
            number,
            name=name,
            external_references=[{"source_name": "mitre-attack", "external_id": number}],
        )

    def _address(self, text: str) -> str | None:
        kind, value = _address(text)
        return None if kind is None else self._observable(kind, {"value": value})

    def _traffic(self, protocols: list[str], **ends: Any) -> str:
        known = {key: value for key, value in ends.items() if value is not None}
        return self._observable("network-traffic", {**known, "protocols": protocols})

    def _observed(self, vector: Vector) -> str:
        targets = [t for t in self._incident.targets if t.protocol == vector.protocol] or list(
            self._incident.targets
        )
        refs = []
        for target in targets[:10]:
            address = self._address(target.address)
            kind, value = _address(target.address)
            if address is None or "/" in value:
                continue
            family = "ipv6" if kind == "ipv6-addr" else "ipv4"
            protocol = [vector.protocol] if vector.protocol in _PROTOCOLS else []
            refs += [
                address,
                self._traffic(
                    [family, *protocol],
                    dst_ref=address,
                    dst_port=vector.local_port,
                    src_port=vector.remote_port,
                ),
            ]
        first = vector.first_ms or story.began_ms(self._incident)
        note = f"{clean(vector.name, 60)}: {count(vector.packets)} packets. {clean(vector.why, 200)}".strip()
        if not refs:
            return self._add("note", f"vector/{vector.name}", content=note, object_refs=[self._self])
        data = self._add(
            "observed-data",
            f"vector/{vector.name}/{vector.local_port}/{vector.remote_port}",
            first_observed=stamp(first),
            last_observed=stamp(max(first, vector.last_ms)),
            number_observed=min(_MOST_OBSERVED, max(1, vector.packets)),
            object_refs=list(dict.fromkeys(refs)),
        )
        self._add(
            "note",
            f"vector/{vector.name}/{vector.local_port}/{vector.remote_port}",
            content=note,
            object_refs=[data],
        )
        return data

    def _source(self, source: Source, patterns: list[str]) -> None:
        kind, value = _address(source.source)
        if kind is None:
            return
        incident = self._incident
        fields: Object = {}
        if source.asn:
            named = {"name": clean(source.as_name, 120)} if source.as_name else {}
            fields["belongs_to_refs"] = [
                self._observable("autonomous-system", {"number": source.asn}, **named)
            ]
        address = self._observable(kind, {"value": value}, **fields)
        if "belongs_to_refs" in fields:
            self._objects[address].update(fields)
        self._add(
            "observed-data",
            f"source/{value}",
            first_observed=stamp(story.began_ms(incident)),
            last_observed=stamp(story.began_ms(incident) + story.lasted_ms(incident)),
            number_observed=min(_MOST_OBSERVED, max(1, source.packets)),
            object_refs=[address],
        )
        if source.proof != "handshake":
            return
        start = story.began_ms(incident)
        indicator = self._add(
            "indicator",
            f"source/{value}",
            name=f"Source of attack traffic {value}",
            description="It completed a handshake with the attacked host, so the address is not forged.",
            indicator_types=["malicious-activity"],
            pattern=f"[{kind}:value {'ISSUBSET' if '/' in value else '='} '{value}']",
            pattern_type="stix",
            pattern_version="2.1",
            valid_from=stamp(start),
            valid_until=stamp(max(start, incident.updated_ms) + _INDICATOR_DAYS * _DAY_MS),
            confidence=round(100 * min(1.0, max(0.0, incident.confidence))),
        )
        for pattern in patterns:
            self._relate(indicator, "indicates", pattern)

    def _diversion(self, what: str) -> None:
        for number, found in enumerate(self._incident.diversion[:_MOST_DIVERSIONS]):
            address = self._address(found.source)
            if address is None:
                continue
            data = self._add(
                "observed-data",
                f"diversion/{number}",
                first_observed=stamp(found.at_ms),
                last_observed=stamp(max(found.at_ms, found.until_ms)),
                number_observed=min(_MOST_OBSERVED, max(1, found.count)),
                object_refs=[address],
            )
            words = story.KIND_WORDS.get(found.kind, clean(found.kind, 40))
            text = f"Under the flood: {words} from {clean(found.source, 60)}. {clean(found.why, 200)}".strip()
            self._add("note", f"diversion/{number}", content=text, object_refs=[data, what])
            if found.kind in _LOOKING:
                self._relate(data, "related-to", self._attack_pattern(*_SCAN))


def _technique(vector: Vector) -> tuple[str, str]:
    name = vector.name.lower()
    for word, number, title in _TECHNIQUES:
        if word in name:
            return number, title
    raise AssertionError("the last entry fits every name")


def _address(text: str) -> tuple[str | None, str]:
    """STIX type and value of an address or prefix; no type when it is neither. A whole prefix loses its length."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None, ""
    value = str(network.network_address) if network.num_addresses == 1 else str(network)
    return f"ipv{network.version}-addr", value


def _hash_id(name: str) -> uuid.UUID:
    """A stable id in the form of version 4, which the standard recommends for objects of the domain."""
    return uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)
