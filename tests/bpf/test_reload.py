# SPDX-License-Identifier: Apache-2.0
"""Loads on a loaded wall, unload, and loads that end in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bpf.packets import frame4, frame6
from tests.bpf.scene import DROP, LEAN, PASS, Probe, Scene, config, lean, scene
from tests.bpf.test_meters import source
from xdpwall.config import Config
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.interface import Count
from xdpwall.dataplane.loader import load, unload
from xdpwall.errors import InputError, LayoutError, NotFoundError, NotLoadedError, RefusedError
from xdpwall.lab import namespaces
from xdpwall.model import Prefix
from xdpwall.reasons import Reason


def metered() -> Config:
    """Small, with meters."""
    return lean(meters={**LEAN["meters"], "enabled": True})


ROOT = Path(__file__).resolve().parents[2]


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


# --- unload ----------------------------------------------------------------------------------------------------------


def attached(place: Scene, name: str) -> int:
    """Id of the XDP program on an interface, by netlink."""
    with place.netlink() as ipr:
        (link,) = ipr.get_links(ipr.link_lookup(ifname=name)[0])
        xdp = link.get_attr("IFLA_XDP")
        return int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if xdp is not None else 0


def test_unload_leaves_nothing(place: Scene) -> None:
    place.load(lean())
    assert attached(place, "wt0")
    report = unload(place.paths)
    assert report.removed
    assert report.interfaces == ["wt0", "wt1"]
    assert not place.paths.pins.exists()
    assert not place.pins.staging.exists()
    assert (attached(place, "wt0"), attached(place, "wt1")) == (0, 0)
    with pytest.raises(NotLoadedError):
        unload(place.paths)
    with pytest.raises(NotLoadedError):
        place.open()


def test_unload_of_one_interface(place: Scene) -> None:
    """The wall goes on on the other; the last one takes the wall with it."""
    place.load(lean())
    with pytest.raises(NotFoundError) as caught:
        unload(place.paths, ["wt0", "nonesuch"])
    assert "wt0, wt1" in (caught.value.hint or "")
    assert attached(place, "wt0")
    assert not unload(place.paths, ["wt0"]).removed
    assert attached(place, "wt0") == 0
    assert attached(place, "wt1")
    with place.open() as wall:
        assert [state.name for state in wall.interfaces()] == ["wt1"]
    assert place.load(lean(), interfaces=["wt0"]).interfaces[0].swapped is False
    assert not unload(place.paths, ["wt1"]).removed
    assert unload(place.paths, ["wt0"]).removed
    assert not place.paths.pins.exists()


def test_unload_when_an_interface_has_gone(place: Scene) -> None:
    place.load(lean())
    place.delete_link("wt0")
    assert unload(place.paths).removed
    assert attached(place, "wt1") == 0
    assert not place.paths.pins.exists()


# --- loads that fail or end in the middle ----------------------------------------------------------------------------


def test_no_interface_named(place: Scene) -> None:
    with pytest.raises(InputError):
        place.load(lean(), interfaces=[])
    assert not place.paths.pins.exists()


def test_an_interface_that_is_not_there(place: Scene) -> None:
    with pytest.raises(NotFoundError) as caught:
        place.load(lean(), interfaces=["wt0", "nonesuch"])
    assert "nonesuch" in caught.value.message
    assert "wt1" in (caught.value.hint or "")
    assert not place.paths.pins.exists()
    assert attached(place, "wt0") == 0


def test_two_loads_at_once(place: Scene) -> None:
    """The second is refused at once; so is an unload."""
    with place.pins.exclusive():
        with pytest.raises(RefusedError):
            place.load(lean())
        with pytest.raises(RefusedError):
            unload(place.paths)
    assert not place.paths.pins.exists()
    assert place.load(lean()).fresh


def test_other_instances_are_not_concerned(place: Scene) -> None:
    with scene() as other, other.pins.exclusive():
        place.load(lean())
        assert not other.paths.pins.exists()


KILLED = """
import json, os, signal, sys
from xdpwall.config import Config
from xdpwall.dataplane import attach, loader, pins
from xdpwall.paths import Paths

def end(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

{where} = end
loader.load(Config.from_mapping(json.loads(sys.argv[2])), Paths(sys.argv[1]), ["wt0"])
"""


@pytest.mark.parametrize(
    ("where", "half"),
    [
        ("pins.Pins.commit", False),
        ("attach.attach", True),
        ("attach.replace_pin", True),
    ],
)
def test_a_load_that_is_killed(place: Scene, where: str, half: bool) -> None:
    """Before the wall is in place there is none; after that there is one, which the next load completes."""
    done = subprocess.run(
        [
            "nsenter",
            f"--net={namespaces.path_of(place.name)}",
            sys.executable,
            "-c",
            KILLED.format(where=where),
            place.name,
            json.dumps(LEAN),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    if half:
        with place.open() as wall:
            assert not any(state.attached for state in wall.interfaces())
    else:
        assert place.pins.staging.exists()
        with pytest.raises(NotLoadedError):
            place.open()
    assert attached(place, "wt0") == 0, "a link that nobody pinned goes with its process"
    report = place.load(lean(), interfaces=["wt0"])
    assert report.fresh != half
    assert not place.pins.staging.exists()
    with place.open() as wall:
        assert [state.attached for state in wall.interfaces()] == [True]
        probe = Probe(wall, "wt0")
        assert probe.run(frame4()) == (PASS, Reason.PASS)
        probe.close()


def test_what_a_killed_load_left_is_removed_by_unload(place: Scene) -> None:
    staged = place.pins.stage()
    fd = sys_bpf.prog_load(bytes.fromhex("b7000000020000009500000000000000"), "left")
    sys_bpf.obj_pin(fd, staged.clock)
    os.close(fd)
    with pytest.raises(NotLoadedError):
        unload(place.paths)
    assert not place.pins.staging.exists()


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
    assert attached(place, "wt0"), "it goes on dropping meanwhile"
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
