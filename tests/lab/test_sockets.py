# SPDX-License-Identifier: Apache-2.0
"""Reading the host's sockets, against real ones in a namespace of the test's own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bpf.conftest import _PASS_ALL
from tests.bpf.scene import scene
from xdpwall.config import Config
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.behind import others_behind
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.sockets import ALL_PORTS, TCP, UDP, forwards, read_sockets, survey

HERE, THERE = "192.0.2.1", "192.0.2.2"
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


class Host:
    """This thread in a namespace with addresses on its loopback interface, and sockets that are closed in the end."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def new(self, family: int, kind: int, *, dual: bool = False) -> socket.socket:
        made = self._stack.enter_context(socket.socket(family, kind))
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        return made

    def bound(self, kind: int, address: str, port: int = 0, *, dual: bool = False) -> socket.socket:
        made = self.new(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, dual=dual)
        made.bind((address, port))
        return made

    def listener(self, address: str, port: int = 0, *, dual: bool = False) -> socket.socket:
        made = self.bound(socket.SOCK_STREAM, address, port, dual=dual)
        made.listen(8)
        return made

    def connect(
        self, source: str, listener: socket.socket, target: str
    ) -> tuple[socket.socket, socket.socket]:
        made = self.bound(socket.SOCK_STREAM, source)
        made.connect((target, listener.getsockname()[1]))
        return made, self._stack.enter_context(listener.accept()[0])


@pytest.fixture
def host() -> Iterator[Host]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(stack.enter_context(scene([])).inside())
        commands = [["link", "set", "lo", "up"]]
        commands += [["addr", "add", f"{a}/32", "dev", "lo"] for a in (HERE, THERE)]
        commands += [["addr", "add", f"{a}/128", "dev", "lo", "nodad"] for a in (HERE6, THERE6)]
        for command in commands:
            subprocess.run(["ip", *command], check=True)
        yield Host(stack)


def link(name: str) -> None:
    """An interface that is up and leads nowhere."""
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=True)
    for end in (name, f"{name}p"):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)


def port(of: socket.socket) -> int:
    return int(of.getsockname()[1])


def test_nothing_there(host: Host) -> None:
    found = read_sockets()
    assert (found.tcp_ports, found.udp_ports, found.flows) == (frozenset(), frozenset(), [])


def test_who_listens(host: Host) -> None:
    open_ = {
        port(host.listener("0.0.0.0")),
        port(host.listener(HERE)),
        port(host.listener("::", dual=True)),
        port(host.listener(HERE6)),
    }
    host.listener("127.0.0.1")
    host.listener("127.0.0.2")
    host.listener("::1")
    host.listener("::ffff:127.0.0.1", dual=True)
    host.bound(socket.SOCK_STREAM, HERE)  # bound, and does not listen
    assert read_sockets().tcp_ports == open_


def test_udp_ports(host: Host) -> None:
    open_ = {port(host.bound(socket.SOCK_DGRAM, a)) for a in ("0.0.0.0", HERE, "::", HERE6)}
    host.bound(socket.SOCK_DGRAM, "127.0.0.1")
    host.bound(socket.SOCK_DGRAM, "::1")
    asking = host.bound(socket.SOCK_DGRAM, HERE)
    asking.connect((THERE, 53))
    found = read_sockets()
    assert found.udp_ports == open_
    assert found.flows == [Flow(UDP, packed(HERE), port(asking), packed(THERE), 53)]


def test_connections_both_ways(host: Host) -> None:
    expected = set()
    for source, target, listening in ((THERE, HERE, HERE), (THERE6, HERE6, HERE6), (THERE, HERE, "::")):
        listener = host.listener(listening, dual=True) if listening == "::" else host.listener(listening)
        made, taken = host.connect(source, listener, target)
        for end in (made, taken):
            local, peer = end.getsockname(), end.getpeername()
            addresses = [packed(a[0].removeprefix("::ffff:")) for a in (local, peer)]
            expected.add(Flow(TCP, addresses[0], local[1], addresses[1], peer[1]))
    assert len(expected) == 6
    found = read_sockets().flows
    assert len(found) == 6
    assert set(found) == expected


def test_a_connection_within_the_host_is_none_of_ours(host: Host) -> None:
    listener = host.listener("127.0.0.1")
    host.connect("127.0.0.1", listener, "127.0.0.1")
    assert read_sockets().flows == []


def test_half_closed_counts_and_unfinished_does_not(host: Host) -> None:
    listener = host.listener(HERE)
    made, _taken = host.connect(THERE, listener, HERE)
    made.shutdown(socket.SHUT_WR)
    assert len(read_sockets().flows) == 2
    asking = host.bound(socket.SOCK_STREAM, HERE)
    asking.setblocking(False)
    link("v0")
    subprocess.run(["ip", "route", "add", "203.0.113.0/24", "dev", "v0"], check=True)
    with contextlib.suppress(BlockingIOError):
        asking.connect(("203.0.113.9", 80))  # a SYN that nobody answers
    assert len(read_sockets().flows) == 2


def test_more_than_one_message(host: Host) -> None:
    """The kernel's answer comes in many parts; each socket is in it once."""
    listener = host.listener(HERE)
    listener.listen(400)
    for _ in range(400):
        host.connect(THERE, listener, HERE)
    found = read_sockets().flows
    assert len(found) == len(set(found)) == 800


@pytest.mark.parametrize("key", ["ipv4/ip_forward", "ipv4/conf/v1/forwarding", "ipv6/conf/all/forwarding"])
def test_whether_it_forwards(host: Host, key: str) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0")
    link("v1")
    host.listener(HERE, 8443)
    assert not forwards()
    assert survey(Config()).tcp == {8443}
    Path("/proc/sys/net", key).write_text("1")
    assert forwards()
    assert set(survey(Config()).tcp) == set(ALL_PORTS)
    assert survey(Config.from_mapping({"lanes": {"closed_ports": "always"}})).tcp == {8443}


def add(*words: str) -> None:
    subprocess.run(["ip", "link", "add", *words], check=True)


def test_who_lives_behind_an_interface(host: Host) -> None:
    """Ports of a bridge and parents of a macvlan carry the packets of others."""
    listener = host.listener(HERE, 8443)
    assert listener.fileno() >= 0
    link("v2")
    assert not others_behind(["v2", "v2p"])
    add("br0", "type", "bridge")
    assert not others_behind(["v2"])
    subprocess.run(["ip", "link", "set", "v2p", "master", "br0"], check=True)
    assert not others_behind(["v2"])
    assert others_behind(["v2p"])
    assert not others_behind()
    assert survey(Config(), ["v2"]).tcp == {8443}
    assert set(survey(Config(), ["v2p"]).tcp) == set(ALL_PORTS)
    assert survey(Config.from_mapping({"lanes": {"closed_ports": "always"}}), ["v2p"]).tcp == {8443}
    link("v3")
    add("m0", "link", "v3", "type", "macvlan")
    assert others_behind(["v3"])
    assert not others_behind(["v3p"])


def test_an_interface_with_a_program_is_found(host: Host) -> None:
    """The controller need not be told on which interfaces the wall stands."""
    link("v4")
    add("br1", "type", "bridge")
    subprocess.run(["ip", "link", "set", "v4", "master", "br1"], check=True)
    assert not others_behind()
    program = sys_bpf.prog_load(_PASS_ALL, "probe")
    held = sys_bpf.link_create_xdp(program, socket.if_nametoindex("v4"), sys_bpf.XDP_FLAGS_DRV_MODE)
    try:
        assert others_behind()
    finally:
        os.close(held)
        os.close(program)
