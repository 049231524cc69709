# SPDX-License-Identifier: Apache-2.0
"""An incident in which every text is an attack on whoever reads the report."""

from __future__ import annotations

import dataclasses
from typing import Any

from xdpwall.incident.model import Incident

TEXT = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)></style></title></svg>{{7*7}}{% raw %}<!-- ]]> "
    "[click](javascript:alert(3)) **bold** `code` @everyone | a\nb\r\x1b[31m\x00\u202egnp.exe\u2066 "
    "https://evil.example/ ' OR '1'='1 \\' ] AND [x:y = 'z"
)
_KEPT = {"state", "policy", "proof"}


def spoil(value: Any, name: str = "") -> Any:
    """The value with each text replaced; numbers and choices stay."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{f.name: spoil(getattr(value, f.name), f.name) for f in dataclasses.fields(value)}
        )
    if isinstance(value, str):
        return value if name in _KEPT else TEXT
    if isinstance(value, tuple):
        return tuple(spoil(entry) for entry in value)
    if isinstance(value, dict):
        return {f"{key}{TEXT}": entry for key, entry in value.items()}
    return value


def hostile(incident: Incident) -> Incident:
    """The incident with every text replaced by :data:`TEXT`."""
    spoiled: Incident = spoil(incident)
    return dataclasses.replace(spoiled, verdict=(TEXT, TEXT), patterns=(TEXT,))
