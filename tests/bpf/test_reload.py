# SPDX-License-Identifier: Apache-2.0
"""Loads on a loaded wall: what stays, what is swapped, what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.bpf.packets import frame4, frame6
from tests.bpf.scene import DROP, LEAN, PASS, Probe, Scene, config, lean, scene
from tests.bpf.test_meters import source
from xdpwall.config import Config
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.loader import load
from xdpwall.errors import LayoutError
from xdpwall.model import Prefix
from xdpwall.reasons import Reason


def metered() -> Config:
    """Small, with meters."""
    return lean(meters={**LEAN["meters"], "enabled": True})


@pytest.fixture
def place() -> Iterator[Scene]:
    """A scene with two interfaces and nothing loaded."""
    with scene(["wt0", "wt1"]) as made:
        yield made


def test_a_load_on_a_loaded_wall_keeps_everything(place: Scene) -> None:
    """Bans with their counters, allowlist, verdicts, meters, own addresses, slots, seed; the program is a new one."""
    first = place.load(metered())
    assert first.fresh
    assert [(a.name, a.mode, a.swapped) for a in first.interfaces] == [
        ("wt0", "native", False),
        ("wt1", "native", False),
    ]
    seed = place.seed
    with place.open() as wall:
        old = Probe(wall, "wt1")
        wall.bans.put_many(
            [(Prefix.parse(t), 3_600_000) for t in ("1.2.3.4", "5.6.0.0/16", "2001:db8:9::/64")]
        )
        wall.bans.put(Prefix.parse("9.9.9.9"), None)
        wall.allow.put(Prefix.parse("7.7.7.0/24"))
        for packet in (frame4(source="1.2.3.4"), frame4(source="5.6.7.8"), frame4(source="7.7.7.7")):
            old.push(packet, 4)
        before = (dict(wall.verdicts()), {e.prefix: (e.packets, e.bytes) for e in wall.bans.entries()})
        slots = [(e.slot, e.name, e.wanted, e.mode) for e in wall.interface_table.entries()]
        programs = [state.program_id for state in wall.interfaces()]
        old.close()

    second = place.load(metered(), interfaces=["wt1"])
    assert not second.fresh
    assert {(a.name, a.mode, a.swapped) for a in second.interfaces} == {
        ("wt0", "native", True),
        ("wt1", "native", True),
    }
    assert place.seed == seed
    with place.open() as wall:
        assert (
            dict(wall.verdicts()),
            {e.prefix: (e.packets, e.bytes) for e in wall.bans.entries()},
        ) == before
        assert [(e.slot, e.name, e.wanted, e.mode) for e in wall.interface_table.entries()] == slots
        assert not set(programs) & {state.program_id for state in wall.interfaces()}
        assert all(state.attached for state in wall.interfaces())
        new = Probe(wall, "wt1")
        assert new.run(frame4(source="1.2.3.4")) == (DROP, Reason.BANNED_SOURCE)
        assert new.run(frame4(source="9.9.9.9")) == (DROP, Reason.BANNED_SOURCE)
        assert new.run(frame4(source="5.6.7.8")) == (DROP, Reason.BANNED_PREFIX)
        assert new.run(frame6(source="2001:db8:9::9")) == (DROP, Reason.BANNED_SOURCE)
        assert new.run(frame4(source="7.7.7.7")) == (PASS, Reason.PASS_ALLOWED)
        held = wall.bans.get(Prefix.parse("1.2.3.4"))
        assert held is not None
        assert held.packets == 5
        assert source(new, "7.7.7.7").packets == 5
        new.close()


def test_a_handle_outlives_a_swap(place: Scene) -> None:
    """The controller keeps its maps open while somebody loads anew: they are the same maps."""
    place.load(lean(), interfaces=["wt0"])
    with place.open() as wall:
        place.load(lean(policy="observe"))
        wall.bans.put(Prefix.parse("1.2.3.4"), None)
        probe = Probe(wall, "wt0")
        assert probe.run(frame4(source="1.2.3.4")) == (PASS, Reason.BANNED_SOURCE)
        assert wall.info.policy == "observe"
        assert [state.name for state in wall.interfaces()] == ["wt0", "wt1"]
        probe.close()


def test_other_capacities_are_refused_and_nothing_changes(place: Scene) -> None:
    place.load(lean(), interfaces=["wt0"])
    with place.open() as wall:
        wall.bans.put(Prefix.parse("1.2.3.4"), None)
        before = (wall.info, wall.interfaces())
        for section, key, size in (
            ("bans", "capacity", 2048),
            ("bans", "prefix_capacity", 65),
            ("meters", "sources", 8192),
            ("meters", "prefixes", 8192),
        ):
            other = {**LEAN, section: {**LEAN[section], key: size}}
            with pytest.raises(LayoutError) as caught:
                place.load(config(policy="observe", **other))
            assert "entries" in caught.value.message
            assert "unload" in (caught.value.hint or "")
            assert (wall.info, wall.interfaces()) == before
        probe = Probe(wall, "wt0")
        assert probe.run(frame4(source="1.2.3.4")) == (DROP, Reason.BANNED_SOURCE)
        probe.close()


def test_meters_off_and_on_again(place: Scene) -> None:
    """What is not compiled in keeps its map."""
    for enabled, expected in ((True, 6), (False, 6), (True, 12)):
        place.load(metered() if enabled else lean(), interfaces=["wt0"])
        with place.open() as wall:
            probe = Probe(wall, "wt0")
            probe.push(frame4(source="1.1.1.1"), 6)
            assert source(probe, "1.1.1.1").packets == expected
            probe.close()


def test_the_configs_allowlist_is_in_force_at_once(place: Scene) -> None:
    place.load(lean(allow={"prefixes": ["1.2.3.0/24", "2001:db8:5::/48"]}))
    with place.open() as wall:
        probe = Probe(wall, "wt0")
        assert probe.run(frame4(source="1.2.3.4")) == (PASS, Reason.PASS_ALLOWED)
        assert probe.run(frame6(source="2001:db8:5::4")) == (PASS, Reason.PASS_ALLOWED)
        probe.close()


def test_pins_of_another_version_are_refused(place: Scene) -> None:
    """The layout's number stands in the wall: an upgrade that changed a struct does not read garbage."""
    place.load(lean())
    map_fd = place.pins.open_map("meta")
    raw = sys_bpf.map_lookup(map_fd, bytes(4), 80)
    assert raw is not None
    sys_bpf.map_update(map_fd, bytes(4), raw[:32] + b"\xff\xff\xff\xff" + raw[36:])
    with pytest.raises(LayoutError) as caught:
        place.open()
    assert "another version" in caught.value.message
    with pytest.raises(LayoutError):
        place.load(lean())
    assert place.on("wt0")[1], "it goes on dropping meanwhile"
    sys_bpf.map_update(map_fd, bytes(4), raw)
    os.close(map_fd)


def test_a_load_needs_an_interface_only_once(place: Scene) -> None:
    """Without -i a loaded wall is loaded anew where it stands; the config's interfaces come on top."""
    place.load(lean(), interfaces=["wt0"])
    with place.inside():
        again = load(lean(), place.paths, [])
        more = load(lean(interfaces=["wt1"]), place.paths, [])
    assert [a.name for a in again.interfaces] == ["wt0"]
    assert {a.name for a in more.interfaces} == {"wt0", "wt1"}


def test_two_interfaces_count_for_themselves(place: Scene) -> None:
    place.load(lean())
    with place.open() as wall:
        probes = [Probe(wall, "wt0"), Probe(wall, "wt1")]
        wall.bans.put(Prefix.parse("1.2.3.4"), None)
        for probe, count in zip(probes, (3, 5), strict=True):
            probe.push(frame4(source="1.2.3.4"), count)
            probe.close()
        size = len(frame4())
        assert wall.verdicts() == {
            "wt0": {Reason.BANNED_SOURCE: Count(3, 3 * size)},
            "wt1": {Reason.BANNED_SOURCE: Count(5, 5 * size)},
        }
        held = wall.bans.get(Prefix.parse("1.2.3.4"))
        assert held is not None
        assert held.packets == 8
