# SPDX-License-Identifier: Apache-2.0
"""Budgets of lanes and ports in the kernel's units, see ``bpf/lanes.h``. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpwall.dataplane.layout import BUDGETS, LANE_SLOTS
from xdpwall.lanes import Lane

if TYPE_CHECKING:
    from xdpwall.config_lanes import Budget, LanesConfig, ProofConfig

_FINE = 20
"""A packet's cost is in 2^-20 ticks (FINE)."""
_BYTE_SHIFT = 16
"""A byte's cost has so many more bits (BYTE_SHIFT)."""
_GATE_SHARE = 4
"""The gate hands out this part of a budget at most, and no more packets than closed ports may have: it cannot tell
them from others."""
_LEAST_TICKS = 2
"""No burst is shorter: the clock only moves by whole ticks."""
_LEAST_PACKETS = 4
_LEAST_FRAGMENTS = 96
"""A whole packet of 64 KiB comes in 45 pieces, and a class pays double."""
BUDGET = struct.Struct("<QQQQQQ16x")
PORT_BUDGETS = BUDGETS - LANE_SLOTS
"""So many ports can have a budget of their own."""


@dataclass(frozen=True, slots=True)
class PortEntry:
    """A port with a budget of its own: ``"tcp"`` or ``"udp"``, its number, and the number of the budget."""

    protocol: str
    port: int
    number: int


def pack(lanes: LanesConfig, hz: int, cpus: int) -> bytes:
    """All entries of the map ``budgets``.

    Args:
        lanes: the budgets.
        hz: ticks per second.
        cpus: possible CPUs: the gate is divided among them.
    """
    entries = [BUDGET.pack(0, 0, 0, 0, 0, 0)] * BUDGETS
    closed = _cost(hz << _FINE, lanes.closed.pps)
    for lane in Lane:
        least = _LEAST_FRAGMENTS if lane is Lane.FRAGMENT else _LEAST_PACKETS
        entries[lane] = _entry(getattr(lanes, lane.label), closed, lanes.burst_ms, hz, cpus, least)
    for number, budget in enumerate(lanes.ports, LANE_SLOTS):
        entries[number] = _entry(budget, closed, lanes.burst_ms, hz, cpus)
    return b"".join(entries)


def port_entries(lanes: LanesConfig) -> list[PortEntry]:
    """Which ports have a budget of their own."""
    found = []
    for number, budget in enumerate(lanes.ports, LANE_SLOTS):
        protocol, _, port = budget.port.partition("/")
        found.append(PortEntry(protocol, int(port), number))
    return found


def _entry(
    budget: Budget, closed: int, burst_ms: int, hz: int, cpus: int, packets: int = _LEAST_PACKETS
) -> bytes:
    packet = _cost(hz << _FINE, budget.pps)
    # A frame's cost is its length times this; it must stay below 2^63 for 64 KiB.
    byte = min(_cost(hz * 8 << (_FINE + _BYTE_SHIFT), budget.bps), 1 << 46)
    least = max(_LEAST_TICKS << _FINE, packet * packets)
    depth = max(burst_ms * (hz << _FINE) // 1000, least)
    gate = max(packet * _GATE_SHARE, closed) * cpus
    return BUDGET.pack(packet, byte, depth, gate, byte * _GATE_SHARE * cpus, max(depth, gate))


def _cost(units_a_second: int, limit: int) -> int:
    return max(1, round(units_a_second / limit)) if limit else 0


AGES = struct.Struct("<16I")
_STAMP_TICKS = 64


def pack_ages(proof: ProofConfig, hz: int) -> bytes:
    """The one entry of the map ``proof_ages``: how long each kind of proof holds. Order: ``bpf/proofs.h``."""
    tcp, udp, icmp, source = (
        -(-milliseconds * hz // (1000 * _STAMP_TICKS))
        for milliseconds in (proof.tcp_ms, proof.udp_ms, proof.icmp_ms, proof.source_ms)
    )
    fragment = -(-_FRAGMENT_MS * hz // (1000 * _STAMP_TICKS))
    vouched = -(-_VOUCHED_MS * hz // (1000 * _STAMP_TICKS))
    barred = -(-_BARRED_MS * hz // (1000 * _STAMP_TICKS))
    return AGES.pack(barred, tcp, udp, icmp, udp, source, fragment, vouched, *[0] * 8)


_BARRED_MS = 5_000
"""How long the controller's word against a source holds. It says so again each second."""
_VOUCHED_MS = 120_000
"""How long the controller's word for a source holds: an upgrade or a restart of the controller takes less."""
_FRAGMENT_MS = 30_000
"""How long Linux waits for the rest of a packet (net.ipv4.ipfrag_time)."""
