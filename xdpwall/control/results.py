# SPDX-License-Identifier: Apache-2.0
"""The shapes of what the control ops answer, and so of `-o json` (which adds ``"schema": 1``).

The controller and the offline path build the same shapes. Counts are plain integers in base units; a name's suffix says
which. Times ending in ``_ms`` are Unix milliseconds, or a duration where the name says so (``remaining_ms``).
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from xdpwall.control.results_checks import ChecksResult
from xdpwall.control.results_observed import ObservedBriefResult
from xdpwall.control.results_protect import ProtectedResult

State = Literal["QUIET", "UNDER_ATTACK", "OBSERVE", "DEGRADED", "OFF"]


class ControllerResult(TypedDict):
    """The controller process. Only ``running`` is there when none runs."""

    running: bool
    pid: NotRequired[int]
    uptime_ms: NotRequired[int]
    cpu_ms: NotRequired[int]
    rss_kb: NotRequired[int]
    ticks: NotRequired[int]
    tick_lag_ms: NotRequired[int]


class InterfaceResult(TypedDict):
    """One interface of the wall. ``mode`` is null and ``ifindex`` 0 while it is missing."""

    name: str
    ifindex: int
    mode: str | None
    attached: bool
    program_id: int


class RatesResult(TypedDict):
    """What the wall sees per second, over the last second or so. ``bps`` is bits of L2 frames.

    ``would_drop_pps`` and ``would_drop_bps`` are there once something only observed: what of ``passed_pps`` would be
    dropped.
    """

    pps: int
    bps: int
    dropped_pps: int
    passed_pps: int
    dropped_bps: int
    passed_bps: int
    would_drop_pps: NotRequired[int]
    would_drop_bps: NotRequired[int]


class TotalsResult(TypedDict):
    """What the wall has seen since it was loaded. ``would_drop_packets`` as in :class:`RatesResult`."""

    packets: int
    bytes: int
    dropped_packets: int
    dropped_bytes: int
    passed_packets: int
    passed_bytes: int
    would_drop_packets: NotRequired[int]


class BanCountsResult(TypedDict):
    """How many bans stand, and how many fit."""

    exact: int
    prefix: int
    capacity: int
    prefix_capacity: int


class CookiesResult(TypedDict):
    """Whether the wall answers requests over budget with SYN cookies; since when (Unix time), None while not."""

    on: bool
    since_ms: int | None


class OffResult(TypedDict):
    """The wall is off: everything passes. ``until_ms`` is null when it is off until somebody turns it on."""

    since_ms: int
    until_ms: int | None
    by: str
    reason: str


class StatusResult(TypedDict):
    """``status``. ``problems`` says in plain words what is wrong. ``off`` is null while the wall filters.

    ``rates`` and ``cookies`` are missing without a controller.
    """

    instance: str
    version: str
    controller: ControllerResult
    policy: str
    off: OffResult | None
    observed: ObservedBriefResult
    loaded_ms: int
    interfaces: list[InterfaceResult]
    rates: NotRequired[RatesResult]
    cookies: NotRequired[CookiesResult]
    totals: TotalsResult
    bans: BanCountsResult
    allow: int
    state: State
    problems: list[str]
    checks: NotRequired[ChecksResult]


class SourceResult(TypedDict):
    """One metered source. ``drops`` counts drops after the ban stages."""

    source: str
    packets: int
    bytes: int
    pps: int
    bps: int
    syn_pps: int
    udp_pps: int
    icmp_pps: int
    fragments: int
    drops: int
    first_seen_ms: int
    last_seen_ms: int
    banned: bool
    allowed: bool


class SourcesResult(TypedDict):
    """``sources``. ``metered`` is how many sources have a meter right now."""

    sources: list[SourceResult]
    metered: int


class VerdictResult(TypedDict):
    """Packets of one interface with one verdict. ``pps`` is missing without a controller."""

    interface: str
    reason: str
    action: Literal["pass", "drop", "would_drop"]
    packets: int
    bytes: int
    pps: NotRequired[int]
    meaning: str


class VerdictsResult(TypedDict):
    """``verdicts``. What passed only because its reason observes has the action ``would_drop``."""

    policy: str
    verdicts: list[VerdictResult]


class BanResult(TypedDict):
    """One ban; null times are for ever."""

    prefix: str
    reason: str
    origin: str
    created_ms: int
    expires_ms: int | None
    remaining_ms: int | None
    strikes: int
    dropped_packets: int
    dropped_bytes: int


class BanListResult(TypedDict):
    """``ban.list``: what is banned now; lapsed bans are left out."""

    bans: list[BanResult]


class RefusedResult(TypedDict):
    """One prefix that was not taken, and why."""

    prefix: str
    message: str
    hint: str | None


class BanAddResult(TypedDict):
    """``ban.add``. ``updated`` stood already and got a new time. ``warnings``: done, but not wholly (database)."""

    added: int
    updated: int
    refused: list[RefusedResult]
    warnings: list[str]


class BanDelResult(TypedDict):
    """``ban.del``. ``missing`` were not banned: by themselves, though a wider ban may cover them (``covered_by``)."""

    removed: int
    missing: list[str]
    covered_by: dict[str, str]
    warnings: list[str]


class BanTestResult(TypedDict):
    """``ban.test``. ``ban`` covers the whole of ``prefix``. Allowed wins over banned: then ``banned`` is false."""

    prefix: str
    banned: bool
    ban: BanResult | None
    allowed_by: str | None


class BanFlushResult(TypedDict):
    """``ban.flush``."""

    removed: int
    warnings: list[str]


class AllowEntryResult(TypedDict):
    """One allowlist entry. ``origin`` is ``config`` or ``operator``."""

    prefix: str
    origin: str
    reason: str
    created_ms: int


class AllowListResult(TypedDict):
    """``allow.list``. ``evidence``: where logins are looked for. ``unseen``: what could not be looked at, in words."""

    allow: list[AllowEntryResult]
    protected: list[ProtectedResult]
    evidence: list[str]
    unseen: list[str]


class AllowAddResult(TypedDict):
    """``allow.add``. ``lifted`` are the bans that lay inside; a wider ban stands, and allow wins over it."""

    added: int
    existing: int
    lifted: list[str]
    refused: list[RefusedResult]
    warnings: list[str]


class AllowDelResult(TypedDict):
    """``allow.del``. ``refused``: entries of the config file, which only an edit of the file removes."""

    removed: int
    missing: list[str]
    refused: list[RefusedResult]
    warnings: list[str]


class HistoryResult(TypedDict):
    """One line of the record: what happened (``ban``, ``unban``, ``expire``, ...), to what, why, by whom."""

    at_ms: int
    event: str
    prefix: str | None
    origin: str
    detail: str


class HistoryListResult(TypedDict):
    """``history``, newest first."""

    history: list[HistoryResult]


class ReloadResult(TypedDict):
    """``reload``. ``needs_load``: changed keys that are compiled into the data path (`xdpwall load` applies them)."""

    changed: list[str]
    needs_load: list[str]


class TrendResult(TypedDict):
    """The last minutes, oldest first, a point each ``step_ms``. Under ``observe`` dropped is what would be."""

    step_ms: int
    passed_pps: list[int]
    dropped_pps: list[int]
    passed_bps: list[int]
    dropped_bps: list[int]


class LaneResult(TypedDict):
    """One lane, per second. ``budget_pps`` and ``budget_bps`` of 0 mean that there is none.

    ``over_pps``: found the budget spent and needed proof. ``dropped_pps``: had none. ``passed_on_proof_pps``: known
    flows beyond the gate, and what was over budget and had another proof.
    """

    lane: str
    pps: int
    bps: int
    budget_pps: int
    budget_bps: int
    over_pps: int
    dropped_pps: int
    passed_on_proof_pps: int


class LanesResult(TypedDict):
    """``lanes``."""

    lanes: list[LaneResult]


class ReasonResult(TypedDict):
    """Packets with one verdict, all interfaces together."""

    reason: str
    action: Literal["pass", "drop", "would_drop"]
    packets: int
    bytes: int
    pps: int
    meaning: str


class ActiveSourceResult(TypedDict):
    """One source of a live screen, or a banned prefix, whose sources are not told apart any more.

    Rates hold what bans drop of it too; ``packets`` and ``bytes`` do not.

    ``verdict``: ``limited`` means that some of its packets are over a limit. ``country`` (ISO 3166), ``asn`` and
    ``as_name`` are missing where they are not known.
    """

    source: str
    pps: int
    bps: int
    syn_pps: int
    udp_pps: int
    icmp_pps: int
    dropped_pps: int
    packets: int
    bytes: int
    first_seen_ms: int
    last_seen_ms: int
    verdict: Literal["passed", "limited", "banned", "allowed"]
    ban: NotRequired[BanResult]
    country: NotRequired[str]
    asn: NotRequired[int]
    as_name: NotRequired[str]


class ActiveBanResult(BanResult):
    """One ban of a live screen, with what it drops per second."""

    dropped_pps: int


class GeoFilesResult(TypedDict):
    """Databases that the configuration names; empty for none. Who shows origins looks them up, not the controller."""

    database: str
    asn_database: str


class OverviewResult(TypedDict):
    """``overview``: all that a live screen shows. Keys of parts that are not there are missing.

    ``may_write``: whether this client may ban and allow. ``lanes`` as of the op ``lanes``, ``incidents`` as of
    ``incident.list``, newest first.
    """

    at_ms: int
    may_write: bool
    status: StatusResult
    trend: TrendResult
    sources: list[ActiveSourceResult]
    metered: int
    bans: list[ActiveBanResult]
    reasons: list[ReasonResult]
    lanes: NotRequired[list[LaneResult]]
    incidents: NotRequired[list[dict[str, Any]]]
    geo: GeoFilesResult


class PingResult(TypedDict):
    """``ping``."""

    pid: int
    instance: str
    version: str
