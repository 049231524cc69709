# SPDX-License-Identifier: Apache-2.0
"""The record of an incident for the screen: its main figures on one page."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xdpwall.control import client, live
from xdpwall.errors import XdpwallError
from xdpwall.interface.cli.command import Settings
from xdpwall.interface.cli.units import bits, count, pps, share, size
from xdpwall.interface.tui.details import Details
from xdpwall.model import format_duration_ms

_EXPORT_SECONDS = 60.0


def incident_text(record: Mapping[str, Any]) -> Details:
    """When, how much, what kind, from where, what was done, and what is known."""
    totals = record.get("totals") or {}
    peak = f"peak {pps(record.get('peak_pps', 0))}, {bits(record.get('peak_bps', 0))}"
    dropped = share(totals.get("dropped_packets", 0), totals.get("packets", 0))
    lines = [
        _when(record),
        f"{peak}, {record.get('severity', 0):.1f} times the threshold",
        f"{count(totals.get('packets', 0))} packets ({size(totals.get('bytes', 0))})",
        f"dropped {dropped}, passed {count(totals.get('passed_packets', 0))}",
    ]
    lines += _section("what", [_vector(entry) for entry in record.get("vectors", ())])
    origin = record.get("origin") or {}
    lines += _section("from where", [_share(entry) for entry in origin.get("by_country", ())[:6]])
    lines += _section("networks", [_share(entry) for entry in origin.get("by_as", ())[:6]])
    bans = record.get("bans") or {}
    lines.append("")
    lines.append(f"bans: {count(bans.get('exact', 0))} sources, {count(bans.get('prefix', 0))} prefixes")
    lines += _section("what is known", list(record.get("verdict", ())))
    return Details(
        f"Incident {record.get('key', record.get('id'))} ({record.get('state')})", "\n".join(lines)
    )


def look_up(settings: Settings, key: str) -> Details:
    """The whole record of an incident, short. Asks the controller: run it in a thread.

    Raises:
        XdpwallError: it cannot be had.
    """
    return incident_text(_record(settings, key))


def _record(settings: Settings, key: str) -> dict[str, Any]:
    answer = client.call(settings.paths, "incident.show", id=key)
    found: dict[str, Any] = answer.get("incident", answer)
    return found


def _when(record: Mapping[str, Any]) -> str:
    began = record.get("first_packet_ms") or record.get("opened_ms") or 0
    ended = record.get("ended_ms")
    text = f"began {_time(began)}"
    return text + (
        f", ended {_time(ended)}, {format_duration_ms(max(1_000, ended - began))}"
        if ended
        else ", still open"
    )


def _section(title: str, rows: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {row}" for row in rows)] if rows else []


def _vector(entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['name']}: {count(entry.get('packets', 0))} packets, peak {pps(entry.get('peak_pps', 0))}"
        f" (sure to {entry.get('confidence', 0):.0%}) {entry.get('why', '')}".rstrip()
    )


def _share(entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['code']} {entry.get('name', '')}: {entry.get('share_packets', 0):.1%} of packets, "
        f"{count(entry.get('sources', 0))} sources"
    )


def _time(unix_ms: float) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def export(settings: Settings, key: str) -> str:
    """Write the report of an incident into the current folder, with the verb that does it. Run it in a thread.

    Raises:
        XdpwallError: the verb says why it cannot.
    """
    # --force: a report of before is of the same incident, and an open one goes on.
    argv = ["incident", "export", key, "--format", "html", "--to", str(Path.cwd()), "--force", "-o", "json"]
    done = subprocess.run(
        [*live.command(settings.paths), *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=_EXPORT_SECONDS,
    )
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    if done.returncode:
        why = (
            (answer.get("error") or {}).get("message")
            or done.stderr.strip()
            or f"exit code {done.returncode}"
        )
        raise XdpwallError(f"the report was not made: {why}")
    return f"the report is in {answer['path']}"
