# SPDX-License-Identifier: Apache-2.0
"""The record of one incident: what the database keeps, `incident show` answers, and every report is made from.

Times that end in ``_ms`` are Unix milliseconds; counts are plain integers of packets or L2 bytes; shares and
confidences lie between 0 and 1. ``None`` says that it is not known, never zero. Every field has a default, so that a
record written by an older version can be read; fields that a newer version added are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from xdpwall.errors import InputError
from xdpwall.incident.observed import ObservedUse
from xdpwall.incident.plain import to_plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1
State = Literal["open", "closed"]
Proof = Literal["handshake", "spoofable"]
"""How far a source address can be believed: its owner answered us (handshake), or anyone can have written it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the wall saw from the first packet to the end; the wall's own counters, not a sample.

    ``dropped_by_reason`` and ``passed_by_reason``: packets by the label of the verdict (``docs/reasons.md``).
    Under ``policy = "observe"`` "dropped" is what would have been dropped.
    ``background_packets``: of ``packets``, what the traffic of the minute before would have been by itself.
    """

    packets: int = 0
    bytes: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0
    passed_packets: int = 0
    passed_bytes: int = 0
    background_packets: int = 0
    dropped_by_reason: dict[str, int] = field(default_factory=dict)
    passed_by_reason: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vector:
    """One kind of attack traffic within the incident, for example ``NTP reflection``.

    ``lane`` is a lane's label; ``protocol`` is ``tcp``, ``udp``, ``icmp`` or ``other``. ``estimated``: packets and
    bytes are a lane's counters split in the proportion of the samples. ``why``: from what the name was told.
    """

    name: str
    lane: str
    protocol: str
    local_port: int | None = None
    remote_port: int | None = None
    packets: int = 0
    bytes: int = 0
    estimated: bool = False
    peak_pps: int = 0
    first_ms: int = 0
    last_ms: int = 0
    confidence: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """An address of ours (and its port) that was attacked. ``packets`` is estimated from samples."""

    address: str
    port: int | None = None
    protocol: str = ""
    packets: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One source (IPv4 address or IPv6 /64), with what it sent during the incident."""

    source: str
    packets: int = 0
    bytes: int = 0
    drops: int = 0
    country: str | None = None
    asn: int | None = None
    as_name: str | None = None
    proof: Proof = "spoofable"
    banned: bool = False


@dataclass(frozen=True, slots=True)
class SourcePrefix:
    """A /24 or /48 that much came from."""

    prefix: str
    packets: int = 0
    bytes: int = 0
    sources: int = 0
    banned: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Who sent. ``estimated``: more sources came than the meters hold, so ``seen`` is at least this many.

    ``packets`` is what the metered sources of the attack sent together: the base of the shares by origin.
    """

    seen: int = 0
    estimated: bool = False
    packets: int = 0
    bytes: int = 0
    top: tuple[Source, ...] = ()
    prefixes: tuple[SourcePrefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What came from one country or one network.

    ``share_packets`` is of the metered packets; ``handshake_packets + spoofable_packets == packets``.
    ``code``: ISO 3166 alpha-2, or ``AS64500``. ``XX`` for a country that is not known.
    """

    code: str
    name: str = ""
    packets: int = 0
    bytes: int = 0
    sources: int = 0
    share_packets: float = 0.0
    share_bytes: float = 0.0
    share_sources: float = 0.0
    handshake_packets: int = 0
    spoofable_packets: int = 0


@dataclass(frozen=True, slots=True)
class GeoDatabase:
    """What the origins were looked up in."""

    name: str = ""
    date: str = ""
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Countries and networks, biggest first, and a sentence on how far they can be believed."""

    by_country: tuple[Share, ...] = ()
    by_as: tuple[Share, ...] = ()
    database: GeoDatabase | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that was crossed: ``what`` (``syn lane``), the value measured and the limit, packets/s or bit/s."""

    at_ms: int
    what: str
    value: float
    limit: float
    unit: str = "pps"


@dataclass(frozen=True, slots=True)
class Action:
    """Something the wall did: ``what`` is ``ban``, ``rule``, ``cookies``, ``opened``, ``closed``, ``reopened``, ..."""

    at_ms: int
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BanCounts:
    """Bans that the wall wrote because of this incident."""

    exact: int = 0
    prefix: int = 0


@dataclass(frozen=True, slots=True)
class FingerprintUse:
    """A rule made from the attack's packets. ``cover`` and ``collateral`` are shares of attack and good samples."""

    rule: str
    cover: float | None = None
    collateral: float | None = None
    packets: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """When each step happened (fractions of milliseconds are kept), None while it has not.

    ``resolution_ms``: how exactly it is known; counters are read this often.
    """

    first_packet_ms: float | None = None
    threshold_ms: float | None = None
    first_drop_ms: float | None = None
    ban_ms: float | None = None
    incident_ms: float | None = None
    resolution_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One step of the timeline: average packets/s from ``at_ms`` to the next point. ``by_lane`` counts all seen."""

    at_ms: int
    seen_pps: int = 0
    passed_pps: int = 0
    dropped_pps: int = 0
    seen_bps: int = 0
    by_lane: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """What an own service answered: tries and successes before, during and after, and the slowest answer."""

    name: str
    target: str = ""
    before_ok: int = 0
    before_tries: int = 0
    during_ok: int = 0
    during_tries: int = 0
    after_ok: int = 0
    after_tries: int = 0
    during_worst_ms: float | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Users:
    """How those fared who belong here. Flows are TCP connections of this host as its own stack counts them.

    ``completed_*``: new inbound connections per second. ``collateral_packets``: dropped packets of sources that had
    completed a handshake, None when that was not measured.
    """

    flows_before: int | None = None
    flows_during_min: int | None = None
    flows_after: int | None = None
    completed_per_s_before: float | None = None
    completed_per_s_during: float | None = None
    completed_per_s_after: float | None = None
    collateral_packets: int | None = None
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True)
class Diversion:
    """Something quiet that happened meanwhile.

    ``kind``: ``port_scan``, ``host_sweep``, ``admin_probe``, ``admin_login`` or ``outbound``. ``ports`` and ``targets``
    are bounded lists; ``count`` is how many there were in all.
    """

    kind: str
    source: str
    at_ms: int
    until_ms: int
    ports: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    count: int = 0
    why: str = ""
    country: str | None = None
    asn: int | None = None
    as_name: str | None = None


@dataclass(frozen=True, slots=True)
class Burst:
    """One pulse of the attack: from when to when it was over its thresholds, and how high it went."""

    from_ms: int
    until_ms: int
    peak_pps: int = 0


@dataclass(frozen=True, slots=True)
class Saturation:
    """Something before the wall that was full, so that packets were lost which it never saw.

    ``kind``: ``link`` (the line to the provider), ``nic`` (the card) or ``kernel`` (its receive queues).
    ``value`` is the highest that was measured and ``limit`` what fits, both in ``unit``: ``bps`` on the wire, or
    packets lost per second (``pps``), for which there is no limit.
    """

    kind: Literal["link", "nic", "kernel"]
    interface: str
    from_ms: int
    until_ms: int
    value: int = 0
    limit: int | None = None
    unit: Literal["bps", "pps"] = "bps"


@dataclass(frozen=True, slots=True)
class Samples:
    """The packets kept as evidence: a pcapng file beside the database, verdicts as packet comments."""

    path: str = ""
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """The whole record. ``key`` is its short name for people, day and number, for example ``2026-11-23-1``.

    ``linked``: ids of earlier incidents that look like the same hand, nearest first. ``severity``: the highest ratio
    of a measured rate to its threshold. ``confidence``: that this was an attack, from the best vector. ``verdict``:
    what is known, in sentences. ``patterns``: how it was spread, for example carpet bombing.
    ``ended_ms``: last moment over a threshold, None while open.
    """

    id: int
    key: str
    state: State
    opened_ms: int
    schema: int = SCHEMA
    instance: str = ""
    policy: str = "enforce"
    first_packet_ms: int = 0
    updated_ms: int = 0
    ended_ms: int | None = None
    closed_ms: int | None = None
    linked: tuple[int, ...] = ()
    severity: float = 0.0
    confidence: float = 0.0
    peak_pps: int = 0
    peak_bps: int = 0
    peak_at_ms: int = 0
    totals: Totals = field(default_factory=Totals)
    vectors: tuple[Vector, ...] = ()
    patterns: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    sources: Sources = field(default_factory=Sources)
    origin: Origin = field(default_factory=Origin)
    thresholds: tuple[Crossing, ...] = ()
    actions: tuple[Action, ...] = ()
    bursts: tuple[Burst, ...] = ()
    bans: BanCounts = field(default_factory=BanCounts)
    fingerprints: tuple[FingerprintUse, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    timeline: tuple[Point, ...] = ()
    users: Users = field(default_factory=Users)
    diversion: tuple[Diversion, ...] = ()
    samples: Samples = field(default_factory=Samples)
    saturation: tuple[Saturation, ...] = ()
    observed: ObservedUse = field(default_factory=ObservedUse)
    verdict: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and texts, ready for ``json.dumps``."""
        found: dict[str, Any] = to_plain(self)
        return found

    @classmethod
    def from_json(cls, data: Any) -> Incident:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: the data is not such a record; names the first field that is wrong.
        """
        from pydantic import ValidationError  # noqa: PLC0415  (30 ms that a listing need not pay)

        try:
            return _adapter().validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise InputError(
                f"not the record of an incident: {where}: {first['msg']}",
                hint="it must be what `xdpwall -o json incident show` prints",
            ) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the record."""
    return _adapter().json_schema(mode="serialization")


@cache
def _adapter() -> TypeAdapter[Incident]:
    from pydantic import TypeAdapter  # noqa: PLC0415  (30 ms that a listing need not pay)

    return TypeAdapter(Incident)
