# SPDX-License-Identifier: Apache-2.0
"""The middle of the system test: the machine goes off with everything running, and comes on.

Between the two boots the caller takes all BPF objects away, as a power cycle does: pins, programs, maps. What is left
is the disk. `python reboot.py` is a unit of the test, the network of the machine: it makes the interface that the wall
waits for.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from host import BANS, answers, attached, held, must, plug_in, property_of, run, wait

Said = tuple[list[str], list[str]]
"""Rows and notes of the table."""


def said_before(folder: Path) -> Said | None:
    """What the run before the machine went off had to say; None when there was none."""
    kept = folder / "said.json"
    if not kept.exists():
        return None
    rows, notes = json.loads(kept.read_text())
    return rows, notes


def before(test: Any) -> None:
    """The wall stands, its bans too, and the flood is on: now off."""
    must("the wall is up before the machine goes off", attached() and held() == BANS)
    (test.folder / "said.json").write_text(json.dumps([test.rows, test.notes]))


def after(test: Any) -> None:
    """The machine is on again: the wall stood before anything was online, and has its bans."""
    up, online = _entered("xdpwall-load.service"), _entered("network-online.target")
    must("the machine is online", online)
    must(f"the wall went up before the network was online: {up} and {online}", 0 < up <= online)
    must("the wall is on its interface", attached())
    began = int(run("systemctl", "show", "-P", "UserspaceTimestampMonotonic").stdout)
    # A flood has begun already. Bans are in the record, and it is the controller who brings them back. The service
    # behind the wall began to listen with this test: until the controller has looked, its port counts as closed.
    with test.event("machine off and on, nobody acts", leaks=True) as row:
        wait("the controller answers", answers)
        wait("the bans are back", lambda: held() == BANS)
        wait("honest packets pass", lambda: _all_pass(test))
        row.append(f"{(up - began) // 1000}")
        row.append(f"of boot until the wall was up; online after {(online - began) // 1000}")
    with test.event("after it"):
        time.sleep(1.0)


def _all_pass(test: Any) -> bool:
    before = test.figures()
    time.sleep(0.5)
    _, _, sent, arrived = (b - a for a, b in zip(before, test.figures(), strict=True))
    return sent > 0 and arrived >= sent * 0.95


def _entered(unit: str) -> int:
    """When it became active, microseconds of the monotonic clock; 0: it is not."""
    return int(property_of(unit, "ActiveEnterTimestampMonotonic") or 0)


if __name__ == "__main__":
    run("ip", "netns", "add", "attacker")
    plug_in()
