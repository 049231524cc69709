# SPDX-License-Identifier: Apache-2.0
"""Every check by name: what it is about, and whether people are to be told of it at once.

The names are labels of metrics and stand in ``status``, so none is ever made from what comes in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``alarm``: while it fails an attack may come through, or users may be cut off."""

    about: str
    alarm: bool = False


CHECKS: dict[str, Check] = {
    "wall": Check("a wall is loaded, can be opened, and says what its load wrote down", alarm=True),
    "attached": Check("the wall runs on each interface, and nobody else's program does", alarm=True),
    "program": Check("the program on each interface is the one that the load put there", alarm=True),
    "stages": Check("the programs that the wall goes on in are there", alarm=True),
    "mode": Check("native mode is kept"),
    "mtu": Check("the program was made for frames of this size"),
    "egress": Check("what this host sends is listened to"),
    "path": Check("packets that come in go through the wall", alarm=True),
    "sums": Check("the wall's counters agree with each other"),
    "bans": Check("the kernel's bans are those on record, and each of them works"),
    "allow": Check("the kernel's allowlist is the one on record"),
    "own": Check("the kernel knows this host's addresses"),
    "budgets": Check("budgets and ports are as they were written"),
    "rules": Check("fingerprint rules are as they were written"),
    "tick": Check("the wall can be read and written", alarm=True),
    "reconcile": Check("kernel and record can be compared"),
    "writes": Check("the kernel takes what is written"),
    "fill": Check("tables have room"),
    "rings": Check("samples and quiet events arrive"),
    "clock": Check("the kernel's ticks and the clocks go as they should", alarm=True),
    "lag": Check("ticks are in time"),
    "nic": Check("the network card takes in what comes"),
    "softnet": Check("the kernel takes in what the card hands it"),
    "queue": Check("the outgoing queues have room"),
    "link": Check("the line has room", alarm=True),
    "store": Check("the database can be written"),
    "digest": Check("the loaded data path was compiled from this configuration"),
    "trial": Check("no configuration waits to be confirmed"),
    "cap": Check("automatic bans are not held back"),
    "sockets": Check("this host's sockets can be read"),
    "cookies": Check("SYN cookies can be sent when needed"),
    "notices": Check("messages are delivered"),
    "incidents": Check("incidents are recorded"),
    "metrics": Check("metrics are served"),
    "readers": Check("the group of readers has the socket"),
    "protect": Check("the wall knows whom this host must not cut off"),
    "innocents": Check("nobody whom this host talks to is over a limit"),
    "off": Check("the wall is on"),
    "switch": Check("the wall can be turned off and on"),
    "load": Check("the last load or unload came to its end"),
    "bug": Check("no tick met a bug"),
    "other": Check("all else"),
}


def known(check: str) -> str:
    """The name itself, or ``other`` for one that is not in the list: labels are bounded."""
    return check if check in CHECKS else "other"
