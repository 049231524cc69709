# SPDX-License-Identifier: Apache-2.0
"""What the wall itself says of the attack: its incident, asked of the controller, and the report of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpwall.errors import XdpwallError
from xdpwall.lab.topology import Lab

_PATIENCE_SECONDS = 8.0
"""Sources and origins are looked up every few seconds, beside all else."""
_STEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The incident as the controller has it.

    Args:
        record: ``incident.show``.
        opened_ns: when it was opened (CLOCK_MONOTONIC).
        report: where its HTML report was written; None: nobody asked for one.
    """

    record: dict[str, Any]
    opened_ns: int
    report: str | None = None


def look_back(lab: Lab, folder: Path | None) -> Aftermath | None:
    """The newest incident; None when the controller has none.

    Args:
        lab: with a running controller.
        folder: where to write the HTML report to; None: none is written.

    Raises:
        LabError: the report could not be written.
    """
    record = _settled(lab)
    if record is None:
        return None
    age_ms = time.time() * 1000 - record["opened_ms"]
    opened_ns = time.monotonic_ns() - round(age_ms * 1e6)
    report = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder.resolve() / f"{lab.name}-incident.html"
        lab.wall("incident", "export", str(record["id"]), "--format", "html", "--to", str(target), "--force")
        report = str(target)
    return Aftermath(record, opened_ns, report)


def _settled(lab: Lab) -> dict[str, Any] | None:
    """The record, once who sent has been looked up after the attack's end."""
    record: dict[str, Any] | None = None
    ended = time.time() * 1000
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            rows = lab.ask("incident.list", limit=1)["incidents"]
            if rows:
                record = dict(lab.ask("incident.show", id=rows[0]["id"])["incident"])
        except XdpwallError:
            return record  # the controller died: that is told elsewhere
        if record is None or time.monotonic() >= deadline:
            return record
        if record["updated_ms"] >= ended + 4_500:
            return record
        time.sleep(_STEP_SECONDS)


def brief(found: Aftermath | None) -> dict[str, Any] | None:
    """The part of a run's result about the incident."""
    if found is None:
        return None
    record = found.record
    return {
        "id": record["id"],
        "key": record["key"],
        "state": record["state"],
        "vectors": [vector["name"] for vector in record["vectors"]],
        "countries": [
            {"code": share["code"], "share": round(share["share_packets"], 4)}
            for share in record["origin"]["by_country"]
        ],
        "confidence": record["confidence"],
        "packets": record["totals"]["packets"],
        "background_packets": record["totals"]["background_packets"],
        "dropped_packets": record["totals"]["dropped_packets"],
        "sources": record["sources"]["seen"],
        "peak_pps": record["peak_pps"],
        "ledger": record["ledger"],
        "diversion": [{"kind": entry["kind"], "source": entry["source"]} for entry in record["diversion"]],
        "verdict": record["verdict"],
        "report": found.report,
    }
