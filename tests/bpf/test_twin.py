# SPDX-License-Identifier: Apache-2.0
"""The twin of a wall: the same program, the same state, and nothing that happens to it happens to the wall."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bpf.packets import ACK, SOURCE4, SYN, TARGET4, TCP, UDP, frame4, frame6, packed, tcp, udp
from tests.bpf.scene import LEAN, Probe, Scene, config, lean, scene
from xdpwall.config import Config
from xdpwall.dataplane import loaded, twin
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.layout import MAPS
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.errors import InputError, NotFoundError, NotLoadedError
from xdpwall.model import Prefix
from xdpwall.reasons import Reason


def small(**changes: object) -> Config:
    """Loads fast, with meters and lanes."""
    lanes = {name: {"pps": 400} for name in ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")}
    return lean(**{"meters": {**LEAN["meters"], "enabled": True}, "lanes": lanes, **changes})


@pytest.fixture(scope="module")
def place(kernel: None) -> Iterator[Scene]:
    with scene(["wt0", "wt1"]) as made:
        made.load(small(), interfaces=["wt0"])
        yield made


@pytest.fixture(scope="module")
def shared(place: Scene) -> Iterator[twin.Twin]:
    with twin.copy_of(place.paths) as made:
        yield made


@pytest.fixture
def other(place: Scene, shared: twin.Twin) -> twin.Twin:
    """A twin that knows what the wall knows now: to compile one takes a second."""
    shared.take_state_of(place.pins)
    shared.run_on(min(os.sched_getaffinity(0)))
    return shared


def memory(place: Scene) -> dict[str, bytes]:
    """Every byte of the wall's mapped tables."""
    found = {}
    for shape in MAPS:
        if shape.mmap:
            array = MappedArray(place.pins, shape.name)
            found[shape.name] = array.memory[: array.size]
            array.close()
    return found


def test_the_program_is_the_same(shared: twin.Twin) -> None:
    assert shared.interface == "wt0"
    assert shared.differences == []


def test_another_config_is_noticed(place: Scene) -> None:
    record = loaded.place(place.paths)
    assert oct(record.stat().st_mode & 0o777) == "0o600"
    kept = record.read_bytes()
    record.unlink()
    try:
        with twin.copy_of(place.paths, small()) as other:
            assert other.differences == []
        with twin.copy_of(place.paths, small(checks={"malformed": False})) as other:
            assert "the program itself" in other.differences
    finally:
        record.write_bytes(kept)


def test_the_record_of_another_load_does_not_count(place: Scene) -> None:
    with place.open() as wall:
        meta_ms = wall.info.loaded_ms
    record = loaded.place(place.paths)
    kept = record.read_bytes()
    try:
        record.write_bytes(kept.replace(str(meta_ms).encode(), b"12345"))
        with twin.copy_of(place.paths) as other:  # every default: another program
            assert other.differences
        record.write_bytes(b"{]")
        with twin.copy_of(place.paths, small()) as other:
            assert other.differences == []
    finally:
        record.write_bytes(kept)


def test_it_knows_what_the_wall_knows(place: Scene, shared: twin.Twin) -> None:
    with place.open() as wall:
        wall.bans.put_many([(Prefix.parse(t), 600_000) for t in ("1.2.3.4", "5.6.0.0/16", "2001:db8:9::/64")])
        wall.allow.put(Prefix.parse("7.7.7.0/24"))
        wall.set_own_addresses([Prefix.parse("9.9.9.9")])
        try:
            shared.take_state_of(place.pins)
            for packet, reason in (
                (frame4(source="1.2.3.4"), Reason.BANNED_SOURCE),
                (frame4(source="5.6.7.8"), Reason.BANNED_PREFIX),
                (frame6(source="2001:db8:9::1"), Reason.BANNED_SOURCE),
                (frame4(source="7.7.7.7"), Reason.PASS_ALLOWED),
                (frame4(source="9.9.9.9"), Reason.SOURCE_OWN),
                (frame4(source="8.8.8.8"), Reason.PASS),
                (frame4()[:30], Reason.TRUNCATED),
            ):
                judged = shared.run(packet)
                assert judged.reason is reason
                assert judged.verdict == (twin.XDP_DROP if reason.drops else twin.XDP_PASS)
                assert judged.frame == packet
        finally:
            wall.bans.clear()
            wall.allow.remove(Prefix.parse("7.7.7.0/24"))
            wall.set_own_addresses([])


def test_nothing_happens_to_the_wall(place: Scene, other: twin.Twin) -> None:
    """Not a counter moves, whatever the twin is shown."""
    with place.open() as wall:
        wall.bans.put(Prefix.parse("1.2.3.4"), 600_000)
        wall.bans.put(Prefix.parse("5.6.0.0/16"), 600_000)
        before = memory(place)
        drops = [(b.prefix, b.packets) for b in wall.bans.entries()]
        other.take_state_of(place.pins)
        for _ in range(500):
            other.run(frame4(tcp(SYN), TCP))
            other.run(frame4(source="1.2.3.4"))
            other.run(frame4(source="5.6.1.1"))
            other.send(frame4(udp(b"x"), UDP))
        other.spend_budgets()
        other.run(frame4(tcp(ACK), TCP))
        other.wall.bans.clear()
        assert memory(place) == before
        assert [(b.prefix, b.packets) for b in wall.bans.entries()] == drops
        wall.bans.clear()


def test_state_goes_on_from_packet_to_packet(place: Scene, other: twin.Twin) -> None:
    """A flood trips limits and budgets in the twin as it would in the wall."""
    reasons = [other.run(frame4(tcp(SYN, sport=1000 + n), TCP)).reason for n in range(600)]
    assert reasons[0] is Reason.PASS
    assert any(reason.drops for reason in reasons)
    other.take_state_of(place.pins)
    assert other.run(frame4(tcp(SYN), TCP)).reason is Reason.PASS


def test_spent_budgets_leave_only_proof(other: twin.Twin) -> None:
    known = frame4(tcp(ACK), TCP)
    other.wall.set_ports({443}, {53})
    other.wall.note_flows([Flow(TCP, packed(TARGET4), 443, packed(SOURCE4), 40_000)])
    assert other.run(known).reason in (Reason.PASS, Reason.PASS_FLOW)
    limited = [state for state in other.lane_states() if state.pps]
    assert [(state.lane.label, state.pps) for state in limited] == [
        (name, 400) for name in ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")
    ]
    assert {state.left_percent for state in limited} == {100}
    other.spend_budgets()
    assert {state.left_percent for state in other.lane_states() if state.pps} == {0}
    assert other.run(known).reason is Reason.PASS_FLOW
    assert other.run(frame4(tcp(ACK, sport=9), TCP)).reason is Reason.LANE_TCP
    assert other.run(frame4(tcp(ACK, dport=9), TCP)).reason is Reason.CLOSED_TCP
    assert other.run(frame6(udp(b"x"), UDP)).reason is Reason.LANE_UDP


def test_what_this_host_sends_teaches_it(other: twin.Twin) -> None:
    asked = frame4(udp(b"?", sport=50_000, dport=53), UDP, source=TARGET4, target=SOURCE4)
    answer = frame4(udp(b"!", sport=53, dport=50_000), UDP)
    other.wall.set_ports({443}, {53})
    other.spend_budgets()
    assert other.run(answer).reason is Reason.CLOSED_UDP
    other.send(asked)
    assert other.run(answer).reason is Reason.PASS_FLOW


def test_observe_is_observed(kernel: None) -> None:
    with scene() as made:
        made.load(small(policy="observe"))
        with made.open() as wall:
            wall.bans.put(Prefix.parse("1.2.3.4"), None)
        with twin.copy_of(made.paths) as other:
            judged = other.run(frame4(source="1.2.3.4"))
            assert (judged.verdict, judged.reason) == (twin.XDP_PASS, Reason.BANNED_SOURCE)


@pytest.mark.parametrize("size", [14, 60, 1514, 3_400, 3_600, 9_000, 60_000])
def test_frames_of_every_length(other: twin.Twin, size: int) -> None:
    packet = frame4(udp(bytes(size)), UDP)[:size].ljust(size, b"\0")
    judged = other.run(packet)
    assert len(judged.frame) == size
    for wrong in (packet[:13], packet.ljust(70_000, b"\0")):
        with pytest.raises(InputError):
            other.run(wrong)


def test_a_wall_for_jumbo_frames(kernel: None) -> None:
    with scene(mtu=9000) as made:
        made.load(small())
        with twin.copy_of(made.paths) as other:
            assert other.differences == []
            assert other.run(frame4()).reason is Reason.PASS


def test_lanes_can_be_off(kernel: None) -> None:
    with scene() as made:
        made.load(small(lanes={"enabled": False}))
        with twin.copy_of(made.paths) as other:
            assert other.differences == []
            other.spend_budgets()
            other.send(frame4())
            assert other.run(frame4()).reason is Reason.PASS


def test_without_any_wall(kernel: None) -> None:
    given = config(allow={"prefixes": ["7.7.7.0/24"]}, lanes={"closed_ports": "never", "udp": {"pps": 9}})
    with twin.fresh(given, [Prefix.parse("9.9.9.9")]) as alone:
        assert alone.interface is None
        assert alone.run(frame4(source="7.7.7.7")).reason is Reason.PASS_ALLOWED
        assert alone.run(frame4(source="9.9.9.9")).reason is Reason.SOURCE_OWN
        assert alone.run(frame4()).reason is Reason.PASS
        alone.spend_budgets()
        assert alone.run(frame4()).reason is Reason.LANE_UDP


def test_what_is_not_there(place: Scene) -> None:
    with pytest.raises(NotFoundError, match="does not stand on eth9"):
        twin.copy_of(place.paths, interface="eth9")
    with scene() as empty, pytest.raises(NotLoadedError):
        twin.copy_of(empty.paths)


def test_nothing_is_left(place: Scene) -> None:
    """No descriptor, no pin, and the process may use every CPU again."""
    cpus = os.sched_getaffinity(0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with twin.copy_of(place.paths) as other:
        other.run(frame4())
        other.send(frame4())
        other.spend_budgets()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert not any("twin" in pin.name for pin in place.paths.pins.parent.iterdir())
    assert os.sched_getaffinity(0) == cpus
    with place.open() as wall:
        probe = Probe(wall, "wt0")
        assert probe.run(frame4()).reason is Reason.PASS
        probe.close()
