# SPDX-License-Identifier: Apache-2.0
"""Keeps hold of the wall: opens it, notices when it was loaded anew or unloaded, puts it back on interfaces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable

from xdpwall.clock import Clock
from xdpwall.control import views
from xdpwall.control.database import Changes, Event
from xdpwall.control.desk import Desk
from xdpwall.control.health import Health
from xdpwall.dataplane.interface import Dataplane, InterfaceState, WallInfo
from xdpwall.errors import DataplaneError, NotLoadedError, XdpwallError
from xdpwall.model import Prefix

log = logging.getLogger(__name__)

_OF_ONE_WALL = ("attached", "attached look", "mode generic", "own", "reconcile", "tick", "digest")
"""Problems that go with the wall that they were seen on."""


class Keeper:
    """The wall of an instance, as long as there is one.

    Args:
        desk: holds the wall for everybody.
        health: told what is wrong with it.
        clock: Unix time.
        record: takes lines of history.
        opener: opens the wall. Raises NotLoadedError while there is none.
        fingerprint: something that differs once the wall was loaded anew.
        fill: called with a wall that was opened again: it may hold nothing.
        lost: called when a wall was let go.
    """

    def __init__(
        self,
        desk: Desk,
        health: Health,
        clock: Clock,
        *,
        record: Callable[[Changes], None],
        opener: Callable[[], Dataplane],
        fingerprint: Callable[[], Hashable],
        fill: Callable[[Dataplane], None],
        lost: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._health = health
        self._clock = clock
        self._record = record
        self._opener = opener
        self._fingerprint = fingerprint
        self._fill = fill
        self._lost = lost
        self._seen: Hashable = None
        self._loaded_ms = 0
        self._own: frozenset[Prefix] = frozenset()
        self._bare: set[str] = set()
        self._vanished: set[str] = set()
        self._stuck: dict[str, str] = {}
        self.info: WallInfo | None = None
        """What the wall says of itself; None while there is none."""
        self.interfaces: tuple[InterfaceState, ...] = ()
        """Its interfaces, as of the last look."""

    def open(self) -> Dataplane:
        """Open the wall for the first time.

        Raises:
            NotLoadedError: there is none.
            DataplaneError: it cannot be opened.
        """
        self._seen = self._fingerprint()
        wall = self._opener()
        self._desk.wall, self.info = wall, wall.info
        self._loaded_ms = self.info.loaded_ms
        return wall

    def close(self) -> None:
        """Let go of the wall. It stays up."""
        wall, self._desk.wall = self._desk.wall, None
        self.info, self.interfaces = None, ()
        for name in _OF_ONE_WALL:
            self._health.clear(name)
        self._lost()
        if wall is not None:
            wall.close()

    def distrust(self) -> None:
        """Something was amiss with the wall: open it anew at the next look."""
        self._seen = None

    def look(self, wanted: Iterable[str]) -> None:
        """Once a second: is it still the same wall, and does it stand where it should?

        Args:
            wanted: names of the interfaces in the configuration.
        """
        self._look_at_wall()
        self._look_at_interfaces(wanted)

    def set_own_addresses(self, own: frozenset[Prefix]) -> None:
        """Tell the kernel this host's addresses, now and whenever the wall is opened."""
        self._own = own
        if self._desk.wall is None:
            return
        try:
            self._desk.wall.set_own_addresses(own)
            self._health.clear("own")
        except DataplaneError as error:
            self._health.set("own", f"the kernel was not told this host's addresses: {error.message}")

    def _look_at_wall(self) -> None:
        try:
            seen = self._fingerprint()
            if self._desk.wall is not None and seen == self._seen:
                return
            self.close()
            wall = self._opener()
            self._desk.wall, info = wall, wall.info
        except NotLoadedError:
            self._health.set("wall", "no wall is loaded: nothing is filtered; `xdpwall load` puts it up")
            return
        except XdpwallError as error:
            self.close()
            self._health.set("wall", f"the wall cannot be opened: {error.message}")
            return
        self._seen, self.info = seen, info
        self._health.clear("wall")
        if info.loaded_ms != self._loaded_ms:  # maps and programs of one load are pinned one after the other
            self._loaded_ms = info.loaded_ms
            log.warning("the wall was loaded anew, with policy %s, and is opened again", info.policy)
            self._tell("load", f"policy {info.policy}")
        self._fill(wall)
        self.set_own_addresses(self._own)

    def _look_at_interfaces(self, wanted: Iterable[str]) -> None:
        wall = self._desk.wall
        if wall is None:
            return
        try:
            self.interfaces = tuple(wall.interfaces())
            self._health.clear("attached look")
            bare = {state.name for state in self.interfaces if state.ifindex and not state.attached}
            for name in sorted(bare & (self._bare | self._vanished)):
                # It came back, or was seen bare twice. Once is not enough: an `unload` may be at work.
                self._reattach(wall, name)
        except DataplaneError as error:
            self._health.set("attached look", f"the interfaces cannot be looked at: {error.message}")
            return
        self._bare = bare
        self._vanished = {state.name for state in self.interfaces if not state.ifindex}
        there = {state.name for state in self.interfaces}
        self._stuck = {name: text for name, text in self._stuck.items() if name in bare}
        troubles = views.interface_troubles(self.interfaces) | self._stuck
        troubles |= {
            name: f"{name}: the configuration names it, but no wall stands there; `xdpwall load` puts it up"
            for name in wanted
            if name not in there
        }
        self._health.report("attached", troubles)
        self._health.report("mode generic", views.mode_troubles(self.interfaces))

    def _reattach(self, wall: Dataplane, name: str) -> None:
        try:
            if not wall.reattach(name):
                return
        except XdpwallError as error:
            hint = f": {error.hint}" if error.hint else ""
            self._stuck[name] = f"{name}: the wall cannot be put up again: {error.message}{hint}"
            return
        exchanged = next((state.program_id for state in self.interfaces if state.name == name), 0)
        if exchanged:
            self._health.mended("program", f"{name}: program {exchanged} ran there in the place of ours")
        else:
            log.warning("%s came back: the wall is up there again", name)
            self._health.mended("attached", f"{name}: the wall is up there again")
        self._tell("interface", f"{name} came back")
        self.interfaces = tuple(wall.interfaces())
        self.pins_changed()

    def pins_changed(self) -> None:
        """The pins are others now, but that was us: it is the same wall."""
        self._seen = self._fingerprint()

    def hold_own(self) -> bool:
        """Hold the kernel to this host's addresses. Gives whether it had others; not before they are known.

        Raises:
            DataplaneError: it cannot be asked.
        """
        return (
            bool(self._own) and self._desk.wall is not None and self._desk.wall.set_own_addresses(self._own)
        )

    def _tell(self, event: str, detail: str) -> None:
        self._record(Changes(events=(Event(self._clock.wall_ms(), event, None, "", detail),)))
