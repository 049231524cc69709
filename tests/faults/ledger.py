# SPDX-License-Identifier: Apache-2.0
"""What was lost in each fault: the table of docs/guide/faults.md is made from this."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Loss:
    """One row. ``leaked``: packets of banned sources that came through, of ``sent``."""

    fault: str
    sent: int = 0
    leaked: int = 0
    bans: int = 0
    records: int = 0
    recovery_ms: int | None = None
    note: str = ""


class Ledger:
    """Writes rows as JSON lines; nowhere without a path (``XDPWALL_FAULTS_TABLE``)."""

    def __init__(self, path: str | None) -> None:
        self._path = None if not path else Path(path)

    def put(self, loss: Loss) -> None:
        """Note one row."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                print(json.dumps(asdict(loss)), file=file)


class Stopwatch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def ms(self) -> int:
        """So far."""
        return round((time.monotonic() - self._start) * 1000)
