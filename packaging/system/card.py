# SPDX-License-Identifier: Apache-2.0
"""The wall in native mode on a real card, while somebody at the other end floods: what was dropped, what got through.

`python card.py INTERFACE` says it for a wall that is loaded there (standard library only, and the installed command).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import wire

_SYS = Path("/sys/class/net")


def run(*argv: str) -> str:
    """Run a command; its output. What it says on stderr is shown.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def rx_interrupts(name: str) -> list[int]:
    """Interrupts of each receive queue of a virtio card, of all CPUs together."""
    device = (_SYS / name / "device").resolve().name
    counts = []
    for line in Path("/proc/interrupts").read_text().splitlines():
        if re.search(rf"{device}-input\.\d+$", line):
            counts.append(sum(int(word) for word in line.split()[1:] if word.isdigit()))
    return counts


def watch(
    name: str,
    xdpwall: Sequence[str],
    *,
    queues_at_work: int = 1,
    seconds: float = 5.0,
    flood: Callable[[bool], None] = lambda _: None,
) -> str:
    """Ban the flood's sources, look for a while, and give what was seen.

    Args:
        name: the interface; the wall is on it.
        xdpwall: the command.
        queues_at_work: how many receive queues must have taken packets, at least.
        seconds: how long to look.
        flood: turns it on and off; one that nobody turns off is on all the time.

    Raises:
        SystemExit: not native, something leaked, or nothing came.
    """
    found = json.loads(run(*xdpwall, "status", "-o", "json"))
    (mode,) = (entry["mode"] for entry in found["interfaces"] if entry["name"] == name)
    if mode != "native":
        raise SystemExit(f"{name} is in {mode} mode")
    run(*xdpwall, "ban", "add", f"{wire.BANNED_NET}0/24", "--for", "1h")
    time.sleep(0.5)  # what was let through before the ban is on its way
    behind, before, start = wire.Behind(name), rx_interrupts(name), _dropped(xdpwall)
    flood(True)
    time.sleep(seconds)
    flood(False)
    leaked, honest, dropped = behind.flood + behind.overrun(), behind.honest, _dropped(xdpwall) - start
    at_work = sum(b > a for a, b in zip(before, rx_interrupts(name), strict=True))
    queues = len(list((_SYS / name / "queues").glob("rx-*")))
    seen = f"{dropped} dropped, {leaked} leaked, {honest} honest passed; {at_work} of {queues} receive queues at work"
    if leaked or not honest or dropped < 100 or at_work < queues_at_work:
        raise SystemExit(f"on {name}: {seen}")
    return f"{mode} mode on {name}: {seen}"


def _dropped(xdpwall: Sequence[str]) -> int:
    return int(json.loads(run(*xdpwall, "status", "-o", "json"))["totals"]["dropped_packets"])


if __name__ == "__main__":
    print(watch(sys.argv[1], ("xdpwall",), seconds=10.0))
