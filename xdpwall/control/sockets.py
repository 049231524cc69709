# SPDX-License-Identifier: Apache-2.0
"""Tells the wall which ports of this host are open and whom it talks to, every few seconds.

The kernel is asked in a worker thread, and what it said is handed to the wall in slices: with 100,000 connections a
look takes a fifth of a second, and no tick waits for it. Connections that were known at the last look are told again
only now and then, to keep them fresh.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from xdpwall.clock import Clock
from xdpwall.control.health import Health
from xdpwall.dataplane.interface import Dataplane, Flow
from xdpwall.dataplane.keys import source_keys
from xdpwall.dataplane.sockets import ALL_PORTS, Survey
from xdpwall.detection.keys import Keys, no_keys, prefix_keys
from xdpwall.errors import XdpwallError

if TYPE_CHECKING:
    from xdpwall.config import Config

SLICE = 1_000
"""Flows handed over in one tick."""
AGAIN_MS = 60_000
"""A known flow is told again at least this often, so that it never looks older than those that come and go."""


Ports = tuple[frozenset[int], frozenset[int], frozenset[int]]
"""Open TCP ports, open UDP ports, doors for administrators (TCP)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One look, made ready in the thread: open ports, the flows to tell, the hashes of all flows, and their peers."""

    ports: Ports
    due: list[Flow]
    known: frozenset[int]
    peers: Keys


class SocketWatch:
    """The watch over this host's sockets.

    Args:
        look: reads the sockets; called in a thread.
        clock: monotonic time.
        health: told when the sockets cannot be read.
        submit: runs something in a thread.
    """

    def __init__(
        self,
        look: Callable[[Config], Survey],
        clock: Clock,
        health: Health,
        submit: Callable[[Callable[[], Found]], Future[Found]] | None = None,
    ) -> None:
        self._look = look
        self._clock = clock
        self._health = health
        self._submit = submit or in_thread
        self._wall: Dataplane | None = None
        self._running: Future[Found] | None = None
        self._next_ns = 0
        self._told: Ports | None = None
        self._known: frozenset[int] = frozenset()
        self._round = 0
        self._waiting: list[Flow] = []
        self.peers: Keys = no_keys()
        """Sources that this host has a connection with, or a UDP socket of its own, in order of their prefix's key."""

    def step(self, wall: Dataplane, config: Config) -> None:
        """Called in each tick: take what a look found, hand over a slice, begin the next look when it is due.

        Raises:
            DataplaneError: the wall could not be written.
        """
        if wall is not self._wall:
            self._forget(wall)
        if self._running is not None and self._running.done():
            done, self._running = self._running, None
            self._take(wall, config, done)
        if self._waiting:
            wall.note_flows(self._waiting[:SLICE])
            del self._waiting[:SLICE]
        now = self._clock.mono_ns()
        if self._running is None and now >= self._next_ns:
            self._next_ns = now + config.proof.refresh_ms * 1_000_000
            self._round += 1
            known, number = self._known, self._round
            self._running = self._submit(lambda: prepare(self._look(config), known, number, rounds(config)))

    def hurry(self) -> None:
        """Look again with the next tick: the configuration changed."""
        self._next_ns = 0

    def again(self) -> None:
        """Tell the wall of the ports again with the next look: its table was changed."""
        self._told, self._next_ns = None, 0

    def _forget(self, wall: Dataplane) -> None:
        """Another wall knows nothing."""
        self._wall = wall
        self._running = self._told = None
        self._known, self._waiting, self._next_ns = frozenset(), [], 0

    def _take(self, wall: Dataplane, config: Config, done: Future[Found]) -> None:
        try:
            found = done.result()
        except XdpwallError as error:
            # Not knowing who listens must not cost anybody a packet.
            self._health.set("sockets", f"{error.message}: every port counts as open")
            everything = frozenset(ALL_PORTS)
            self._tell_ports(wall, (everything, everything, frozenset(config.incident.admin_ports)))
            return
        self._health.clear("sockets")
        self._tell_ports(wall, found.ports)
        self._known = found.known
        self.peers = found.peers
        # What still waits from the last look goes first, unless it has ended meanwhile.
        self._waiting = [flow for flow in self._waiting if hash(flow) in found.known] + found.due

    def _tell_ports(self, wall: Dataplane, ports: Ports) -> None:
        if self._told != ports:
            wall.set_ports(*ports)
            self._told = ports


def rounds(config: Config) -> int:
    """In how many looks each known flow is told once more."""
    again = min(AGAIN_MS, config.proof.tcp_ms // 4, config.proof.udp_ms // 4)
    return max(1, again // config.proof.refresh_ms)


def prepare(survey: Survey, known: frozenset[int], number: int, of: int) -> Found:
    """Choose the flows to tell: new ones, and of those known the part whose turn it is.

    Args:
        survey: what a look gave.
        known: hashes of the flows of the look before.
        number: of this look.
        of: in how many looks each flow's turn comes.
    """
    hashes = [hash(flow) for flow in survey.flows]
    turn = number % of
    due = [
        flow for flow, key in zip(survey.flows, hashes, strict=True) if key not in known or key % of == turn
    ]
    ports = (frozenset(survey.tcp), frozenset(survey.udp), frozenset(survey.admin))
    return Found(ports, due, frozenset(hashes), peers_of(survey.flows))


def peers_of(flows: list[Flow]) -> Keys:
    """Source keys of the other ends, unique, in order of their prefix's key."""
    keys = [no_keys()]
    for width in (4, 16):
        addresses = list({flow.peer for flow in flows if len(flow.peer) == width})
        if addresses:
            keys.append(source_keys(addresses))
    found = np.unique(np.concatenate(keys))
    return found[np.argsort(prefix_keys(found), kind="stable")]


def in_thread(work: Callable[[], Found]) -> Future[Found]:
    """Run it in a thread that dies with the process: whatever the kernel does, the controller can end."""
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (handed to whoever takes the result)
            future.set_exception(error)

    Thread(target=run, name="sockets", daemon=True).start()
    return future
