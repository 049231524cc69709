# SPDX-License-Identifier: Apache-2.0
"""The bench measures real programs with whole packets, says so in its JSON, leaves nothing. No figure is judged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from xdpwall.bench.traffic import Family, Frame, Traffic, sources
from xdpwall.config import Config
from xdpwall.dataplane import compiler, defines, source, sys_bpf
from xdpwall.lab import namespaces, network
from xdpwall.paths import Paths

TX = 3


def bench(*arguments: str, path: str | None = None) -> tuple[int, subprocess.CompletedProcess[str]]:
    """Run the verb to its end; gives its process id too."""
    environment = os.environ | ({"PATH": path} if path else {})
    with subprocess.Popen(
        [sys.executable, "-m", "xdpwall", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        out, err = process.communicate(timeout=110)
    return process.pid, subprocess.CompletedProcess(process.args, process.returncode, out, err)


def left_by(pid: int) -> list[str]:
    """Namespaces, pins and folders that carry the name of a bench."""
    head = f"xw-{pid}-"
    folders = (Paths().pins.parent, Paths().runtime.parent, Paths().state.parent, Path("/run/xdpwall-lab"))
    found = namespaces.names(head)
    for folder in folders:
        if folder.is_dir():
            found += [str(entry) for entry in folder.iterdir() if entry.name.startswith(head)]
    return found


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    """Two rows with what they are compared with, accuracy, a peer that is not installed, a chart."""
    chart = tmp_path / "chart.svg"
    only = ("blocked-1k", "flood-v6", "nft-set-1k", "accuracy")
    asked = [word for name in only for word in ("--only", name)]
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nsenter").symlink_to(
        shutil.which("nsenter") or ""
    )  # all that the bench needs; nft is not there
    pid, done = bench("--quick", "--rounds", "1", *asked, "--svg", str(chart), "-o", "json", path=str(tools))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["schema"] == 1
    assert [row["name"] for row in result["rows"]] == ["bare", "blocked-1k", "bare-v6", "flood-v6"]
    for row in result["rows"]:
        assert row["in_kind"] > 0.999, "the wall's own counters say that it did what the row is about"
        assert row["received_packets"] > 0
        assert 0 < row["least_ns"] <= row["median_ns"]
        assert row["ratio"] > 0
    blocked = result["rows"][1]
    assert blocked["ratio_bar"] == 1.3
    assert blocked["ratio_met"] is (blocked["ratio"] <= 1.3)
    assert result["missing"] == [
        {
            "name": "nft-set-1k",
            "peer": "nftables",
            "reason": "nft is not installed",
            "hint": "apt-get install nftables",
        }
    ]
    for accuracy in (result["accuracy"], result["accuracy_v6"]):
        # A packet of the link's own, like neighbour discovery, may come in between.
        assert 0 <= accuracy["packets"] + accuracy["lost_packets"] - 2_000_000 < 20
        assert accuracy["median_percent"] <= accuracy["worst_percent"] < 100, (
            "every heavy source has a counter"
        )
    assert result["machine"]["tick_hz"] in (100, 250, 300, 1000)
    assert isinstance(result["missed"], list)
    ElementTree.parse(chart)
    assert left_by(pid) == []


def test_interrupted() -> None:
    """Ctrl-C while it builds or runs: nothing is left."""
    with subprocess.Popen(
        [sys.executable, "-m", "xdpwall", "bench", "--only", "over-limit"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 60
        while not namespaces.names(f"xw-{process.pid}-2-") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_by(process.pid) == []


def test_unknown_row() -> None:
    _, done = bench("--only", "teapot")
    assert done.returncode == 2
    assert "teapot" in done.stderr
    assert "blocked-100k" in done.stderr


def test_a_load_never_makes_pass_a_drop() -> None:
    """What the bench sets to leave the stack out of its figures is in no config."""
    config = Config()
    assert "BENCH_PASS_IS_DROP" not in defines.defines(config, defines.sizes(config, 2), seed=1)


@pytest.mark.parametrize(
    "traffic", [Traffic(4, 500), Traffic(6, 500), Traffic(4, tcp=True), Traffic(6)], ids=str
)
def test_packets_are_whole_and_from_the_list(traffic: Traffic) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    listed = {prefix.address for prefix in sources(traffic.family, traffic.sources)}
    seen = set()
    for data in pushed(traffic, 300):
        frame = Ether(data)
        ip = frame[IP] if traffic.family == 4 else frame[IPv6]
        if traffic.family == 4:
            again = Ether(data)
            del again[IP].chksum
            assert Ether(bytes(again))[IP].chksum == ip.chksum
        seen.add(str(ip_address(str(ip.src))) if traffic.family == 4 else first_half(ip.src))
    if traffic.sources:
        assert seen <= listed
        assert len(seen) > 100
    else:
        assert len(seen) == 300, "random sources hardly ever come twice"
        assert all(not ip_address(address).is_multicast for address in seen)


def first_half(text: str) -> str:
    """The /64 of an address, as an address."""
    return str(ip_address(socket.inet_pton(socket.AF_INET6, text)[:8] + bytes(8)))


def pushed(traffic: Traffic, count: int) -> list[bytes]:
    """Packets as the generator's program writes them, run one by one without an interface."""
    frame = Frame(network.wall_link(), traffic)
    module = compiler.compile_source(source.bpf_folder() / "bench" / "gun.c")
    try:
        plan = struct.pack(
            "<QIIIIII", 7, traffic.listed_of_65536, max(1, traffic.sources), frame.sum, 0, 0, 0
        )
        sys_bpf.map_update(module.map_fd("plan"), bytes(4), plan)
        fd = sys_bpf.prog_load(module.program("push"), "test_gun")
        try:
            runs = [sys_bpf.test_run(fd, frame.data) for _ in range(count)]
        finally:
            os.close(fd)
    finally:
        module.close()
    assert {run.verdict for run in runs} == {TX}
    return [run.data for run in runs]


@pytest.mark.parametrize("family", [4, 6])
def test_no_source_is_listed_twice(family: Family) -> None:
    listed = sources(family, 100_000)
    assert len(set(listed)) == 100_000
    assert all(prefix.is_source for prefix in listed)
