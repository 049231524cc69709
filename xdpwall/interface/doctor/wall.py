# SPDX-License-Identifier: Apache-2.0
"""Checks of our own wall."""

from __future__ import annotations

from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import Host


def loaded(host: Host) -> Finding:
    """Whether it stands, and everywhere it should."""
    wall = host.wall
    name = host.instance
    option = "" if name == "default" else f" --instance {name}"
    if host.hidden:
        return note("whether a wall is loaded is unknown", "Only root may see the pins.", "run it as root")
    if wall is None:
        return note(
            f"the wall {name!r} is not loaded", "Nothing is dropped.", f"xdpwall{option} load -i INTERFACE"
        )
    if wall.fault:
        return problem(
            f"the wall {name!r} cannot be read",
            wall.fault,
            f"xdpwall{option} unload, then load again: its bans are on record and come back",
        )
    off = [entry.name for entry in wall.interfaces if not entry.attached]
    if off:
        return problem(
            f"the wall {name!r} does not stand on {', '.join(off)}",
            "Packets pass there unseen.",
            f"bring the interface back and run the controller (`xdpwall{option} run`), or xdpwall{option} load again",
        )
    where = ", ".join(entry.name for entry in wall.interfaces) or "no interface"
    return ok(f"the wall {name!r} stands on {where}")


def up_to_date(host: Host) -> Finding | None:
    """Whether it was compiled from the config that is there now."""
    wall = host.wall
    if wall is None or wall.fault or host.config is None:
        return None
    if wall.config_digest == host.config.dataplane_digest():
        return ok("the loaded wall is what the config says")
    option = "" if host.instance == "default" else f" --instance {host.instance}"
    return warning(
        "the config has changed since the wall was loaded",
        f"Keys that are compiled in (policy, checks, capacities) are not in force as {host.config_path} says.",
        f"xdpwall{option} load, with the same -c: it swaps the program without a gap",
    )


def controller(host: Host) -> Finding | None:
    """Whether somebody watches."""
    if host.wall is None:
        return None
    if host.controller_pid:
        return ok(f"the controller runs (pid {host.controller_pid})")
    option = "" if host.instance == "default" else f" --instance {host.instance}"
    return warning(
        "no controller runs",
        "What is banned stays banned, but nobody new is banned automatically.",
        f"xdpwall{option} run",
    )


def other_walls(host: Host) -> Finding | None:
    """Walls of other instances, so that nobody is surprised."""
    others = sorted(wall.instance for wall in host.standing if wall.instance != host.instance)
    if not others:
        return None
    return note(
        f"there are walls of other instances: {', '.join(others)}",
        "A lab's wall lives in namespaces of its own, and is gone when the lab is.",
        f"nothing; or look at it with xdpwall --instance {others[0]} status",
    )
