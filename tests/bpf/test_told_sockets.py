# SPDX-License-Identifier: Apache-2.0
"""What Python tells the wall of this host's sockets: ports that nobody listens on, flows that were there before."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.bpf.packets import (
    ACK,
    SOURCE4,
    SOURCE6,
    SYN,
    TARGET4,
    TARGET6,
    TCP,
    UDP,
    frame4,
    frame6,
    packed,
    tcp,
    udp,
)
from tests.bpf.scene import DROP, PASS, Outcome, Probe, config, loaded, scene
from xdpwall.config import Config
from xdpwall.dataplane.interface import Flow
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason


def tight(**changes: object) -> Config:
    """Lanes that are over budget after a few packets."""
    few = {"pps": 20}
    return config(lanes={**dict.fromkeys(("syn", "tcp", "udp", "closed"), few), **changes})


@pytest.fixture(scope="module")
def place(kernel: None) -> Iterator[Probe]:
    with loaded(tight()) as probe:
        yield probe


def exhaust(probe: Probe, packet: bytes) -> None:
    """Until there is nothing left of its lane."""
    probe.push(packet, 2_000)


def over_budget(probe: Probe, packet: bytes) -> set[Outcome]:
    """What becomes of a packet above the budget. The budget goes on filling: what that lets pass does not count."""
    exhaust(probe, packet)
    return {probe.run(packet) for _ in range(20)} - {(PASS, Reason.PASS)}


@pytest.mark.parametrize("version", [4, 6])
def test_a_noted_connection_passes_above_the_budget(place: Probe, version: int) -> None:
    frame, peer, local = (frame4, SOURCE4, TARGET4) if version == 4 else (frame6, SOURCE6, TARGET6)
    flow = Flow(TCP, packed(local), 443, packed(peer), 40_000)
    stranger = frame(tcp(ACK, sport=40_001), TCP)
    known = frame(tcp(ACK), TCP)
    place.wall.set_ports({443}, {53})
    assert over_budget(place, stranger) == {(DROP, Reason.LANE_TCP)}
    assert over_budget(place, known) == {(DROP, Reason.LANE_TCP)}
    assert place.wall.note_flows([flow]) == 1
    before = place.wall.lanes()[Lane.TCP]
    assert over_budget(place, known) == {(PASS, Reason.PASS_FLOW)}
    assert over_budget(place, stranger) == {(DROP, Reason.LANE_TCP)}
    after = place.wall.lanes()[Lane.TCP]
    told = after.known.packets - before.known.packets
    assert 1_900 < told <= 2_020  # all but what the gate let in
    assert after.known.bytes - before.known.bytes == told * len(known)
    assert after.asking.packets - before.asking.packets == 4_040 - told
    # Other ports, the other way round, another protocol: other flows.
    for other in (tcp(ACK, dport=444), tcp(ACK, sport=443, dport=40_000)):
        assert place.run(frame(other, TCP)).reason is not Reason.PASS_FLOW


@pytest.mark.parametrize("version", [4, 6])
def test_a_noted_peer_may_answer(place: Probe, version: int) -> None:
    frame, peer, local = (frame4, SOURCE4, TARGET4) if version == 4 else (frame6, SOURCE6, TARGET6)
    place.wall.set_ports({443}, {53})
    place.wall.note_flows([Flow(UDP, packed(local), 50_000, packed(peer), 123)])
    stranger = frame(udp(b"x", sport=124, dport=50_000), UDP)
    assert over_budget(place, stranger) == {(DROP, Reason.CLOSED_UDP)}
    assert over_budget(place, frame(udp(b"x", sport=123, dport=50_000), UDP)) == {(PASS, Reason.PASS_FLOW)}


@pytest.mark.parametrize(
    ("flags", "protocol", "closed", "open_"),
    [
        (SYN, TCP, Reason.CLOSED_TCP, {Reason.LANE_SYN, Reason.COOKIE_SENT}),
        (ACK, TCP, Reason.CLOSED_TCP, {Reason.LANE_TCP}),
        (0, UDP, Reason.CLOSED_UDP, {Reason.LANE_UDP}),
    ],
)
def test_where_nobody_listens(
    place: Probe, flags: int, protocol: int, closed: Reason, open_: set[Reason]
) -> None:
    def packet(port: int) -> bytes:
        body = udp(b"x", dport=port) if protocol == UDP else tcp(flags, dport=port)
        return frame4(body, protocol)

    place.wall.set_ports({8080}, {8080})
    assert over_budget(place, packet(9)) == {(DROP, closed)}
    assert {outcome.reason for outcome in over_budget(place, packet(8080))} <= open_
    place.wall.set_ports(range(65536), range(65536))
    assert {outcome.reason for outcome in over_budget(place, packet(9))} <= open_


def test_a_load_tells_of_what_is_there() -> None:
    """`load` alone, with no controller: the ports that listen, and connections that stood before."""
    with scene() as made, contextlib.ExitStack() as stack:
        with made.inside(), made.netlink() as ipr:
            lo = ipr.link_lookup(ifname="lo")[0]
            ipr.link("set", index=lo, state="up")
            for address in (TARGET4, SOURCE4):
                ipr.addr("add", index=lo, address=address, prefixlen=32)
            stack.enter_context(socket.create_server((TARGET4, 443)))
            client = stack.enter_context(
                socket.create_connection((TARGET4, 443), source_address=(SOURCE4, 0))
            )
        sport = client.getsockname()[1]
        made.load(tight(), interfaces=["wt0"])
        with made.open() as wall:
            wall.set_own_addresses([])
            probe = Probe(wall, "wt0")
            assert over_budget(probe, frame4(tcp(ACK, sport=1), TCP)) == {(DROP, Reason.LANE_TCP)}
            assert over_budget(probe, frame4(tcp(ACK, sport=sport), TCP)) == {(PASS, Reason.PASS_FLOW)}
            assert over_budget(probe, frame4(tcp(ACK, dport=444), TCP)) == {(DROP, Reason.CLOSED_TCP)}
            probe.close()
