# SPDX-License-Identifier: Apache-2.0
"""Puts the parts of incidents together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.database import Changes
from xdpwall.control.guard import Guard
from xdpwall.control.incident_archive import Archive
from xdpwall.control.incident_evidence import Evidence
from xdpwall.control.incident_herald import Herald
from xdpwall.control.incident_rules import diversion_rules
from xdpwall.control.incident_sources import SourceDesk
from xdpwall.control.incident_watch import Watchman
from xdpwall.control.incidents import Incidents
from xdpwall.control.notices import Notifier
from xdpwall.control.observed import Observed
from xdpwall.control.store import Store
from xdpwall.incident.faces import Attributor
from xdpwall.model import Prefix
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)


def build(
    config: Config,
    store: Store,
    clock: Clock,
    book: Book,
    guard: Guard,
    observed: Observed,
    *,
    record: Callable[[Changes], None],
    paths: Paths | None,
) -> Incidents:
    """The incidents of one wall.

    Args:
        config: the configuration in force.
        store: where records go.
        clock: both clocks.
        book: bans that stand.
        guard: whose packets are never an attack.
        observed: what only observes, and would have dropped.
        record: takes lines of history and settings.
        paths: the instance, for samples and origins; None: neither.
    """

    def attributor() -> Attributor | None:
        from xdpwall.incident.origin_open import Origins  # noqa: PLC0415  (megabytes, needed only in an incident)

        return None if paths is None else Origins(paths, config.geo.country_file, config.geo.network_file)

    def is_banned(source: Prefix) -> bool:
        return book.covering(source, clock.wall_ms()) is not None

    def is_spared(address: bytes) -> bool:
        return guard.allowed_by(Prefix(address, len(address) * 8)) is not None

    desk = SourceDesk(clock, attributor, is_banned)
    return Incidents(
        config,
        clock,
        archive=Archive(store),
        evidence=Evidence(config, clock, desk, book, None if paths is None else paths.state),
        watchman=Watchman(diversion_rules(config), clock, is_spared),
        herald=Herald(Notifier(config.notify), record, clock),
        observed=observed,
        record=record,
    )
