# SPDX-License-Identifier: Apache-2.0
"""The board of checks as ``status`` answers it."""

from __future__ import annotations

from xdpwall.control.checks.names import CHECKS, known
from xdpwall.control.health import Health
from xdpwall.control.results_checks import ChecksResult, TroubleResult


def result(health: Health) -> ChecksResult:
    """Every check by name, what is wrong, and what was put right."""
    wrong = {known(name) for name in health.wrong()}
    repairs: dict[str, int] = {}
    for name, count in health.repairs.items():
        repairs[known(name)] = repairs.get(known(name), 0) + count
    return ChecksResult(
        passed=[name for name in CHECKS if name not in wrong],
        failed=[name for name in CHECKS if name in wrong],
        troubles=[
            TroubleResult(check=known(each.check), text=each.text, since_ms=each.since_ms)
            for each in health.troubles
        ],
        repairs=repairs,
    )
