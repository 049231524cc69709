# SPDX-License-Identifier: Apache-2.0
"""The record itself as JSON, in the form of ``data/incident.schema.json``."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from xdpwall.incident.model import Incident


def render(incident: Incident) -> str:
    """The record, laid out for a reader; ASCII only, so that no viewer takes it for something else."""
    return json.dumps(incident.to_json(), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the record, as it is shipped."""
    file = resources.files("xdpwall.incident").joinpath("data", "incident.schema.json")
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
