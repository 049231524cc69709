# SPDX-License-Identifier: Apache-2.0
"""The wall's switch: off passes everything at once, on filters again. Nothing is detached, no map is touched.

Works on pins alone, whatever version loaded the wall and whoever holds its lock: first the intention is pinned (see
``dataplane.bypass``), then each interface's link is made to follow it, by one atomic exchange of its program. Whoever
dies in between leaves an intention, and the next to look finishes the work.
"""

from __future__ import annotations

import os

from xdpwall.dataplane import attach, bypass, sys_bpf
from xdpwall.dataplane.interface import OffState
from xdpwall.dataplane.pins import Pins, not_loaded
from xdpwall.errors import NotFoundError
from xdpwall.paths import Paths


def is_off(paths: Paths) -> bool:
    """Whether the wall of an instance was turned off."""
    return bypass.read(Pins(paths)) is not None


def turn_off(pins: Pins, state: OffState) -> list[str]:
    """Pass everything. On a wall that is off already, end and reason are those of now.

    Args:
        pins: of the wall.
        state: since when, until when, by whom.

    Returns:
        The interfaces whose packets pass now.

    Raises:
        NotLoadedError: there is no wall.
        KernelError: the kernel refused.
    """
    if not pins.exist():
        raise not_loaded(pins.root.name)
    known = bypass.read(pins)
    bypass.write(pins, state if known is None else state.began(known.since_ms))
    done = []
    for name in pins.interfaces():
        wall = sys_bpf.obj_get(pins.program(name))
        try:
            os.close(bypass.program(pins, name, wall, state, jumbo=_is_jumbo(name)))
        finally:
            os.close(wall)
        if bypass.follow(pins, name):
            done.append(name)
    return done


def turn_on(pins: Pins) -> bool:
    """Filter again. Gives whether the wall was off.

    Raises:
        NotLoadedError: there is no wall.
        KernelError: the kernel refused.
    """
    if not pins.exist():
        raise not_loaded(pins.root.name)
    was_off = bypass.forget(pins)
    for name in pins.interfaces():
        bypass.follow(pins, name)
    return was_off


def _is_jumbo(name: str) -> bool:
    try:
        return attach.needs_fragments(name)
    except NotFoundError:
        return False
