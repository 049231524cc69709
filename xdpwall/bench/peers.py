# SPDX-License-Identifier: Apache-2.0
"""Other filters in the same jobs, each on a link like the wall's, in a lab of its own.

Peers of the stack get their packets by the link's own receive loop (NAPI) with no XDP program before them; the lab's
links have receive offload on, which gives them one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from xdpwall.bench import peer_rules
from xdpwall.bench.gun import Gun, Shot
from xdpwall.bench.rows import FEW, MANY, Job
from xdpwall.bench.traffic import Traffic
from xdpwall.errors import XdpwallError
from xdpwall.lab.topology import Lab


@dataclass(frozen=True, slots=True)
class Tool:
    """The program that must be on the path, and what to install for it on Debian."""

    program: str
    package: str


TOOLS: dict[str, Tool] = {
    "xdp-filter": Tool("xdp-filter", "xdp-tools"),
    "nftables": Tool("nft", "nftables"),
    "iptables": Tool("iptables", "iptables"),
}


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One row of a peer.

    Args:
        name: unique.
        peer: key of :data:`TOOLS`.
        title: for people.
        job: the row of ours that does the same.
        traffic: what is sent.
        set_up: puts the rules into a lab; see :mod:`xdpwall.bench.peer_rules`.
    """

    name: str
    peer: str
    title: str
    job: Job
    traffic: Traffic
    set_up: Callable[[Lab], peer_rules.Count | None]


class PeerTarget:
    """A peer's rules on the first link of a lab of its own. A target of :mod:`xdpwall.bench.live`; a context manager.

    Raises:
        LabError: the tool refused.
    """

    def __init__(self, row: PeerRow) -> None:
        self.row = row
        self._stack = ExitStack()
        self.lab = Lab()
        try:
            self._stack.enter_context(self.lab)
            self._escaped = row.set_up(self.lab)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> PeerTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def name(self) -> str:
        """See :class:`xdpwall.bench.live.Target`."""
        return self.row.name

    def fire(self, gun: Gun, packets: int) -> tuple[Shot, float]:
        """See :class:`xdpwall.bench.live.Target`."""
        if self._escaped is None:
            shot = gun.live(self.lab, self.row.traffic, packets)
            return shot, shot.dropped / max(1, shot.received)
        before = self._escaped()
        shot = gun.live(self.lab, self.row.traffic, packets)
        return shot, 1 - (self._escaped() - before) / max(1, shot.received)

    def dry(self, gun: Gun, repeat: int) -> int | None:
        """There is no program of ours to run."""
        del gun, repeat
        return None


@dataclass(frozen=True, slots=True)
class Missing:
    """A row that cannot be measured here."""

    name: str
    peer: str
    reason: str
    hint: str


def gather(
    rows: list[PeerRow], stack: ExitStack, heard: Callable[[str], None]
) -> tuple[list[PeerTarget], list[Missing]]:
    """Set up those peers that are installed and whose rules the kernel takes; the others are named with the reason."""
    found: list[PeerTarget] = []
    missing: list[Missing] = []
    for row in rows:
        tool = TOOLS[row.peer]
        if shutil.which(tool.program) is None:
            reason = f"{tool.program} is not installed"
            missing.append(Missing(row.name, row.peer, reason, f"apt-get install {tool.package}"))
            continue
        heard(f"peer: {row.name}")
        try:
            found.append(stack.enter_context(PeerTarget(row)))
        except XdpwallError as error:
            missing.append(
                Missing(row.name, row.peer, error.message, "this kernel or this version may lack it")
            )
    return found, missing


_FEW, _MANY, _FLOOD = Traffic(4, FEW), Traffic(4, MANY), Traffic(4)
_rules = peer_rules

PEERS: tuple[PeerRow, ...] = (
    PeerRow("xdp-filter-1k", "xdp-filter", "xdp-filter, 1,000 denied", "blocked-1k", _FEW, _rules.xdp_filter),
    PeerRow("nft-set-1k", "nftables", "nftables set of 1,000", "blocked-1k", _FEW, _rules.nft_set(FEW)),
    PeerRow(
        "nft-set-100k", "nftables", "nftables set of 100,000", "blocked-100k", _MANY, _rules.nft_set(MANY)
    ),
    PeerRow("nft-meter", "nftables", "nftables meter, 1,000 over", "over-limit", _FEW, _rules.nft_meter),
    PeerRow("nft-meter-flood", "nftables", "nftables meter, spoofed", "flood", _FLOOD, _rules.nft_flood),
    PeerRow("hashlimit", "iptables", "iptables hashlimit, 1,000 over", "over-limit", _FEW, _rules.hashlimit),
    PeerRow(
        "hashlimit-flood", "iptables", "iptables hashlimit, spoofed", "flood", _FLOOD, _rules.hashlimit_flood
    ),
)
