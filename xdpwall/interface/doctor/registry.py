# SPDX-License-Identifier: Apache-2.0
"""Every check, in the order in which they are told. To add one, write it and put it in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdpwall.interface.doctor import kernel, links, machine, offloads, rights, tools, wall
from xdpwall.interface.doctor.finding import Finding, Level
from xdpwall.interface.doctor.host import Host, Link

HostCheck = Callable[[Host], Finding | None]
LinkCheck = Callable[[Host, Link], Finding | None]

HOST_CHECKS: tuple[HostCheck, ...] = (
    kernel.kernel_version,
    kernel.bpf_syscall,
    kernel.jit,
    kernel.jit_hardening,
    kernel.unprivileged_bpf,
    kernel.btf,
    rights.capabilities,
    rights.locked_memory,
    tools.bcc,
    tools.bpffs,
    rights.config_file,
    machine.memory,
    machine.clock_source,
    machine.clock_sync,
    machine.syn_cookies,
    machine.reverse_path,
    links.any_link,
    links.missing,
    wall.loaded,
    wall.up_to_date,
    wall.controller,
    wall.other_walls,
)
LINK_CHECKS: tuple[LinkCheck, ...] = (
    links.state,
    links.xdp_mode,
    links.other_program,
    links.mtu,
    offloads.large_receive,
    offloads.hardware_gro,
    offloads.vlan_stripping,
    offloads.receive_queues,
    offloads.queue_spread,
)


@dataclass(frozen=True, slots=True)
class Result:
    """One check's finding. ``check`` is a stable name; ``interface`` is "" for the host's own."""

    check: str
    interface: str
    finding: Finding


def examine(host: Host) -> list[Result]:
    """Run every check; those that do not apply leave nothing."""
    results = [Result(check.__name__, "", found) for check in HOST_CHECKS if (found := check(host))]
    for link in host.links:
        results += [
            Result(check.__name__, link.name, found) for check in LINK_CHECKS if (found := check(host, link))
        ]
    return results


def healthy(results: list[Result]) -> bool:
    """Whether nothing found is a problem."""
    return all(result.finding.level is not Level.PROBLEM for result in results)
