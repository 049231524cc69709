# SPDX-License-Identifier: Apache-2.0
"""The scenarios. A new one: an entry in one of the tables, or a file with ``SCENARIO`` and its name here."""

from __future__ import annotations

from xdpwall.lab.scenario import Scenario
from xdpwall.lab.scenarios import floods, labour2019, mixtures, quiet, reflections

REGISTRY: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        labour2019.SCENARIO,
        quiet.SCENARIO,
        *floods.SCENARIOS,
        *reflections.SCENARIOS,
        *mixtures.SCENARIOS,
    )
}
"""By name, in the order to show them."""
