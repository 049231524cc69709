# SPDX-License-Identifier: Apache-2.0
"""What other parts find out for the record of an incident, beside what is counted."""

from __future__ import annotations

from typing import TypedDict

from xdpwall.incident.model import Diversion, FingerprintUse, Origin, Samples, Sources, Users
from xdpwall.incident.observed import ObservedUse


class Known(TypedDict, total=False):
    """Fields of the record, by their names there."""

    sources: Sources | None
    origin: Origin | None
    users: Users | None
    diversion: tuple[Diversion, ...] | None
    fingerprints: tuple[FingerprintUse, ...] | None
    samples: Samples | None
    linked: tuple[int, ...] | None
    patterns: tuple[str, ...] | None
    observed: ObservedUse | None
