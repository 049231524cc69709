# SPDX-License-Identifier: Apache-2.0
"""Reads what the kernel knows of network interfaces: by netlink and ethtool, which follow the network namespace.

Nothing is attached or changed. sysfs is not used for interfaces: it shows the namespace that it was mounted in.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.ethtool import Ethtool
from pyroute2.ethtool.ioctl import EthtoolError
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from xdpwall.dataplane import sys_bpf
from xdpwall.errors import XdpwallError
from xdpwall.interface.doctor.host import Link, Offload

_SIOCETHTOOL = 0x8946
_GDRVINFO = 3
_DRVINFO_BYTES = 196  # struct ethtool_drvinfo: cmd, then driver[32] and more (linux/ethtool.h)
_NETDEV_CMD_DEV_GET = 1
_MODES = {"xdp": "native", "xdpgeneric": "generic", "xdpoffload": "hardware"}
_IFF_UP = 1
_REFUSALS = (NetlinkError, EthtoolError, OSError)
"""What pyroute2's ethtool raises for an interface that has no such thing."""


class _NetdevMessage(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """Message of the generic netlink family "netdev" (Documentation/netlink/specs/netdev.yaml)."""

    prefix = "NETDEV_A_DEV_"
    nla_map = (
        ("NETDEV_A_DEV_UNSPEC", "none"),
        ("NETDEV_A_DEV_IFINDEX", "uint32"),
        ("NETDEV_A_DEV_PAD", "none"),
        ("NETDEV_A_DEV_XDP_FEATURES", "uint64"),
    )


def read_links(names: Iterable[str]) -> tuple[list[Link], list[str]]:
    """Facts of interfaces.

    Args:
        names: which; none means those that are likely to be meant: real cards that are up, else all that are up.

    Returns:
        The interfaces, and the names that are not there.
    """
    with IPRoute() as route:
        messages = {str(message.get_attr("IFLA_IFNAME")): message for message in route.get_links()}
    wanted = list(dict.fromkeys(names)) or _likely(messages)
    features = _xdp_features()
    found = [_link(messages[name], features) for name in wanted if name in messages]
    return found, [name for name in wanted if name not in messages]


def _likely(messages: dict[str, Any]) -> list[str]:
    up = [name for name, message in messages.items() if name != "lo" and message["flags"] & _IFF_UP]
    return [name for name in up if messages[name].get_attr("IFLA_PARENT_DEV_NAME")] or up


def _link(message: Any, features: dict[int, int] | None) -> Link:
    name = str(message.get_attr("IFLA_IFNAME"))
    xdp = message.get_attr("IFLA_XDP")
    attached = xdp.get_attr("IFLA_XDP_ATTACHED") if xdp is not None else None
    program = int((xdp.get_attr("IFLA_XDP_PROG_ID") if xdp is not None else 0) or 0)
    queues, queues_max = _channels(name)
    return Link(
        name=name,
        index=int(message["index"]),
        mtu=int(message.get_attr("IFLA_MTU") or 0),
        up=bool(message["flags"] & _IFF_UP),
        driver=_driver(name),
        xdp_mode=_MODES.get(str(attached), "several") if attached else None,
        program_id=program,
        program_name=_program_name(program) if program else "",
        xdp_features=None if features is None else features.get(int(message["index"]), 0),
        offloads=_offloads(name),
        rx_queues=queues,
        rx_queues_max=queues_max,
        queue_cpus=_queue_cpus(name, str(message.get_attr("IFLA_PARENT_DEV_NAME") or "")),
    )


def _xdp_features() -> dict[int, int] | None:
    """XDP features by interface index; None when the kernel does not tell (before 6.3)."""
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind("netdev", _NetdevMessage)
        except (NetlinkError, OSError):
            return None
        message = _NetdevMessage()
        message["cmd"] = _NETDEV_CMD_DEV_GET
        message["version"] = 1
        try:
            answers = netlink.nlm_request(
                message, msg_type=netlink.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP
            )
            return {
                int(answer.get_attr("NETDEV_A_DEV_IFINDEX")): int(
                    answer.get_attr("NETDEV_A_DEV_XDP_FEATURES") or 0
                )
                for answer in answers
            }
        except NetlinkError:
            return None


def _offloads(name: str) -> dict[str, Offload]:
    with Ethtool() as ethtool:
        try:
            features = ethtool.get_features(name).features
        except _REFUSALS:
            return {}
        return {
            key: Offload(on=bool(feature.enable), changeable=bool(feature.available))
            for key, feature in features.items()
            if key
        }


def _channels(name: str) -> tuple[int, int]:
    with Ethtool() as ethtool:
        try:
            channels = ethtool.get_channels(name)
        except _REFUSALS:
            return 0, 0
    now = int(channels.rx_count or 0) + int(channels.combined_count or 0)
    return now, max(int(channels.max_rx or 0), int(channels.max_combined or 0), now)


def _driver(name: str) -> str:
    """The driver's name, by ioctl SIOCETHTOOL; "" when it does not tell."""
    answer = array.array("B", struct.pack("I", _GDRVINFO) + bytes(_DRVINFO_BYTES - 4))
    request = struct.pack("16sP16x", name.encode(), answer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            fcntl.ioctl(probe, _SIOCETHTOOL, request)
        except OSError:
            return ""
    return answer.tobytes()[4:36].split(b"\0")[0].decode(errors="replace")


def _program_name(ident: int) -> str:
    try:
        fd = sys_bpf.prog_fd_by_id(ident)
        try:
            return sys_bpf.prog_info(fd).name
        finally:
            os.close(fd)
    except XdpwallError:
        return ""


def _queue_cpus(name: str, parent: str) -> tuple[str, ...]:
    """Where the interrupts of an interface's receive queues are delivered: one CPU list each."""
    try:
        table = Path("/proc/interrupts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(_affinity(number) for number in interrupt_numbers(table, name, parent))


def interrupt_numbers(table: str, name: str, parent: str) -> list[int]:
    """The interrupts of an interface's receive queues.

    Args:
        table: the text of /proc/interrupts.
        name: of the interface; most drivers put it into the interrupt's name (``eth0-TxRx-1``).
        parent: of its device (``virtio0``); virtio names interrupts by it (``virtio0-input.1``).
    """
    own = re.compile(rf"(?<![\w.]){re.escape(name)}[-_@:.](?!.*(?:tx|config|async|mgmnt)\b)", re.IGNORECASE)
    virtio = re.compile(rf"(?<![\w.]){re.escape(parent)}-input\b") if parent else None
    numbers = []
    for line in table.splitlines()[1:]:
        head, _, rest = line.partition(":")
        if head.strip().isdigit() and (own.search(rest) or (virtio and virtio.search(rest))):
            numbers.append(int(head))
    return numbers


def _affinity(number: int) -> str:
    for file in ("effective_affinity_list", "smp_affinity_list"):
        try:
            return Path(f"/proc/irq/{number}/{file}").read_text(encoding="ascii").strip()
        except OSError:
            continue
    return ""
