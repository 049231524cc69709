# SPDX-License-Identifier: Apache-2.0
"""The scenarios, one file each. A new one: a file with ``SCENARIO``, and its line here."""

from __future__ import annotations

from xdpwall.lab.scenario import Scenario
from xdpwall.lab.scenarios import labour2019, quiet

REGISTRY: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (labour2019.SCENARIO, quiet.SCENARIO)
}
"""By name, in the order to show them."""
