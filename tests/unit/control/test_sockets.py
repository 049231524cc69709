# SPDX-License-Identifier: Apache-2.0
"""The watch over this host's sockets: what it tells the wall, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control.health import Health
from xdpwall.control.sockets import SLICE, Found, SocketWatch, in_thread, rounds
from xdpwall.dataplane.fake import FakeWall
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.sockets import ALL_PORTS, Survey
from xdpwall.detection.keys import no_keys
from xdpwall.errors import KernelError

CONFIG = Config()
REFRESH = CONFIG.proof.refresh_ms


def flow(number: int) -> Flow:
    return Flow(
        6, bytes([192, 0, 2, 1]), 443, bytes([198, 51, number >> 8 & 255, number & 255]), 1024 + number
    )


class Host:
    """A host whose sockets are made up, and the watch over it. Each look is done at once, unless it is held."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = Health()
        self.wall = FakeWall(self.clock)
        self.tcp = {22}
        self.udp = {53}
        self.flows: list[Flow] = []
        self.fault: KernelError | None = None
        self.looks = 0
        self.held: list[Callable[[], None]] | None = None
        self.watch = SocketWatch(self._look, self.clock, self.health, self._submit)

    def _look(self, _: Config) -> Survey:
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return Survey(set(self.tcp), set(self.udp), {22}, list(self.flows))

    def _submit(self, work: Callable[[], Found]) -> Future[Found]:
        future: Future[Found] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except KernelError as error:
                future.set_exception(error)

        if self.held is None:
            run()
        else:
            self.held.append(run)
        return future

    @property
    def told(self) -> tuple[set[int], set[int]] | None:
        """TCP and UDP ports that the wall was told of."""
        if self.wall.ports is None:
            return None
        tcp, udp, admin = self.wall.ports
        assert admin >= {22}
        return set(tcp), set(udp)

    def live(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 100):
            self.watch.step(self.wall, CONFIG)
            self.clock.advance_ms(100)


def test_ports_and_flows_are_told_at_once() -> None:
    host = Host()
    host.flows = [flow(1), flow(2)]
    host.live(200)
    assert host.told == ({22}, {53})
    assert host.wall.flows == {flow(1): 1, flow(2): 1}


def test_a_change_is_told_after_one_refresh() -> None:
    host = Host()
    host.live(200)
    host.tcp, host.udp, host.flows = {22, 443}, set(), [flow(3)]
    host.live(REFRESH + 200)
    assert host.told == ({22, 443}, set())
    assert host.wall.flows == {flow(3): 1}


def test_a_reload_makes_it_look_at_once() -> None:
    host = Host()
    host.live(200)
    host.tcp = {8080}
    host.watch.hurry()
    host.live(200)
    assert host.told == ({8080}, {53})


def test_it_looks_as_often_as_it_should() -> None:
    host = Host()
    host.live(10 * REFRESH)
    assert host.looks == 10


def test_a_tick_never_waits_and_looks_do_not_pile_up() -> None:
    host = Host()
    host.held = []
    host.live(5 * REFRESH)
    assert host.looks == 0
    assert len(host.held) == 1
    assert host.told is None
    host.held.pop()()
    host.live(200)
    assert host.told == ({22}, {53})


def test_many_flows_are_told_in_slices() -> None:
    host = Host()
    host.flows = [flow(number) for number in range(3 * SLICE)]
    told = []
    for _ in range(6):
        host.live(100)
        told.append(len(host.wall.flows))
    assert told == [0, SLICE, 2 * SLICE, 3 * SLICE, 3 * SLICE, 3 * SLICE]


def test_a_known_flow_is_told_again_now_and_then() -> None:
    """Each of them once in every round, no more: so that it stays fresh, at little cost."""
    host = Host()
    host.flows = [flow(number) for number in range(500)]
    host.live(400)
    assert set(host.wall.flows.values()) == {1}
    every = rounds(CONFIG)
    assert every > 1
    host.live(every * REFRESH)
    assert min(host.wall.flows.values()) >= 2
    assert max(host.wall.flows.values()) <= 3


def test_a_flow_that_ended_while_it_waited_is_not_told() -> None:
    host = Host()
    host.flows = [flow(number) for number in range(3 * SLICE)]
    host.live(200)
    assert len(host.wall.flows) == SLICE
    host.flows = []
    host.watch.hurry()
    host.live(1_000)  # one more slice goes out in the tick that begins the look
    assert len(host.wall.flows) == 2 * SLICE


def test_another_wall_is_told_everything() -> None:
    host = Host()
    host.flows = [flow(1)]
    host.live(300)
    host.wall = FakeWall(host.clock)
    host.live(300)
    assert host.told == ({22}, {53})
    assert host.wall.flows == {flow(1): 1}


def test_when_sockets_cannot_be_read_every_port_is_open() -> None:
    host = Host()
    host.live(200)
    host.fault = KernelError("list the TCP sockets", 2)
    host.live(REFRESH + 200)
    assert host.told == (set(ALL_PORTS), set(ALL_PORTS))
    assert "every port counts as open" in "\n".join(host.health.problems)
    host.fault = None
    host.live(REFRESH + 200)
    assert host.told == ({22}, {53})
    assert host.health.problems == []


def test_a_bug_in_the_thread_is_not_hidden() -> None:
    def broken() -> Found:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_thread(broken).result(10)


def test_the_thread_is_another_one() -> None:
    seen: list[threading.Thread] = []

    def work() -> Found:
        seen.append(threading.current_thread())
        return Found((frozenset(), frozenset(), frozenset()), [], frozenset(), no_keys())

    in_thread(work).result(10)
    assert seen[0] is not threading.current_thread()
    assert seen[0].daemon
