# SPDX-License-Identifier: Apache-2.0
"""What must hold after a fault, asked of the kernel and of the verbs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lab.traffic import Field, wait_for
from xdpwall.control import offline
from xdpwall.dataplane import egress, rtlink
from xdpwall.dataplane.pins import Pins
from xdpwall.errors import NoControllerError
from xdpwall.lab import namespaces
from xdpwall.lab.flood import Flood
from xdpwall.lab.topology import Lab
from xdpwall.model import Prefix

BANNED, WIDE, SIX = "203.0.113.9", "45.83.7.0/24", "2001:db8:1::/64"
FREE = "192.0.2.77"


def programs(lab: Lab) -> dict[str, int]:
    """Id of the XDP program on each interface of the wall, 0 for none."""
    names = [link.host.ifname for link in lab.wall_links]

    def work() -> dict[str, int]:
        found = rtlink.links()
        return {name: found[name].program_id for name in names if name in found}

    return namespaces.inside(lab.namespace("wall"), work)


def filters(lab: Lab) -> dict[str, int]:
    """How many filters of ours each interface has on its egress."""

    def work() -> dict[str, int]:
        return {
            name: len(egress.ours_by_netlink(facts.index))
            for name, facts in rtlink.links().items()
            if name.startswith("wan")
        }

    return namespaces.inside(lab.namespace("wall"), work)


def nothing_left(lab: Lab) -> None:
    """No program, filter or pin is left of the wall."""
    assert set(programs(lab).values()) == {0}
    assert set(filters(lab).values()) == {0}
    pins = Pins(lab.paths)
    assert not pins.root.exists()
    assert not pins.staging.exists()


def whole(lab: Lab) -> None:
    """The wall stands on both interfaces, all of it of one load, and nothing says otherwise."""
    status = offline_status(lab)
    assert [entry["attached"] for entry in status["interfaces"]] == [True, True]
    complaints = [text for text in status["problems"] if "no controller runs" not in text]
    assert complaints == []
    assert {entry["name"]: entry["program_id"] for entry in status["interfaces"]} == programs(lab)
    assert set(filters(lab).values()) == {1}
    pins = Pins(lab.paths)
    assert not pins.unfinished.exists()
    assert not pins.staging.exists()
    assert not [pin for pin in pins.root.rglob("*") if "%new" in pin.name]


def offline_status(lab: Lab) -> dict[str, Any]:
    """What `status` says without a controller."""
    return namespaces.inside(lab.namespace("wall"), lambda: offline.call(lab.paths, "status"))


def alive(lab: Lab) -> bool:
    """Whether a controller answers."""
    try:
        return bool(lab.ask("ping"))
    except NoControllerError:
        return False


def problems(lab: Lab) -> str:
    """What the controller says is wrong."""
    return "\n".join(lab.ask("status")["problems"])


def wait_for_problem(lab: Lab, text: str) -> None:
    """Wait until the controller's status tells of this."""
    wait_for(lambda: text in problems(lab), f"status says {text!r}; it says {problems(lab)!r}")


def wait_until_well(lab: Lab, text: str) -> None:
    """Wait until the controller's status does not tell of this any more."""
    wait_for(lambda: text not in problems(lab), f"status no longer says {text!r}")


def said(lab: Lab) -> str:
    """The controller's log."""
    return (lab.folder / "controller.log").read_text()


def bans(lab: Lab) -> set[str]:
    """What `ban list` shows, with a controller or without."""
    done = lab.wall("ban", "list", "-o", "json")
    return {row["prefix"] for row in json.loads(done.stdout)["bans"]}


def address(prefix: str) -> str:
    """One source in it."""
    return Prefix.parse(prefix).address


@contextmanager
def flooded(field: Field, addresses: list[str], *, link: int = 0) -> Iterator[Flood]:
    """A small flood for as long as the block takes, be it minutes."""
    attack = field.flood(addresses, pps=1_000, seconds=1_000.0, link=link)
    attack.go()
    wait_for(lambda: attack.latest().sent > 0, "the flood begins")
    yield attack
    attack.finish()
