# SPDX-License-Identifier: Apache-2.0
"""The metrics, family by family, from what the controller knows. Never is an address of a source a label."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from xdpwall import __version__
from xdpwall.control import views
from xdpwall.control.checks.names import CHECKS, known
from xdpwall.control.observed import observing
from xdpwall.control.sink import Inside
from xdpwall.dataplane.interface import Dataplane
from xdpwall.lanes import Lane
from xdpwall.observe import PARTS

STATES = ("QUIET", "UNDER_ATTACK", "OBSERVE", "DEGRADED", "OFF")
_METERS_READ = 1 << 18
"""Larger meter tables are not counted through at each scrape."""


def families(inside: Inside) -> Iterator[Metric]:
    """Everything, as of now."""
    engine = inside.engine
    yield from _state(inside)
    yield from _packets(inside)
    wall = engine.wall
    if wall is not None:
        yield from _lanes(inside, wall)
        yield from _maps(inside, wall)
        yield from _rules(wall)
    yield from _incident(inside)
    yield from _controller(inside)
    yield from _losses(inside)


def _state(inside: Inside) -> Iterator[Metric]:
    engine = inside.engine
    info = engine.keeper.info
    facts = {"version": __version__, "policy": "none" if info is None else info.policy}
    yield InfoMetricFamily(
        "xdpwall_wall", "Version of the controller, policy of the loaded wall.", value=facts
    )
    state = GaugeMetricFamily("xdpwall_state", "1 for the state that the wall is in.", labels=["state"])
    now = engine.state
    for name in STATES:
        state.add_metric([name.lower()], float(name == now))
    yield state
    yield GaugeMetricFamily(
        "xdpwall_off",
        "1 while the wall is turned off: everything passes, nothing is counted.",
        value=float(engine.switch.state is not None),
    )
    yield GaugeMetricFamily(
        "xdpwall_problems", "What is wrong right now, in number.", value=len(engine.health.problems)
    )
    yield GaugeMetricFamily(
        "xdpwall_loaded_timestamp_seconds",
        "When the wall was loaded, Unix time; 0 while none is.",
        value=0 if info is None else info.loaded_ms / 1000,
    )
    attached = GaugeMetricFamily(
        "xdpwall_interface_attached",
        "1 while the wall runs on the interface.",
        labels=["interface", "mode"],
    )
    for entry in engine.keeper.interfaces:
        attached.add_metric([entry.name, entry.mode or "none"], float(entry.attached))
    yield attached
    yield from _checks(inside)


def _checks(inside: Inside) -> Iterator[Metric]:
    health = inside.engine.health
    wrong = {known(name) for name in health.wrong()}
    ok = GaugeMetricFamily(
        "xdpwall_check_ok", "1 while a check of the wall by itself finds nothing.", labels=["check"]
    )
    repairs = CounterMetricFamily(
        "xdpwall_check_repairs", "Times that what a check found was put right at once.", labels=["check"]
    )
    since = GaugeMetricFamily(
        "xdpwall_check_failed_since_timestamp_seconds",
        "Since when the check fails, Unix time; no series while it does not.",
        labels=["check"],
    )
    for name in CHECKS:
        ok.add_metric([name], float(name not in wrong))
        repairs.add_metric([name], health.repairs.get(name, 0))
    earliest: dict[str, int] = {}
    for trouble in health.troubles:
        name = known(trouble.check)
        earliest[name] = min(earliest.get(name, trouble.since_ms), trouble.since_ms)
    for name, at_ms in earliest.items():
        since.add_metric([name], at_ms / 1000)
    yield ok
    yield repairs
    yield since


def _packets(inside: Inside) -> Iterator[Metric]:
    labels = ["interface", "verdict", "reason"]
    packets = CounterMetricFamily(
        "xdpwall_packets",
        "Packets by verdict and reason since load. would_drop passed, only because its reason observes.",
        labels=labels,
    )
    size = CounterMetricFamily(
        "xdpwall_bytes", "Bytes of L2 frames, as xdpwall_packets_total.", labels=labels
    )
    for interface, reasons in inside.engine.traffic.counts.items():
        for reason, total in reasons.items():
            observed = inside.engine.traffic.observed.get(interface, {}).get(reason)
            for action, count in views.split(total, observed, reason):
                values = [interface, action, reason.label]
                packets.add_metric(values, count.packets)
                size.add_metric(values, count.bytes)
    yield packets
    yield size
    observes = GaugeMetricFamily(
        "xdpwall_observed_parts", "Parts of the wall that only observe.", labels=["part"]
    )
    parts = observing(inside.engine.keeper.info)
    for part in PARTS:
        observes.add_metric([part], float(part in parts))
    yield observes
    yield GaugeMetricFamily(
        "xdpwall_observed_good_sources",
        "Known-good sources seen among what would have been dropped; a lower bound.",
        value=inside.engine.observed.count,
    )


def _lanes(inside: Inside, wall: Dataplane) -> Iterator[Metric]:
    seen = CounterMetricFamily("xdpwall_lane_packets", "Packets of each lane.", labels=["lane"])
    size = CounterMetricFamily("xdpwall_lane_bytes", "Bytes of L2 frames of each lane.", labels=["lane"])
    over = CounterMetricFamily(
        "xdpwall_lane_over_budget_packets",
        "Packets that found the budget spent and needed proof.",
        labels=["lane"],
    )
    dropped = CounterMetricFamily(
        "xdpwall_lane_dropped_packets", "Packets over budget that had no proof.", labels=["lane"]
    )
    budget = GaugeMetricFamily(
        "xdpwall_lane_budget_packets_per_second",
        "Budget of each lane as configured; 0 is none.",
        labels=["lane"],
    )
    for lane, count in wall.lanes().items():
        seen.add_metric([lane.label], count.seen.packets)
        size.add_metric([lane.label], count.seen.bytes)
        over.add_metric([lane.label], count.over.packets)
        dropped.add_metric([lane.label], count.dropped.packets)
    for lane in Lane:
        budget.add_metric([lane.label], getattr(inside.engine.config.lanes, lane.label).pps)
    yield from (seen, size, over, dropped, budget)


def _maps(inside: Inside, wall: Dataplane) -> Iterator[Metric]:
    info, book = wall.info, inside.engine.book
    entries = GaugeMetricFamily(
        "xdpwall_map_entries", "Entries taken in tables of the kernel.", labels=["map"]
    )
    capacity = GaugeMetricFamily("xdpwall_map_capacity", "Entries that fit in them.", labels=["map"])
    rows = [("bans", book.exact, info.ban_capacity), ("prefix_bans", book.wide, info.ban_prefix_capacity)]
    if inside.engine.config.meters.enabled:
        for name, room, read in (
            ("source_meters", info.source_capacity, wall.sources),
            ("prefix_meters", info.prefix_capacity, wall.prefixes),
        ):
            if room <= _METERS_READ:
                rows.append((name, int((read().slots["key"] != 0).sum()), room))
    for name, count, room in rows:
        entries.add_metric([name], count)
        capacity.add_metric([name], room)
    yield entries
    yield capacity
    yield GaugeMetricFamily(
        "xdpwall_allowlist_entries", "Prefixes that always pass.", value=len(inside.engine.guard.allow)
    )


def _rules(wall: Dataplane) -> Iterator[Metric]:
    rules = GaugeMetricFamily(
        "xdpwall_fingerprint_rules",
        "Rules made from the attack's packets, by what they do.",
        labels=["policy"],
    )
    held = wall.rules.entries()
    observing = sum(1 for entry in held if entry.rule.observe)
    rules.add_metric(["enforce"], len(held) - observing)
    rules.add_metric(["observe"], observing)
    yield rules


def _incident(inside: Inside) -> Iterator[Metric]:
    incidents = inside.engine.incidents
    record = incidents.current
    yield GaugeMetricFamily(
        "xdpwall_incident_open", "1 while an incident is open.", value=float(incidents.open)
    )
    yield CounterMetricFamily("xdpwall_incidents", "Incidents that began since start.", value=incidents.begun)
    yield GaugeMetricFamily(
        "xdpwall_incident_severity",
        "Highest ratio of a measured rate to its threshold in the open incident; 0 while there is none.",
        value=0.0 if record is None or not incidents.open else record.severity,
    )
    yield GaugeMetricFamily(
        "xdpwall_incident_peak_packets_per_second",
        "Peak of the open incident; 0 while there is none.",
        value=0 if record is None or not incidents.open else record.peak_pps,
    )


def _controller(inside: Inside) -> Iterator[Metric]:
    engine, schedule = inside.engine, inside.schedule
    yield CounterMetricFamily("xdpwall_ticks", "Looks at the counters.", value=schedule.ticks)
    yield CounterMetricFamily(
        "xdpwall_ticks_left_out", "Looks that had no time left.", value=schedule.left_out
    )
    yield GaugeMetricFamily(
        "xdpwall_tick_lag_seconds", "How late ticks are lately.", value=schedule.lag_ms / 1000
    )
    yield CounterMetricFamily(
        "xdpwall_detections",
        "Times that a source or prefix was found over a limit.",
        value=engine.sentinel.detections,
    )
    yield GaugeMetricFamily(
        "xdpwall_bans_waiting",
        "Sources over a limit that wait for bans.per_minute.",
        value=engine.sentinel.waiting,
    )
    errors = CounterMetricFamily(
        "xdpwall_update_errors",
        "Writes that failed, to the kernel's tables or to the database.",
        labels=["target"],
    )
    errors.add_metric(["kernel"], engine.sentinel.write_errors)
    errors.add_metric(["database"], engine.store.errors)
    yield errors


def _lines(inside: Inside) -> Iterator[Metric]:
    wire = GaugeMetricFamily(
        "xdpwall_line_bits_per_second",
        "What comes in on the wire, with the 24 bytes a packet that no counter holds.",
        labels=["interface"],
    )
    room = GaugeMetricFamily(
        "xdpwall_line_capacity_bits_per_second",
        "What the line carries; no series where nobody knows.",
        labels=["interface"],
    )
    for name, rate in inside.line.rates.items():
        wire.add_metric([name], rate.wire_bps)
        if rate.capacity_bps:
            room.add_metric([name], rate.capacity_bps)
    yield wire
    yield room


def _losses(inside: Inside) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "xdpwall_nic_lost_packets",
        "Received packets that the NIC lost before the wall saw them, by the driver's own counter; queues added up. "
        "A driver may count one loss in several counters.",
        labels=["interface", "counter"],
    )
    for interface, counters in inside.nics.losses.nics.items():
        for counter, value in sorted(counters.items()):
            lost.add_metric([interface, counter], value)
    yield lost
    yield from _lines(inside)
    softnet = inside.nics.losses.softnet
    for name, text, value in (
        (
            "processed",
            "Packets that the kernel took in, all CPUs and interfaces of the machine.",
            softnet.processed,
        ),
        ("dropped", "Packets that the kernel lost because a receive queue was full.", softnet.dropped),
        ("squeezed", "Times that receiving was cut short with work left.", softnet.squeezed),
    ):
        unit = "_packets" if name != "squeezed" else "_times"
        yield CounterMetricFamily(f"xdpwall_softnet_{name}{unit}", text, value=value)
