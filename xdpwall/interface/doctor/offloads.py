# SPDX-License-Identifier: Apache-2.0
"""Checks of one interface's offloads and queues."""

from __future__ import annotations

from xdpwall.interface.doctor.finding import Finding, note, ok, warning
from xdpwall.interface.doctor.host import Host, Link


def large_receive(host: Host, link: Link) -> Finding | None:
    """LRO and XDP exclude each other: XDP sees packets before any are joined."""
    del host
    lro = link.offloads.get("rx-lro")
    if lro is None:
        return None
    if not lro.on:
        return ok("large receive offload is off")
    return warning(
        "large receive offload (LRO) is on",
        "It joins packets before XDP could see each of them; many drivers refuse native XDP while it is on.",
        f"ethtool -K {link.name} lro off",
    )


def hardware_gro(host: Host, link: Link) -> Finding | None:
    """The same in newer cards."""
    del host
    gro = link.offloads.get("rx-gro-hw")
    if gro is None or not gro.on:
        return None
    if link.xdp_mode is not None:
        return ok("hardware GRO is left to the driver, which has taken XDP with it")
    return note(
        "hardware GRO is on",
        "Like LRO it joins packets in the card. Drivers turn it off for XDP, or refuse native mode while it is on.",
        f"nothing, unless `load` falls back to generic mode; then: ethtool -K {link.name} rx-gro-hw off",
    )


def vlan_stripping(host: Host, link: Link) -> Finding | None:
    """A card that strips the tag leaves XDP an untagged packet; the verdict is the same."""
    del host
    strip = link.offloads.get("rx-vlan-hw-parse")
    if strip is None:
        return None
    if not strip.on:
        return ok("VLAN tags stay in the packet, and the wall reads them")
    how = f"nothing; to let the wall see tags: ethtool -K {link.name} rxvlan off"
    return note(
        "the card takes VLAN tags off (rx-vlan-offload)",
        "XDP sees such packets untagged, the tag is kept beside them. Addresses are judged all the same; the wall just "
        "cannot tell one VLAN from another, or count tags.",
        how if strip.changeable else "nothing; this driver does not let it be turned off",
    )


def receive_queues(host: Host, link: Link) -> Finding | None:
    """Native XDP runs on the CPU that serves the queue: one queue is one CPU."""
    if not link.rx_queues:
        return None
    queues = f"{link.rx_queues} receive queue{'s' if link.rx_queues > 1 else ''}"
    title = f"{queues}, {host.cpus} CPU{'s' if host.cpus > 1 else ''}"
    useful = min(host.cpus, link.rx_queues_max or link.rx_queues)
    if link.rx_queues >= useful:
        if link.rx_queues == 1 and host.cpus > 1:
            return note(
                title,
                "This interface has one queue, so one CPU carries the whole flood.",
                "nothing here; a card (or a virtual one) with several queues would spread it",
            )
        return ok(title)
    flag = "rx" if link.driver == "veth" else "combined"
    return warning(
        title,
        f"Only {link.rx_queues} of {host.cpus} CPUs share a flood's work; {link.rx_queues_max} queues are possible.",
        f"ethtool -L {link.name} {flag} {useful}",
    )


def queue_spread(host: Host, link: Link) -> Finding | None:
    """Several queues whose interrupts all go to one CPU are as good as one."""
    if link.rx_queues < 2 or host.cpus < 2 or len(link.queue_cpus) < 2:
        return None
    if len(set(link.queue_cpus)) > 1 or not link.queue_cpus[0].isdigit():
        return ok("interrupts are spread over CPUs")
    return warning(
        f"every queue's interrupt goes to CPU {link.queue_cpus[0]}",
        "Then one CPU carries the whole flood.",
        "run irqbalance, or spread them by /proc/irq/*/smp_affinity_list",
    )
