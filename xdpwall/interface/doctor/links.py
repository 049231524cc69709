# SPDX-License-Identifier: Apache-2.0
"""Checks of one network interface: can the wall stand there, how fast, who else does."""

from __future__ import annotations

from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import XDP_BASIC, XDP_RX_FRAGMENTS, Host, Link
from xdpwall.interface.doctor.kernel import JUMBO

ONE_BUFFER_MTU = 3498
"""A page of 4096 bytes less XDP's head room (256), ``skb_shared_info`` (320), an Ethernet header and two tags."""
_VIRTUAL = frozenset({"", "bridge", "dummy", "ifb", "tun", "vxlan", "bonding", "802.1Q VLAN Support"})


def state(host: Host, link: Link) -> Finding:
    """Whether it is up."""
    del host
    driver = f", driver {link.driver}" if link.driver else ""
    if link.up:
        return ok(f"up{driver}")
    return warning(f"down{driver}", "No packet arrives.", f"ip link set {link.name} up")


def xdp_mode(host: Host, link: Link) -> Finding:
    """The mode that is attached, or what the driver says it can; nothing is attached to find out."""
    ours = any(link.program_id in wall.program_ids for wall in host.standing)
    generic = "Generic mode drops a packet only after the kernel has built its buffer: several times slower."
    if ours and link.xdp_mode == "native":
        return ok("XDP is attached in native mode")
    can_native = link.xdp_features is not None and link.xdp_features & XDP_BASIC
    if ours and link.xdp_mode == "generic":
        advice = (
            "the driver can do native mode now: `xdpwall unload`, then `xdpwall load`"
            if can_native
            else "use a card whose driver has native XDP; or accept the speed"
        )
        return warning("XDP is attached in generic mode", generic, advice)
    if link.xdp_features is None:
        return note(
            "native XDP: unknown",
            "Before 6.3 the kernel does not tell what a driver can do.",
            "`xdpwall load` tries native mode first, and says what it got",
        )
    if can_native:
        return ok("the driver has native XDP")
    what = f"the driver {link.driver!r} has" if link.driver not in _VIRTUAL else "this kind of interface has"
    return warning(
        f"{what} no native XDP",
        generic,
        "put the wall on the physical interface below, or use a card whose driver has it; generic mode works meanwhile",
    )


def mtu(host: Host, link: Link) -> Finding:
    """Above one buffer's worth native XDP needs a driver and a kernel that take frames in several buffers."""
    title = f"MTU {link.mtu}"
    if link.mtu <= ONE_BUFFER_MTU:
        return ok(title)
    fits = f"ip link set {link.name} mtu {ONE_BUFFER_MTU} or less, where the network allows it"
    if host.version < JUMBO:
        return warning(
            title,
            "Before 5.18 native XDP takes no frame longer than a buffer.",
            f"{fits}; or run 5.18 or later",
        )
    if link.xdp_features is None:
        return note(
            title,
            "Native XDP needs a driver that takes frames in several buffers; this kernel does not tell.",
            "`xdpwall load` says what it got; if it is generic mode, lower the MTU",
        )
    if link.xdp_features & XDP_RX_FRAGMENTS or not link.xdp_features & XDP_BASIC:
        return ok(title)
    return warning(title, "This driver takes no frame longer than a buffer in native XDP.", fits)


def other_program(host: Host, link: Link) -> Finding:
    """Somebody else's XDP program; xdpwall never replaces one."""
    if not link.program_id:
        return ok("no XDP program is attached")
    for wall in host.standing:
        if link.program_id in wall.program_ids:
            if wall.instance == host.instance:
                return ok(f"our program is attached (id {link.program_id})")
            return warning(
                f"the wall of instance {wall.instance!r} stands here (id {link.program_id})",
                f"Instance {host.instance!r} cannot stand here too.",
                f"xdpwall --instance {wall.instance} unload -i {link.name}, if it is not wanted",
            )
    name = f", named {link.program_name!r}" if link.program_name else ""
    return problem(
        f"another's XDP program is attached (id {link.program_id}{name})",
        "xdpwall never replaces a program that is not its own, so it cannot stand here.",
        f"see whose it is with `bpftool prog show id {link.program_id}`; detach it with the tool that put it there, "
        f"or with `ip link set {link.name} xdp off`",
    )


def missing(host: Host) -> Finding | None:
    """Interfaces that were named and are not there."""
    if not host.missing:
        return None
    return problem(
        f"no such interface: {', '.join(host.missing)}",
        "They are named in the config or with -i.",
        "mend the name, or bring the interface up",
    )


def any_link(host: Host) -> Finding | None:
    """Whether there is anything to stand on."""
    if host.links or host.missing:
        return None
    return warning("there is no interface that is up", "", "name one with -i, or in the config")
