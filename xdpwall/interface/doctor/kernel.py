# SPDX-License-Identifier: Apache-2.0
"""Checks of the kernel."""

from __future__ import annotations

import errno
import os

from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import Host

OLDEST = (5, 10)
"""XDP links are in 5.9 and later; 5.10 is the oldest long-term kernel with them."""
JUMBO = (5, 18)


def kernel_version(host: Host) -> Finding:
    """XDP links keep the wall attached with no process; they came with 5.9."""
    title = f"kernel {host.release}"
    if host.version < OLDEST:
        return problem(
            title, "XDP links, which keep the wall up without a process, came with 5.9.", "run 5.10 or later"
        )
    if host.version < JUMBO:
        return note(
            title,
            "Before 5.18 native XDP takes no jumbo frames, and the lab's packet generator does not work.",
            "nothing, unless you need either; then run 5.18 or later",
        )
    return ok(title)


def bpf_syscall(host: Host) -> Finding:
    """Load a program of two instructions and let go of it again."""
    if not host.load_error:
        return ok("BPF programs can be loaded")
    title = f"BPF programs cannot be loaded: {os.strerror(host.load_error)}"
    if host.load_error == errno.ENOSYS:
        return problem(title, "The kernel has no bpf(2).", "run a kernel built with CONFIG_BPF_SYSCALL=y")
    if host.load_error in {errno.EPERM, errno.EACCES}:
        return problem(
            title,
            "Not root, or something forbids it: a container, a seccomp filter, kernel lockdown.",
            "run it as root; in a container allow bpf(2), CAP_BPF and CAP_NET_ADMIN",
        )
    if host.load_error == errno.ENOMEM:
        return problem(
            title, "The limit of locked memory or the memory itself is used up.", "see the findings on memory"
        )
    return problem(title, "", "look at `dmesg`; a kernel of your distribution does not do this")


def jit(host: Host) -> Finding:
    """Interpreted programs cost several times as much a packet."""
    if host.load_error:
        return note(
            "BPF JIT: unknown",
            "It cannot be tried without loading a program.",
            "mend the finding on BPF programs first",
        )
    if host.jited:
        return ok("BPF JIT is on")
    return warning(
        "BPF JIT is off",
        "Each packet is interpreted, which costs several times as much.",
        "sysctl -w net.core.bpf_jit_enable=1, and keep it in /etc/sysctl.d/",
    )


def jit_hardening(host: Host) -> Finding | None:
    """Hardening for all users blinds constants, root's too."""
    value = host.number("proc/sys/net/core/bpf_jit_harden")
    if value is None:
        return None
    if value < 2:
        return ok(f"BPF JIT hardening is {'off' if value == 0 else 'on for other users than root'}")
    return note(
        "BPF JIT hardening is on for root's programs too",
        "Blinded constants make each program longer and a little slower.",
        "sysctl -w net.core.bpf_jit_harden=1 spares root's programs; or leave it, if you want it so",
    )


def unprivileged_bpf(host: Host) -> Finding | None:
    """Users who may load BPF programs are an attack surface that a wall should not have."""
    value = host.number("proc/sys/kernel/unprivileged_bpf_disabled")
    if value is None:
        return None
    if value:
        return ok("BPF is closed to other users than root")
    return warning(
        "any user may load BPF programs",
        "xdpwall does not need it, and attacks on the kernel have used it.",
        "sysctl -w kernel.unprivileged_bpf_disabled=2, and keep it in /etc/sysctl.d/",
    )


def btf(host: Host) -> Finding:
    """Type information of the kernel; only tools that look at the wall use it."""
    if (host.root / "sys/kernel/btf/vmlinux").exists():
        return ok("the kernel has type information (BTF)")
    return note(
        "the kernel has no type information (BTF)",
        "xdpwall does not need it; bpftool shows less without.",
        "nothing; a kernel built with CONFIG_DEBUG_INFO_BTF=y has it",
    )
