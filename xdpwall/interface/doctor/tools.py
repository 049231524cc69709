# SPDX-License-Identifier: Apache-2.0
"""Checks of what comes from the distribution: bcc, and the bpffs."""

from __future__ import annotations

from xdpwall.interface.doctor.finding import Finding, note, ok, problem, warning
from xdpwall.interface.doctor.host import Host
from xdpwall.paths import BPFFS

OLDEST_BCC = (0, 26)
_PACKAGES = (
    (("debian", "ubuntu"), "apt-get install --no-install-recommends python3-bpfcc"),
    (("fedora", "rhel", "centos"), "dnf install python3-bcc"),
    (("arch",), "pacman -S --needed python-bcc"),
    (("suse", "opensuse"), "zypper install python3-bcc"),
    (("alpine",), "apk add py3-bcc"),
)


def bcc(host: Host) -> Finding:
    """The compiler of the data path: only `load` needs it."""
    found = host.bcc
    if found.folder is None:
        return problem(
            "bcc is not installed",
            "It compiles the data path; `load` needs it, a loaded wall does not.",
            f"{package_command(host)} (the package named bcc of the Python index is something else)",
        )
    title = f"bcc {found.version or 'of unknown version'}"
    if found.error:
        return problem(title, f"Its library does not load: {found.error}", f"{package_command(host)}, again")
    numbers = tuple(int(part) for part in found.version.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST_BCC:
        return problem(title, "It is too old.", "0.26 or later is needed: Debian 12 and Ubuntu 24.04 have it")
    if len(numbers) < 2:
        return warning(
            title, f"{found.folder} does not say its version.", "make sure that it is 0.26 or later"
        )
    return ok(title, str(found.folder))


def bpffs(host: Host) -> Finding:
    """Pins live there."""
    if host.bpffs:
        return ok(f"the bpffs is mounted on {BPFFS}")
    return note(
        f"no bpffs is mounted on {BPFFS}",
        "`load` mounts it; in a container it may not be able to.",
        f"nothing, or mount -t bpf bpf {BPFFS}",
    )


def package_command(host: Host) -> str:
    """How this distribution installs bcc."""
    words: set[str] = set()
    for line in (host.read("etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key in {"ID", "ID_LIKE"}:
            words |= set(value.strip("\"'").split())
    for families, command in _PACKAGES:
        if any(word.startswith(families) for word in words):
            return command
    return "install the Python module bcc of your distribution"
