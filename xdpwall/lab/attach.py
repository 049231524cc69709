# SPDX-License-Identifier: Apache-2.0
"""Puts the lab's own programs on interfaces of the lab. They go with the namespace."""

from __future__ import annotations

import os
import socket
from typing import Any

from xdpwall.dataplane import compiler, source, sys_bpf
from xdpwall.errors import LabError
from xdpwall.lab import crowd, namespaces
from xdpwall.lab.network import Link

_TC_H_CLSACT = 0xFFFFFFF1
_TC_H_INGRESS = 0xFFFFFFF2
_CLSACT_PARENT = 0xFFFF0000
_ETH_P_ALL = 3
_PRIORITY = 49_000
"""Behind whatever else is there: a program of the wall's own goes first."""
_DIRECT_ACTION = 1


def ingress(namespace: str, ifname: str, program: int, name: str) -> None:
    """Run a tc program on everything that comes in, after XDP and before the stack.

    Args:
        namespace: full name.
        ifname: interface in it.
        program: file descriptor; may be closed afterwards.
        name: as `tc filter show` tells it.

    Raises:
        LabError: the kernel refused.
    """
    namespaces.inside(namespace, lambda: _attach(ifname, program, name))


def wire(namespace: str, wall: Link, client: Link) -> int:
    """End the wall's answers to anybody but the clients where the wall's link ends (``bpf/lab/wire.c``).

    With an XDP program there, the end of the link also takes frames that the wall sends back itself (XDP_TX).

    Returns:
        The link by which it is attached: it is as long as this file descriptor is open.

    Raises:
        KernelError: the kernel refused.
    """
    four = socket.inet_pton(socket.AF_INET, client.host.v4)
    six = socket.inet_pton(socket.AF_INET6, client.host.v6)
    defines: dict[str, int | str] = {
        "CLIENT4": int.from_bytes(four[:3], "little"),
        "CLIENT4_MASK": "0xffffffU",
        "CROWD4": _number(crowd.CROWD4.network_address.packed),
        "CROWD4_MASK": _number(crowd.CROWD4.netmask.packed),
        "CLIENT6": _number(six[:8]),
        "CLIENT6_MASK": "(~0ULL)",
        "CROWD6": _number(crowd.CROWD6.network_address.packed[:8]),
        "CROWD6_MASK": _number(crowd.CROWD6.netmask.packed[:8]),
    }
    module = compiler.compile_source(source.bpf_folder() / "lab" / "wire.c", defines)
    try:
        program = sys_bpf.prog_load(module.program("pass_client"), "lab_wire")
    finally:
        module.close()
    try:
        return namespaces.inside(
            namespace,
            lambda: sys_bpf.link_create_xdp(
                program, socket.if_nametoindex(wall.net.ifname), sys_bpf.XDP_FLAGS_DRV_MODE
            ),
        )
    finally:
        os.close(program)


def _number(packed: bytes) -> str:
    """A constant of C: the bytes as they lie in memory."""
    return f"{int.from_bytes(packed, 'little')}{'ULL' if len(packed) > 4 else 'U'}"


def _attach(ifname: str, program: int, name: str) -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    with IPRoute() as ip:
        index = ip.link_lookup(ifname=ifname)[0]
        try:
            _clsact(ip, index)
            ip.tc(
                "add-filter",
                "bpf",
                index,
                0,
                fd=program,
                name=name,
                parent=_TC_H_INGRESS,
                prio=_PRIORITY,
                protocol=_ETH_P_ALL,
                flags=_DIRECT_ACTION,
            )
        except NetlinkError as error:
            raise LabError(f"{ifname}: the kernel refused the tc program {name}: {error}") from error


def _clsact(ip: Any, index: int) -> None:
    """Have a clsact qdisc, ours or one that was there."""
    for qdisc in ip.get_qdiscs(index=index):
        if qdisc["parent"] == _TC_H_CLSACT:
            return
    ip.tc("add", "clsact", index, _CLSACT_PARENT)
