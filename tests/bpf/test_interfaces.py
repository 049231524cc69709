# SPDX-License-Identifier: Apache-2.0
"""Interfaces of all kinds: modes, names, other people's programs, coming and going, jumbo frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bpf.packets import DEST_OPTIONS, TCP, UDP, VLAN, frame4, frame6, options_header, tcp, udp
from tests.bpf.scene import DROP, GENERIC, NATIVE, PASS, Probe, Scene, lean, scene
from tests.bpf.table import about
from xdpwall.dataplane import sys_bpf
from xdpwall.errors import ForeignProgramError, KernelError, NotFoundError
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

PASS_ALL = bytes.fromhex("b7000000020000009500000000000000")
FLAGS = {"native": sys_bpf.XDP_FLAGS_DRV_MODE, "generic": sys_bpf.XDP_FLAGS_SKB_MODE}


@pytest.fixture
def place() -> Iterator[Scene]:
    """A scene with one interface and nothing loaded."""
    with scene() as made:
        yield made


def add_bridge(place: Scene, name: str) -> None:
    """An interface whose driver has no native XDP. (A VLAN interface is one too, but needs a module of the kernel.)"""
    with place.netlink() as ipr:
        ipr.link("add", ifname=name, kind="bridge")


@contextmanager
def foreign(place: Scene, name: str, mode: str, how: str) -> Iterator[int]:
    """Somebody else's program on an interface, by a link of theirs or by netlink. Gives its id."""
    program = sys_bpf.prog_load(PASS_ALL, "foreign")
    link = -1
    try:
        with place.netlink() as ipr:
            index = ipr.link_lookup(ifname=name)[0]
            if how == "link":
                link = sys_bpf.link_create_xdp(program, index, FLAGS[mode])
            else:
                attributes = [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", FLAGS[mode])]
                ipr.link("set", index=index, xdp={"attrs": attributes})
        yield sys_bpf.prog_info(program).id
    finally:
        if link >= 0:
            os.close(link)
        os.close(program)


# --- modes and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "attached"), [("auto", NATIVE), ("native", NATIVE), ("generic", GENERIC)])
def test_modes(place: Scene, mode: str, attached: int) -> None:
    report = place.load(lean(mode=mode))
    assert report.warnings == []
    assert report.interfaces[0].mode == ("generic" if attached == GENERIC else "native")
    assert place.on("wt0")[0] == attached
    with place.open() as wall:
        (state,) = wall.interfaces()
        assert (state.mode, state.attached) == (report.interfaces[0].mode, True)
        assert place.on("wt0")[1] == state.program_id == state.expected_id


def test_a_driver_without_native_mode_falls_back_and_says_so(place: Scene) -> None:
    """Named as VLAN interfaces are: with a dot, which the bpffs does not take in a file's name."""
    add_bridge(place, "v0.100")
    report = place.load(lean(), interfaces=["v0.100"])
    assert report.interfaces[0].mode == "generic"
    assert len(report.warnings) == 1
    assert "v0.100 has no native mode" in report.warnings[0]
    assert place.on("v0.100")[0] == GENERIC
    with place.open() as wall:
        assert [(state.name, state.attached) for state in wall.interfaces()] == [("v0.100", True)]
        probe = Probe(wall, "v0.100")
        assert probe.run(frame4()) == (PASS, Reason.PASS)
        probe.close()
    again = place.load(lean(policy="observe"), interfaces=["v0.100"])
    assert (again.interfaces[0].swapped, again.interfaces[0].mode) == (True, "generic")


def test_native_mode_that_cannot_be_had_is_an_error(place: Scene) -> None:
    """And nothing stays behind."""
    add_bridge(place, "v0.100")
    with pytest.raises(KernelError) as caught:
        place.load(lean(mode="native"), interfaces=["v0.100"])
    assert "v0.100" in caught.value.message
    assert caught.value.hint
    assert not place.paths.pins.exists()
    assert place.on("v0.100") == (0, 0)


def test_names_that_look_alike_are_pinned_apart(place: Scene) -> None:
    names = ["v.1", "v..1", "v-1", "v1"]
    for name in names:
        add_bridge(place, name)
    place.load(lean(), interfaces=names)
    with place.open() as wall:
        states = wall.interfaces()
        assert [state.name for state in states] == names
        assert len({state.program_id for state in states}) == len(names)
        assert all(place.on(state.name)[1] == state.program_id for state in states)


# --- other people's programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ["auto", "native", "generic"])
@pytest.mark.parametrize(("mode", "how"), [("native", "link"), ("generic", "link"), ("native", "netlink")])
def test_a_foreign_program_is_left_alone(place: Scene, mode: str, how: str, ours: str) -> None:
    with foreign(place, "wt0", mode, how) as ident:
        before = place.on("wt0")
        assert before == (GENERIC if mode == "generic" else NATIVE, ident)
        with pytest.raises(ForeignProgramError) as caught:
            place.load(lean(mode=ours))
        assert "wt0" in caught.value.message
        assert str(ident) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code == 5
        assert place.on("wt0") == before
        assert not place.paths.pins.exists()


def test_a_first_load_is_whole_or_not_at_all(place: Scene) -> None:
    """Two interfaces, the second taken: the first is let go again."""
    place.add_veth("wt1", "wp1")
    with foreign(place, "wt1", "native", "link") as ident:
        with pytest.raises(ForeignProgramError):
            place.load(lean(), interfaces=["wt0", "wt1"])
        assert place.on("wt0") == (0, 0)
        assert place.on("wt1") == (NATIVE, ident)
        assert not place.paths.pins.exists()


def test_a_wall_that_stands_goes_on_when_a_further_interface_is_taken(place: Scene) -> None:
    place.add_veth("wt1", "wp1")
    place.load(lean(), interfaces=["wt0"])
    with place.open() as wall:
        wall.bans.put(Prefix.parse("1.2.3.4"), None)
    with foreign(place, "wt1", "native", "netlink") as ident:
        with pytest.raises(ForeignProgramError):
            place.load(lean(), interfaces=["wt1"])
        assert place.on("wt1") == (NATIVE, ident)
    with place.open() as wall:
        (state,) = wall.interfaces()
        assert (state.name, state.attached) == ("wt0", True)
        probe = Probe(wall, "wt0")
        assert probe.run(frame4(source="1.2.3.4")) == (DROP, Reason.BANNED_SOURCE)
        probe.close()


def test_nobody_replaces_ours_by_netlink(place: Scene) -> None:
    """The link owns the place: `ip link set xdp off` and others' attachments are refused by the kernel."""
    place.load(lean())
    before = place.on("wt0")
    with pytest.raises(Exception, match="busy"), foreign(place, "wt0", "native", "netlink"):
        pass
    with place.netlink() as ipr, pytest.raises(Exception, match="busy"):
        ipr.link("set", index=ipr.link_lookup(ifname="wt0")[0], xdp={"attrs": [("IFLA_XDP_FD", -1)]})
    assert place.on("wt0") == before


# --- coming and going ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_an_interface_that_vanishes_and_comes_back(place: Scene, mode: str) -> None:
    """Reported as gone, then guarded again by the same program, in the same mode, with its counters."""
    place.load(lean(mode=mode))
    with place.open() as wall, place.inside():
        wall.bans.put(Prefix.parse("1.2.3.4"), None)
        probe = Probe(wall, "wt0")
        probe.push(frame4(source="1.2.3.4"), 3)
        probe.close()
        counts = wall.verdicts()
        (before,) = wall.interfaces()
        assert not wall.reattach("wt0"), "not needed"
        assert not wall.reattach("nonesuch"), "none of ours"

        place.delete_link("wt0")
        (gone,) = wall.interfaces()
        assert (gone.ifindex, gone.mode, gone.program_id, gone.attached) == (0, None, 0, False)
        assert gone.expected_id == before.expected_id
        with pytest.raises(NotFoundError):
            wall.reattach("wt0")

        place.add_veth("wt0", "wp0")
        (back,) = wall.interfaces()
        assert not back.attached
        assert place.on("wt0") == (0, 0)
        assert wall.reattach("wt0")
        (after,) = wall.interfaces()
        assert after.attached
        assert (after.program_id, after.mode) == (before.program_id, mode)
        assert after.ifindex != before.ifindex
        assert place.on("wt0") == (NATIVE if mode == "native" else GENERIC, before.program_id)
        assert wall.verdicts() == counts
        probe = Probe(wall, "wt0")
        assert probe.run(frame4(source="1.2.3.4")) == (DROP, Reason.BANNED_SOURCE)
        probe.close()


def test_a_place_that_was_taken_meanwhile(place: Scene) -> None:
    place.load(lean())
    place.delete_link("wt0")
    place.add_veth("wt0", "wp0")
    with foreign(place, "wt0", "native", "link") as ident, place.open() as wall:
        with place.inside(), pytest.raises(ForeignProgramError):
            wall.reattach("wt0")
        assert place.on("wt0") == (NATIVE, ident)


def test_a_load_while_an_interface_is_away(place: Scene) -> None:
    """It swaps what is there, warns of what is not, and that one gets a program when it is back."""
    place.add_veth("wt1", "wp1")
    place.load(lean(), interfaces=["wt0", "wt1"])
    place.delete_link("wt1")
    report = place.load(lean(policy="observe"), interfaces=["wt0"])
    assert [a.name for a in report.interfaces] == ["wt0"]
    assert len(report.warnings) == 1
    assert "wt1" in report.warnings[0]
    place.add_veth("wt1", "wp1")
    with place.open() as wall, place.inside():
        assert wall.reattach("wt1")
        assert all(state.attached for state in wall.interfaces())


# --- jumbo frames ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jumbo() -> Iterator[Probe]:
    """A wall on an interface with an MTU of 9,000, whose frames span buffers."""
    with scene(mtu=9000) as made:
        report = made.load(lean(meters={"sources": 1024, "prefixes": 256}))
        assert report.interfaces[0].mode == "native", report.warnings
        with made.open() as wall:
            probe = Probe(wall, "wt0")
            yield probe
            probe.close()


@pytest.mark.parametrize("size", [10, 1400, 3000, 4000, 4100, 8950])
def test_jumbo_frames_count_whole(jumbo: Probe, size: int) -> None:
    """The probe compares bytes with the frame's length; lengths within the packet are checked against it too."""
    assert jumbo.run(frame4(udp(bytes(size)), UDP)) == (PASS, Reason.PASS)
    assert jumbo.run(frame6(tcp(16, bytes(size)), TCP, vlans=[VLAN])) == (PASS, Reason.PASS)
    assert jumbo.run(frame4(udp(bytes(size), length=size + 9), UDP)) == (DROP, Reason.UDP_LENGTH)
    assert jumbo.run(frame4(udp(bytes(size)), UDP)[:-1]) == (DROP, Reason.IP_LENGTH)
    assert jumbo.run(frame4(tcp(0, bytes(size)), TCP)) == (DROP, Reason.TCP_FLAGS)


def test_a_ban_counts_whole_jumbo_frames(jumbo: Probe) -> None:
    packet = frame4(udp(bytes(8900)), UDP, source="1.2.3.4")
    jumbo.wall.bans.put(Prefix.parse("1.2.3.4"), None)
    assert jumbo.run(packet, repeat=3) == (DROP, Reason.BANNED_SOURCE)
    held = jumbo.wall.bans.get(Prefix.parse("1.2.3.4"))
    assert held is not None
    assert held.packets == 3
    assert held.bytes == about(3, 3 * len(packet))


def test_headers_beyond_the_first_buffer_are_not_taken_on_trust(jumbo: Probe) -> None:
    """Four options headers of 2,048 bytes: the transport lies where XDP cannot read it at once."""
    chain = [options_header(DEST_OPTIONS, units=255)] * 4
    assert jumbo.run(frame6(tcp(0), TCP, extensions=chain)) == (DROP, Reason.TRUNCATED)
    assert jumbo.run(frame6(tcp(0), TCP, extensions=chain[:1])) == (DROP, Reason.TCP_FLAGS)


def test_the_mtu_is_that_of_the_namespace() -> None:
    """An ordinary program cannot be attached natively to a jumbo interface at all: the loader must have seen it."""
    with scene(mtu=9000) as made:
        program = sys_bpf.prog_load(PASS_ALL, "ordinary")
        try:
            with made.inside(), pytest.raises(KernelError):
                sys_bpf.link_create_xdp(program, made.index("wt0"), sys_bpf.XDP_FLAGS_DRV_MODE)
        finally:
            os.close(program)
