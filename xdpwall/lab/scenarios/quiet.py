# SPDX-License-Identifier: Apache-2.0
"""An ordinary day: nobody attacks, and the wall must not be felt."""

from __future__ import annotations

from xdpwall.lab.scenario import Marks, Scenario

SCENARIO = Scenario(
    name="quiet",
    summary="nobody attacks; not one packet may be dropped",
    seconds=10.0,
    attack=None,
    marks=Marks(legit_at_least=1.0, dropped_at_most=0),
    requests_per_second=100.0,
)
