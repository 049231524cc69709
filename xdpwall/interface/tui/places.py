# SPDX-License-Identifier: Apache-2.0
"""Country and network of the rows on the screen. Looked up here: the controller's memory is for the wall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdpwall.errors import XdpwallError
from xdpwall.paths import Paths

if TYPE_CHECKING:
    from xdpwall.incident.faces import Place

_MOST = 20_000


class Places:
    """Remembers what was looked up. Used from one thread.

    Args:
        paths: the instance, whose own database may be newer than the shipped one.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._known: dict[str, Place] = {}
        self._files: tuple[str, str] = ("", "")
        self.fault: str | None = None
        """Why nothing is known any more."""

    def fill(self, answer: dict[str, Any]) -> None:
        """Write ``country``, ``asn`` and ``as_name`` into each source of an answer where they are known."""
        geo = answer.get("geo") or {}
        files = (geo.get("database", ""), geo.get("asn_database", ""))
        if files != self._files:
            self._files, self.fault = files, None
            self._known.clear()
        rows = answer.get("sources") or []
        new = [row["source"] for row in rows if row["source"] not in self._known]
        if new and self.fault is None:
            self._look_up(new)
        for row in rows:
            place = self._known.get(row["source"])
            if place is not None:
                found = {"country": place.country, "asn": place.asn, "as_name": place.as_name}
                row.update({key: value for key, value in found.items() if value is not None})

    def _look_up(self, sources: list[str]) -> None:
        from xdpwall.incident.origin_open import Origins  # noqa: PLC0415  (brings numpy)

        if len(self._known) > _MOST:
            self._known.clear()
        country, network = (Path(name) if name else None for name in self._files)
        try:
            # A banned prefix stands for its first address.
            found = Origins(self._paths, country, network).places([name.split("/")[0] for name in sources])
        except XdpwallError as error:
            self.fault = error.message
            return
        self._known.update(zip(sources, found, strict=True))
