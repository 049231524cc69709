# SPDX-License-Identifier: Apache-2.0
"""Questions to the system that the test runs in, and the wire that its wall stands on. Standard library only."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wire

CONFIG = Path("/etc/xdpwall/xdpwall.toml")
PINS = Path("/sys/fs/bpf/xdpwall/default")
GOOD = 'interfaces = ["wan"]\n\n[bans]\ntime = "1h"\n'
BANS = 1_001
"""1,000 single addresses and one prefix."""


class TestError(Exception):
    """Something is not as it must be."""


def run(*argv: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, input=text)
    if check and done.returncode:
        raise TestError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def must(what: str, holds: object) -> None:
    """Fail unless it holds."""
    if not holds:
        raise TestError(what)


def wait(what: str, condition: Callable[[], object], seconds: float = 40.0) -> float:
    """Wait for it; gives how many milliseconds that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TestError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return (time.monotonic() - start) * 1000


def status() -> dict[str, Any]:
    """`xdpwall status -o json`."""
    found: dict[str, Any] = json.loads(run("xdpwall", "status", "-o", "json").stdout)
    return found


def property_of(unit: str, name: str) -> str:
    """A property of a unit."""
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def main_pid() -> int:
    """The controller's process."""
    return int(property_of("xdpwall.service", "MainPID"))


def answers(other_than: int = 0) -> bool:
    """Whether a controller answers, and is another process than the one named."""
    if main_pid() in (0, other_than):
        return False
    done = run("xdpwall", "status", "-o", "json", check=False)
    return done.returncode == 0 and bool(json.loads(done.stdout)["controller"]["running"])


def attached() -> bool:
    """Whether an XDP program is on the interface, asked of the kernel."""
    return "prog/xdp" in run("ip", "-d", "link", "show", "wan").stdout


def held() -> int:
    """Bans in force, single ones and prefixes."""
    return sum(status()["bans"][kind] for kind in ("exact", "prefix"))


def in_journal(**fields: str) -> list[dict[str, Any]]:
    """Lines of the controller that journald has, by fields of xdpwall's own."""
    wanted = [f"XDPWALL_{name}={value}" for name, value in fields.items()]
    lines = run("journalctl", "-b", "-q", "-o", "json", *wanted).stdout.splitlines()
    return [json.loads(line) for line in lines]


def plug_in() -> None:
    """A fresh wire between the guarded host and the attacker."""
    run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "att", "netns", "attacker")
    run("ip", "addr", "add", f"{wire.TARGET}/24", "dev", "wan")
    run("ip", "link", "set", "wan", "up")
    run("ip", "-n", "attacker", "link", "set", "att", "up")


def wait_for(action: Callable[[], object]) -> float:
    """How many milliseconds an action took."""
    started = time.monotonic()
    action()
    return (time.monotonic() - started) * 1000
