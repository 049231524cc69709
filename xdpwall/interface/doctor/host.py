# SPDX-License-Identifier: Apache-2.0
"""The facts that checks judge. Plain data: a test makes a host of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xdpwall.config import Config
from xdpwall.dataplane.interface import InterfaceState

XDP_BASIC = 1 << 0
XDP_RX_FRAGMENTS = 1 << 5
"""Bits of XDP features (``enum netdev_xdp_act``, linux/netdev.h): native XDP at all; frames in several buffers."""


@dataclass(frozen=True, slots=True)
class Offload:
    """A feature of a network card: whether it is on, and whether it can be changed."""

    on: bool
    changeable: bool


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface.

    Args:
        name, index, mtu: as the kernel has them.
        up: whether it is set up.
        driver: the driver's name, or "" when it does not tell.
        xdp_mode: ``"native"``, ``"generic"``, ``"hardware"`` or ``"several"`` when a program is attached, else None.
        program_id: the attached program's id, or 0.
        program_name: its name, or "".
        xdp_features: bits of :data:`XDP_BASIC` and others; None when this kernel does not tell (before 6.3).
        offloads: by the names that `ethtool -k` uses in the kernel (``rx-lro``).
        rx_queues: queues in use; ``rx_queues_max`` what the card has. 0 when it does not tell.
        queue_cpus: for each interrupt of the card, the CPUs that it is delivered to.
    """

    name: str
    index: int = 1
    mtu: int = 1500
    up: bool = True
    driver: str = ""
    xdp_mode: str | None = None
    program_id: int = 0
    program_name: str = ""
    xdp_features: int | None = XDP_BASIC
    offloads: Mapping[str, Offload] = field(default_factory=dict)
    rx_queues: int = 0
    rx_queues_max: int = 0
    queue_cpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bcc:
    """The compiler. ``folder``: where its Python module is, None when nowhere. ``error``: why libbcc does not load."""

    folder: Path | None
    version: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A wall that is loaded.

    Args:
        instance: its name.
        program_ids: of its programs.
        interfaces: where it is meant to stand.
        config_digest: of what it was compiled from.
        map_bytes: memory of its maps.
        fault: why it cannot be read, or "".
    """

    instance: str
    program_ids: frozenset[int] = frozenset()
    interfaces: tuple[InterfaceState, ...] = ()
    config_digest: str = ""
    map_bytes: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine as the checks see it.

    Args:
        root: folder above ``proc`` and ``sys``: ``/``, or a test's own.
        release: of the kernel, for example ``6.1.0-18-amd64``.
        instance: the wall that is asked about.
        load_error: errno of loading a program of two instructions, 0 when it loaded.
        jited: whether that program was compiled to machine code.
        bpffs: whether a bpffs is mounted where the pins go.
        cpus: CPUs that are online; ``possible_cpus`` is how many there may ever be.
        links: the interfaces to examine. ``missing``: names asked for that are not there.
        bcc: the compiler.
        clock_synced: whether the kernel holds its clock to be in step; None when it cannot be asked.
        memlock: RLIMIT_MEMLOCK in bytes, -1 for unlimited.
        config: the config, None when it has faults. ``config_faults``: those, as lines.
        config_path: where it is.
        standing: every wall on this host, of any instance. ``hidden``: this user may not see them.
        controller_pid: of this instance, 0 when none answers.
    """

    root: Path = Path("/")
    release: str = "6.1.0"
    instance: str = "default"
    load_error: int = 0
    jited: bool = True
    bpffs: bool = True
    cpus: int = 1
    possible_cpus: int = 1
    links: tuple[Link, ...] = ()
    missing: tuple[str, ...] = ()
    bcc: Bcc = Bcc(None)
    clock_synced: bool | None = True
    memlock: int = -1
    config: Config | None = None
    config_faults: tuple[str, ...] = ()
    config_path: Path = Path("/etc/xdpwall/xdpwall.toml")
    standing: tuple[Standing, ...] = ()
    hidden: bool = False
    controller_pid: int = 0

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number of the kernel."""
        major, _, rest = self.release.partition(".")
        minor = rest.partition(".")[0].partition("-")[0]
        return (int(major) if major.isdigit() else 0, int(minor) if minor.isdigit() else 0)

    @property
    def wall(self) -> Standing | None:
        """The wall of the instance that is asked about."""
        return next((wall for wall in self.standing if wall.instance == self.instance), None)

    def read(self, path: str) -> str | None:
        """The text of a file below the root, stripped; None when it is not there or not to be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The whole number in a file; None when there is none."""
        text = self.read(path)
        try:
            return None if text is None else int(text.split()[0])
        except (ValueError, IndexError):
            return None
