# SPDX-License-Identifier: Apache-2.0
"""From the config to the rules of incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpwall.incident.diversion import DiversionRules
from xdpwall.incident.lifecycle import LifeRules
from xdpwall.incident.thresholds import Rules
from xdpwall.lanes import Lane

if TYPE_CHECKING:
    from xdpwall.config import Config


def budgets(config: Config) -> dict[Lane, int]:
    """Packets per second of each lane's budget; lanes without one are left out."""
    if not config.lanes.enabled:
        return {}
    found = {lane: int(getattr(config.lanes, lane.label).pps) for lane in Lane}
    return {lane: pps for lane, pps in found.items() if pps}


def threshold_rules(config: Config) -> Rules:
    """For :mod:`xdpwall.incident.thresholds`."""
    own = config.incident
    return Rules(own.drops, own.floor, own.factor, own.sources, budgets(config))


def life_rules(config: Config) -> LifeRules:
    """For :mod:`xdpwall.incident.lifecycle`."""
    own = config.incident
    return LifeRules(own.open_after_ms, own.close_after_ms, own.close_below)


def diversion_rules(config: Config) -> DiversionRules:
    """For :mod:`xdpwall.incident.diversion`."""
    own = config.incident
    return DiversionRules(own.scan_ports, own.scan_window_ms, frozenset(own.admin_ports))
