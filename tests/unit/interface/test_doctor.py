# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks, each over a host that the test made, and the verb over this one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.interface.conftest import Run
from xdpwall.config import Config
from xdpwall.dataplane.interface import InterfaceState
from xdpwall.interface.doctor import collect, kernel, links, machine, offloads, rights, tools, wall
from xdpwall.interface.doctor.finding import Finding, Level
from xdpwall.interface.doctor.host import XDP_BASIC, XDP_RX_FRAGMENTS, Bcc, Host, Link, Offload, Standing
from xdpwall.interface.doctor.links_read import interrupt_numbers
from xdpwall.interface.doctor.registry import HOST_CHECKS, LINK_CHECKS, Result, examine, healthy
from xdpwall.paths import Paths

OK, NOTE, WARNING, PROBLEM = Level.OK, Level.NOTE, Level.WARNING, Level.PROBLEM
ON, OFF, FIXED = Offload(True, True), Offload(False, True), Offload(True, False)
ROOT_CAPS = "CapEff:\t000001ffffffffff"


def tree(root: Path, **files: str) -> Path:
    """Files below a root; two underscores stand for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def level(found: Finding | None) -> Level | None:
    return None if found is None else found.level


@pytest.mark.parametrize(
    ("release", "expected"),
    [("4.19.0", PROBLEM), ("5.9.1", PROBLEM), ("5.10.0-28", NOTE), ("5.18.0", OK), ("7.2-rc1", OK), ("x", PROBLEM)],
)  # fmt: skip
def test_kernel_version(release: str, expected: Level) -> None:
    assert kernel.kernel_version(Host(release=release)).level is expected


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.ENOSYS, "CONFIG_BPF_SYSCALL"),
        (errno.EPERM, "root"),
        (errno.ENOMEM, "memory"),
        (errno.EINVAL, "dmesg"),
    ],
)
def test_bpf_that_does_not_load(error: int, said: str) -> None:
    found = kernel.bpf_syscall(Host(load_error=error))
    assert found.level is PROBLEM
    assert said in found.advice
    assert os.strerror(error) in found.title
    assert kernel.jit(Host(load_error=error, jited=False)).level is NOTE


def test_jit() -> None:
    assert kernel.bpf_syscall(Host()).level is OK
    assert kernel.jit(Host()).level is OK
    assert kernel.jit(Host(jited=False)).level is WARNING


@pytest.mark.parametrize(
    ("check", "path", "expected"),
    [
        (kernel.jit_hardening, "proc__sys__net__core__bpf_jit_harden", {"0": OK, "1": OK, "2": NOTE, "x": None}),
        (kernel.unprivileged_bpf, "proc__sys__kernel__unprivileged_bpf_disabled", {"0": WARNING, "1": OK, "2": OK}),
        (machine.syn_cookies, "proc__sys__net__ipv4__tcp_syncookies", {"0": WARNING, "1": OK, "2": OK}),
        (
            machine.clock_source,
            "sys__devices__system__clocksource__clocksource0__current_clocksource",
            {"tsc": OK, "kvm-clock": OK, "arch_sys_counter": OK, "hpet": NOTE, "acpi_pm": NOTE},
        ),
        (rights.capabilities, "proc__self__status", {
            f"Name: x\n{ROOT_CAPS}": OK, "CapEff:\t0000000000000000": PROBLEM,
            f"CapEff:\t{1 << 12 | 1 << 39:016x}": OK, f"CapEff:\t{1 << 12 | 1 << 21:016x}": OK,
            f"CapEff:\t{1 << 39:016x}": PROBLEM, "nothing": PROBLEM,
        }),
    ],
)  # fmt: skip
def test_files(
    check: Callable[[Host], Finding | None], path: str, expected: dict[str, Level | None], tmp_path: Path
) -> None:
    for text, wanted in expected.items():
        assert level(check(Host(root=tree(tmp_path, **{path: text})))) is wanted, text


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A check with nothing to look at says nothing, or that it is missing; it never fails."""
    host = Host(root=tmp_path, links=(Link("eth0"),), config=Config())
    for check in HOST_CHECKS:
        check(host)
    assert kernel.btf(host).level is NOTE
    assert machine.reverse_path(host) is None
    assert kernel.btf(Host(root=tree(tmp_path, sys__kernel__btf__vmlinux=""))).level is OK


def test_missing_capabilities_are_named(tmp_path: Path) -> None:
    host = Host(root=tree(tmp_path, proc__self__status=f"CapEff:\t{1 << 12:016x}"))
    assert rights.capabilities(host).title == "capabilities are missing: CAP_BPF"


def test_locked_memory_matters_only_before_5_11() -> None:
    assert rights.locked_memory(Host(release="6.1", memlock=0)) is None
    assert level(rights.locked_memory(Host(release="5.10", memlock=64 << 10))) is WARNING
    assert level(rights.locked_memory(Host(release="5.10", memlock=-1))) is OK


def test_config_file(tmp_path: Path) -> None:
    path = Path("/etc/xdpwall/xdpwall.toml")
    assert rights.config_file(Host(root=tmp_path)).level is NOTE
    tree(tmp_path, etc__xdpwall__xdpwall=" ")
    (tmp_path / "etc/xdpwall/xdpwall").rename(tmp_path / "etc/xdpwall/xdpwall.toml")
    assert rights.config_file(Host(root=tmp_path, config_path=path)).level is OK
    (tmp_path / "etc/xdpwall/xdpwall.toml").chmod(0o664)
    assert rights.config_file(Host(root=tmp_path, config_path=path)).level is WARNING
    found = rights.config_file(Host(config_faults=("line 1: a: odd", "line 2: b: odd")))
    assert found.level is PROBLEM
    assert found.detail == "line 1: a: odd (and 1 more)"


@pytest.mark.parametrize(
    ("bcc", "expected", "said"),
    [
        (Bcc(None), PROBLEM, "python3-bpfcc"),
        (Bcc(Path("/x"), "0.18.0"), PROBLEM, "0.26"),
        (Bcc(Path("/x"), "0.26.0", "no libbcc.so.0"), PROBLEM, "python3-bpfcc"),
        (Bcc(Path("/x"), ""), WARNING, "0.26"),
        (Bcc(Path("/x"), "0.26.0"), OK, ""),
        (Bcc(Path("/x"), "0.31.0+ds"), OK, ""),
        (Bcc(Path("/x"), "1.0"), OK, ""),
    ],
)
def test_bcc(bcc: Bcc, expected: Level, said: str, tmp_path: Path) -> None:
    found = tools.bcc(Host(root=os_release(tmp_path, "ID=debian"), bcc=bcc))
    assert found.level is expected
    assert said in found.advice


def os_release(root: Path, text: str) -> Path:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/os-release").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("ID=ubuntu\nID_LIKE=debian", "apt-get"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "dnf"),
        ("ID=arch", "pacman"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "zypper"),
        ("ID=alpine", "apk"),
        ("ID=nixos", "your distribution"),
    ],
)  # fmt: skip
def test_the_package_is_named_for_the_distribution(text: str, command: str, tmp_path: Path) -> None:
    assert command in tools.package_command(Host(root=os_release(tmp_path, text)))


def test_bpffs() -> None:
    assert tools.bpffs(Host()).level is OK
    assert tools.bpffs(Host(bpffs=False)).level is NOTE


def test_memory(tmp_path: Path) -> None:
    config = Config()
    need = machine.map_bytes(config, 2)
    assert 10 << 20 < need < 100 << 20

    def examined(meminfo_kb: int, **more: Any) -> Finding | None:
        root = tree(tmp_path, proc__meminfo=f"MemTotal: 9 kB\nMemAvailable: {meminfo_kb} kB")
        return machine.memory(Host(root=root, config=config, possible_cpus=2, **more))

    assert level(examined(8 << 20)) is OK
    assert level(examined(3 * need // 1024)) is WARNING
    assert level(examined(need // 2048)) is PROBLEM
    assert level(examined(1, standing=(Standing("default", map_bytes=1 << 20),))) is OK
    tree(tmp_path, proc__self__cgroup="1:cpu:/x\n0::/a/b", sys__fs__cgroup__a__b__x="")
    for name, text in (("memory.max", "max"), ("memory.current", "5")):
        (tmp_path / "sys/fs/cgroup/a/b" / name).write_text(text)
    for name, text in (("memory.max", str(1 << 20)), ("memory.current", str(1 << 19))):
        (tmp_path / "sys/fs/cgroup/a" / name).write_text(text)
    assert level(examined(8 << 20)) is PROBLEM, "the limit of a group above counts too"
    assert machine.memory(Host(config=None)) is None


def test_clock() -> None:
    assert [level(machine.clock_sync(Host(clock_synced=state))) for state in (True, False, None)] == [
        OK,
        WARNING,
        None,
    ]


def test_reverse_path(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        proc__sys__net__ipv4__conf__all__rp_filter="0",
        proc__sys__net__ipv4__conf__eth0__rp_filter="0",
    )
    found = machine.reverse_path(Host(root=root, links=(Link("eth0"), Link("eth1"))))
    assert found is not None
    assert found.title == "rp_filter is off on eth0, eth1"
    tree(tmp_path, proc__sys__net__ipv4__conf__all__rp_filter="2")
    assert level(machine.reverse_path(Host(root=root, links=(Link("eth0"),)))) is OK


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (Link("e"), OK),
        (Link("e", xdp_features=0, driver="e1000"), WARNING),
        (Link("e", xdp_features=0), WARNING),
        (Link("e", xdp_features=None), NOTE),
        (Link("e", xdp_mode="native", program_id=1), OK),
        (Link("e", xdp_mode="generic", program_id=1), WARNING),
        (Link("e", xdp_mode="generic", program_id=1, xdp_features=0), WARNING),
        (Link("e", xdp_mode="generic", program_id=2), OK),
        (Link("e", xdp_mode="native", program_id=2, xdp_features=None), NOTE),
    ],
)
def test_xdp_mode(link: Link, expected: Level) -> None:
    ours = Host(standing=(Standing("default", frozenset({1})),))
    assert links.xdp_mode(ours, link).level is expected


@pytest.mark.parametrize(
    ("mtu", "release", "features", "expected"),
    [
        (1500, "5.10", 0, OK),
        (links.ONE_BUFFER_MTU, "5.10", 0, OK),
        (9000, "5.10", None, WARNING),
        (9000, "6.1", None, NOTE),
        (9000, "6.6", XDP_BASIC, WARNING),
        (9000, "6.6", XDP_BASIC | XDP_RX_FRAGMENTS, OK),
        (9000, "6.6", 0, OK),
    ],
)
def test_mtu(mtu: int, release: str, features: int | None, expected: Level) -> None:
    assert links.mtu(Host(release=release), Link("e", mtu=mtu, xdp_features=features)).level is expected


def test_other_programs() -> None:
    host = Host(standing=(Standing("default", frozenset({7})), Standing("lab", frozenset({8}))))
    assert links.other_program(host, Link("e")).level is OK
    assert links.other_program(host, Link("e", program_id=7)).level is OK
    assert links.other_program(host, Link("e", program_id=8)).level is WARNING
    foreign = links.other_program(host, Link("e", program_id=9, program_name="xdp_pass"))
    assert foreign.level is PROBLEM
    assert "id 9, named 'xdp_pass'" in foreign.title
    assert "never replaces" in foreign.detail


def test_links_that_are_down_or_missing() -> None:
    assert links.state(Host(), Link("e", up=False)).level is WARNING
    assert level(links.any_link(Host())) is WARNING
    assert links.any_link(Host(missing=("x",))) is None
    assert level(links.missing(Host(missing=("x",)))) is PROBLEM


def test_offloads() -> None:
    host = Host()
    assert offloads.large_receive(host, Link("e")) is None
    assert level(offloads.large_receive(host, Link("e", offloads={"rx-lro": OFF}))) is OK
    assert level(offloads.large_receive(host, Link("e", offloads={"rx-lro": ON}))) is WARNING
    vlan = offloads.vlan_stripping(host, Link("e", offloads={"rx-vlan-hw-parse": ON}))
    assert vlan is not None
    assert vlan.level is NOTE
    assert "untagged" in vlan.detail
    assert "rxvlan off" in vlan.advice
    fixed = offloads.vlan_stripping(host, Link("e", offloads={"rx-vlan-hw-parse": FIXED}))
    assert fixed is not None
    assert "rxvlan off" not in fixed.advice
    assert level(offloads.vlan_stripping(host, Link("e", offloads={"rx-vlan-hw-parse": OFF}))) is OK
    assert level(offloads.hardware_gro(host, Link("e", offloads={"rx-gro-hw": ON}))) is NOTE
    assert level(offloads.hardware_gro(host, Link("e", xdp_mode="native", offloads={"rx-gro-hw": ON}))) is OK


@pytest.mark.parametrize(
    ("cpus", "now", "most", "expected"),
    [(4, 4, 8, OK), (4, 2, 2, OK), (4, 2, 8, WARNING), (4, 1, 1, NOTE), (1, 1, 1, OK), (4, 0, 0, None)],
)
def test_receive_queues(cpus: int, now: int, most: int, expected: Level | None) -> None:
    link = Link("e", rx_queues=now, rx_queues_max=most)
    found = offloads.receive_queues(Host(cpus=cpus), link)
    assert level(found) is expected
    if found is not None and expected is WARNING:
        assert found.advice == "ethtool -L e combined 4"


def test_queue_spread() -> None:
    host = Host(cpus=4)
    assert level(offloads.queue_spread(host, Link("e", rx_queues=2, queue_cpus=("0", "0")))) is WARNING
    assert level(offloads.queue_spread(host, Link("e", rx_queues=2, queue_cpus=("0", "1")))) is OK
    assert level(offloads.queue_spread(host, Link("e", rx_queues=2, queue_cpus=("0-3", "0-3")))) is OK
    assert offloads.queue_spread(host, Link("e", rx_queues=1, queue_cpus=("0",))) is None


INTERRUPTS = """\
           CPU0       CPU1
  1:          9          0   IO-APIC   1-edge      i8042
 24:          0          0   PCI-MSI 512-edge      virtio0-config
 25:        100          0   PCI-MSI 513-edge      virtio0-input.0
 26:        100          0   PCI-MSI 514-edge      virtio0-output.0
 27:        100          0   PCI-MSI 515-edge      virtio0-input.1
 28:        100          0   PCI-MSI 515-edge      virtio10-input.0
 30:          1          1   PCI-MSI 1-edge      eth1-TxRx-0
 31:          1          1   PCI-MSI 2-edge      eth1-TxRx-1
 32:          1          1   PCI-MSI 3-edge      eth1-tx-0
 33:          1          1   PCI-MSI 3-edge      eth11-TxRx-0
 34:          1          1   PCI-MSI 3-edge      eth1
NMI:          0          0   Non-maskable interrupts
"""


def test_interrupts_of_an_interface() -> None:
    assert interrupt_numbers(INTERRUPTS, "eth0", "virtio0") == [25, 27]
    assert interrupt_numbers(INTERRUPTS, "eth1", "") == [30, 31]
    assert interrupt_numbers(INTERRUPTS, "eth2", "") == []


def test_our_wall() -> None:
    up = InterfaceState("eth0", 2, "native", 7, 7)
    down = InterfaceState("eth1", 0, None, 0, 7)
    digest = Config().dataplane_digest()
    assert wall.loaded(Host()).level is NOTE
    assert "unknown" in wall.loaded(Host(hidden=True)).title
    assert wall.controller(Host()) is None
    good = Host(
        standing=(Standing("default", frozenset({7}), (up,), digest),), config=Config(), controller_pid=9
    )
    assert [level(check(good)) for check in (wall.loaded, wall.up_to_date, wall.controller, wall.other_walls)] == [
        OK, OK, OK, None,
    ]  # fmt: skip
    bad = Host(
        instance="two",
        standing=(Standing("two", frozenset({7}), (up, down), "0" * 16), Standing("lab")),
        config=Config(),
    )
    assert [level(check(bad)) for check in (wall.loaded, wall.up_to_date, wall.controller, wall.other_walls)] == [
        PROBLEM, WARNING, WARNING, NOTE,
    ]  # fmt: skip
    assert "eth1" in wall.loaded(bad).title
    assert "--instance two" in wall.loaded(bad).advice
    assert (
        wall.loaded(Host(standing=(Standing("default", fault="another version"),))).detail
        == "another version"
    )


def test_every_check_is_registered() -> None:
    modules = (kernel, links, machine, offloads, rights, tools, wall)
    listed = {check.__name__ for check in (*HOST_CHECKS, *LINK_CHECKS)}
    assert len(listed) == len(HOST_CHECKS) + len(LINK_CHECKS)
    written = {
        name
        for module in modules
        for name, value in vars(module).items()
        if callable(value)
        and getattr(value, "__annotations__", {}).get("return") in {"Finding", "Finding | None"}
    } - {"note", "ok", "problem", "warning"}
    assert written == listed


def test_what_is_not_ok_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="what to do"):
        Finding(NOTE, "odd")


def test_health() -> None:
    def results(*levels: Level) -> list[Result]:
        return [Result("c", "", Finding(one, "t", "", "" if one is OK else "a")) for one in levels]

    assert healthy(results(OK, NOTE, WARNING))
    assert not healthy(results(OK, PROBLEM))
    missing = examine(Host(missing=("nope",), root=Path("/nonexistent")))
    assert not healthy(missing)


def test_the_facts_of_this_host(tmp_path: Path) -> None:
    """The doctor gets through on any machine, root or not."""
    path = tmp_path / "wall.toml"
    path.write_text("")
    host = collect.collect(Paths("nothing-here"), ["lo", "nope0"], path)
    assert host.release == os.uname().release
    assert [link.name for link in host.links] == ["lo"]
    assert host.missing == ("nope0",)
    assert host.possible_cpus >= host.cpus >= 1
    assert host.wall is None
    assert examine(host)


def test_the_verb(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wall.toml"
    path.write_text("bans = 1\n")
    ran = run("doctor", "-i", "lo", "-c", str(path), "-o", "json")
    assert ran.code == 1
    answer = ran.json
    assert not answer["healthy"]
    by_check = {entry["check"]: entry for entry in answer["findings"]}
    assert by_check["config_file"]["level"] == "problem"
    assert "line 1: bans" in by_check["config_file"]["detail"]
    assert by_check["mtu"]["interface"] == "lo"
    assert by_check["kernel_version"]["interface"] is None
    for entry in answer["findings"]:
        assert entry["advice"] or entry["level"] == "ok"
    human = run("doctor", "-i", "lo", "-c", str(path))
    assert human.code == 1
    assert "interface lo" in human.out
    assert "problem" in human.out.splitlines()[-1]
    assert run("doctor", "-c", str(tmp_path / "none")).code == 2
