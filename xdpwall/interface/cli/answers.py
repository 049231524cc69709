# SPDX-License-Identifier: Apache-2.0
"""What several verbs tell in the same words."""

from __future__ import annotations

from typing import Any

from xdpwall.interface.cli.output import note


def tell_refused(result: dict[str, Any]) -> None:
    """Name each prefix that was not taken, why, and the way out."""
    for entry in result["refused"]:
        message = entry["message"]
        note(f"refused: {message if entry['prefix'] in message else entry['prefix'] + ': ' + message}")
    for hint in dict.fromkeys(entry.get("hint") for entry in result["refused"]):
        if hint:
            note(f"hint: {hint}")


def tell_warnings(result: dict[str, Any]) -> None:
    """What was done, but not wholly."""
    for warning in result.get("warnings", []):
        note(f"warning: {warning}")
