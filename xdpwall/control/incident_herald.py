# SPDX-License-Identifier: Apache-2.0
"""Says what happens to an incident: to the history, and to people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from xdpwall.clock import Clock
from xdpwall.control.database import Changes, Event
from xdpwall.control.incident_tables import summary
from xdpwall.control.logs import about
from xdpwall.control.notices import Notice, Notifier
from xdpwall.incident.model import Diversion, Incident
from xdpwall.incident.words import brief

log = logging.getLogger(__name__)

ESCALATES = 5.0
"""So many times worse than when people were told last is worth another message."""
CALM_MS = 30_000
"""But not sooner than this."""


class Herald:
    """Tells of one wall's incidents.

    Args:
        notifier: sends messages.
        record: takes lines of history.
        clock: both clocks.
    """

    def __init__(self, notifier: Notifier, record: Callable[[Changes], None], clock: Clock) -> None:
        self.notifier = notifier
        self._record = record
        self._clock = clock
        self._severity = 0.0
        self._told_ms = 0

    def opened(self, incident: Incident, why: str, severity: float) -> None:
        """It opened, or opened again; ``severity`` is how bad it is right now."""
        self.know(severity)
        again = "again" if len(incident.bursts) > 1 else "has opened"
        self._history("incident", f"{incident.key} {again}: {why}", incident)
        self._tell("open", incident, f"xdpwall: incident {incident.key} {again}: {why}")

    def know(self, severity: float) -> None:
        """People know that it is this bad."""
        self._severity, self._told_ms = severity, self._clock.wall_ms()

    def goes_on(self, incident: Incident) -> None:
        """Each second: is it so much worse that people must know?"""
        if incident.severity < ESCALATES * self._severity or self._clock.wall_ms() - self._told_ms < CALM_MS:
            return
        self.know(incident.severity)
        self._history("incident", f"{incident.key} got worse: {brief(incident)}", incident)
        # Not "about" the incident alone: each further step is news, too.
        self._tell("escalate", incident, f"xdpwall: incident {incident.key} got worse: {brief(incident)}")

    @staticmethod
    def goes_on_from_before(incident: Incident) -> None:
        """It was open when the controller went away."""
        text = f"incident {incident.key} was open and goes on"
        log.warning("%s", text, extra=about(event="incident", incident=incident.key))

    def closed(self, incident: Incident) -> None:
        """It is over."""
        self._history("incident", f"{incident.key} is over: {brief(incident)}", incident)
        self._tell("close", incident, f"xdpwall: incident {incident.key} is over: {brief(incident)}")

    def diversion(self, found: Diversion, incident: Incident | None) -> None:
        """Something quiet was found. While no incident is open it stands in the history, and nobody is woken."""
        self._history("diversion", f"{found.kind} {found.source}: {found.why}", incident, found.source)
        if incident is None:
            return
        data: dict[str, Any] = {
            "incident": incident.key,
            "kind": found.kind,
            "source": found.source,
            "at_ms": found.at_ms,
            "ports": list(found.ports),
            "targets": list(found.targets),
            "why": found.why,
        }
        title = f"xdpwall: under incident {incident.key}: {found.kind.replace('_', ' ')}, {found.source}"
        notice = Notice("diversion", f"{found.kind} {found.source}", title, found.why, data)
        self.notifier.tell(notice, self._clock.mono_ns())

    def _history(self, event: str, detail: str, incident: Incident | None, source: str | None = None) -> None:
        """To the record, and to the log: that is for whoever looks, whatever messages are sent."""
        key = None if incident is None else incident.key
        level = logging.INFO if incident is None else logging.WARNING
        log.log(level, "%s: %s", event, detail, extra=about(event=event, incident=key, source=source))
        self._record(Changes(events=(Event(self._clock.wall_ms(), event, None, "auto", detail),)))

    def _tell(self, moment: str, incident: Incident, title: str) -> None:
        about = f"{incident.key} {round(self._severity)}" if moment == "escalate" else incident.key
        notice = Notice(moment, about, title, "\n".join(incident.verdict), summary(incident))
        self.notifier.tell(notice, self._clock.mono_ns())
