# SPDX-License-Identifier: Apache-2.0
"""The face that the rest of xdpwall sees of a loaded wall.

``dataplane.wall.Wall`` implements it over pinned maps, ``dataplane.fake.FakeWall`` in memory for tests of control; one
suite of tests runs against both. No numpy, bcc or pyroute2 at import: a verb that only asks uses this too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from xdpwall.config_lanes import LanesConfig, ProofConfig
    from xdpwall.dataplane.rule_map import RuleMap
    from xdpwall.dataplane.vitals import Vitals
    from xdpwall.sample import Sample
    from xdpwall.snapshot import MeterSnapshot

    Keys = npt.NDArray[np.uint64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KernelBan:
    """A ban as the kernel holds it.

    ``remaining_ms`` is None for ever; it may be 0 for one that has lapsed and not been swept yet. ``packets`` and
    ``bytes`` count what this ban dropped; of a single source the packets modulo 2**32, and the bytes in units of 16,
    each packet rounded to the nearest, modulo 2**36.
    """

    prefix: Prefix
    remaining_ms: int | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BanDrops:
    """Counters of bans of single sources, read in one sweep (numpy). All arrays have the same length, in no order.

    Args:
        keys: sources as the kernel packs them (``dataplane.keys``), ``uint64``.
        packets: what each ban dropped, ``uint64``, modulo 2**32.
        bytes: L2 bytes of them, ``uint64``, modulo 2**36, as in :class:`KernelBan`.
    """

    keys: npt.NDArray[np.uint64]
    packets: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes (L2 length)."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class LaneCount:
    """One lane since load.

    ``seen``: all packets of the lane that no list or limit decided. ``over``: of them, what found the budget spent and
    needed another proof than a known flow. ``dropped``: of those, what had none. ``known``: of ``seen``, what the gate
    (the part of a budget that nothing is looked up for) had no room for, and belonged to a known flow.
    """

    seen: Count
    over: Count
    dropped: Count
    known: Count = Count()

    @property
    def asking(self) -> Count:
        """What asked for the lane's budget, known flows left out. Those that the gate let in are in it all the same."""
        return Count(
            max(0, self.seen.packets - self.known.packets), max(0, self.seen.bytes - self.known.bytes)
        )


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """An interface that the wall is meant to stand on.

    ``ifindex`` is 0 and ``mode`` None when the interface has vanished. ``mode`` is ``"native"`` or ``"generic"``.
    ``program_id`` is what the kernel says runs there, ``expected_id`` what we pinned.
    """

    name: str
    ifindex: int
    mode: str | None
    program_id: int
    expected_id: int

    @property
    def attached(self) -> bool:
        """Whether our own program runs on it right now."""
        return self.ifindex != 0 and self.program_id != 0 and self.program_id == self.expected_id


@dataclass(frozen=True, slots=True)
class WallInfo:
    """What the load wrote down about itself.

    ``policy`` is ``"enforce"`` or ``"observe"``. Capacities are entries. ``loaded_ms`` is Unix milliseconds.
    ``observed`` are the reasons that drop nothing, as they are since ``observed_since_ms``.
    ``config_digest`` is the hex SHA-256 prefix (16 digits) of the data-path part of the config it was compiled from.
    """

    instance: str
    policy: str
    layout: int
    tick_hz: int
    cpus: int
    ban_capacity: int
    ban_prefix_capacity: int
    source_capacity: int
    prefix_capacity: int
    loaded_ms: int
    config_digest: str
    observed: tuple[Reason, ...] = ()
    observed_since_ms: int = 0


@dataclass(frozen=True, slots=True)
class OffState:
    """The wall was turned off: everything passes.

    ``since_ms`` and ``until_ms`` are Unix milliseconds, ``until_mono_ns`` is the end by CLOCK_MONOTONIC, which the
    kernel goes by; both are None without an end. ``by`` and ``reason`` are for people.
    """

    since_ms: int
    until_ms: int | None = None
    until_mono_ns: int | None = None
    by: str = ""
    reason: str = ""

    def is_over(self, mono_ns: int) -> bool:
        """Whether the end has passed: then the kernel filters again."""
        return self.until_mono_ns is not None and mono_ns >= self.until_mono_ns

    def began(self, since_ms: int) -> OffState:
        """The same with another beginning."""
        return replace(self, since_ms=since_ms)


class Flow(NamedTuple):
    """A conversation of this host that the kernel has a socket for.

    A tuple, not a dataclass: a busy host has 100,000 of them, read anew every few seconds.

    ``protocol`` is 6 (TCP) or 17 (UDP). Addresses are packed, 4 or 16 bytes, both of one family; IPv4 is never mapped
    into IPv6. Ports are numbers.
    """

    protocol: int
    local: bytes
    local_port: int
    peer: bytes
    peer_port: int


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something quiet that a flood must not hide: a request to a closed or admin port, a login, a flow of ours.

    ``tick``: the kernel's, modulo 2**32. ``kind``: ``enum watch_kind`` of ``bpf/watch.h``. Addresses are packed, in
    network order, 4 or 16 bytes.
    """

    tick: int
    kind: int
    local: bytes
    peer: bytes
    local_port: int
    peer_port: int


class BanMap(Protocol):
    """The kernel's bans, exact and by prefix, behind one face."""

    def put(self, prefix: Prefix, remaining_ms: int | None) -> None:
        """Ban, or replace the expiry of a ban that stands. Counters of a standing ban are kept.

        Raises:
            KernelError: the kernel refused; ENOSPC or E2BIG when the map is full.
        """

    def put_many(self, bans: Iterable[tuple[Prefix, int | None]]) -> int:
        """Like :meth:`put` for many at once, fast. Gives how many were written."""

    def remove(self, prefix: Prefix) -> bool:
        """Lift a ban. Gives whether it stood."""

    def remove_many(self, prefixes: Iterable[Prefix]) -> int:
        """Lift many bans. Gives how many stood."""

    def get(self, prefix: Prefix) -> KernelBan | None:
        """The ban on exactly this prefix."""

    def entries(self, *, wide_only: bool = False) -> Iterator[KernelBan]:
        """All bans in the kernel, in no order, lapsed ones that were not swept yet included.

        ``wide_only``: those of prefixes, not those of single sources.
        """

    def clear(self) -> int:
        """Lift all. Gives how many stood."""

    def sweep(self) -> int:
        """Free the slots of lapsed bans. Gives how many were freed."""

    def drops(self) -> BanDrops:
        """What bans of single sources have dropped, all at once and fast. The few in the overflow map are left out."""

    def __len__(self) -> int:
        """How many slots are taken."""


class AllowMap(Protocol):
    """Prefixes whose packets pass before any ban is looked up."""

    def put(self, prefix: Prefix) -> None:
        """Allow."""

    def remove(self, prefix: Prefix) -> bool:
        """Stop allowing. Gives whether it stood."""

    def entries(self) -> Iterator[Prefix]:
        """All of them."""


class Dataplane(Protocol):
    """A loaded wall."""

    @property
    def info(self) -> WallInfo:
        """What the load wrote down."""

    @property
    def bans(self) -> BanMap:
        """The bans."""

    @property
    def allow(self) -> AllowMap:
        """The allowlist."""

    def set_own_addresses(self, addresses: Iterable[Prefix]) -> bool:
        """Tell the kernel which single addresses are this host's own. Gives whether anything changed."""

    def interfaces(self) -> list[InterfaceState]:
        """Each interface that the wall is meant to stand on."""

    def reattach(self, name: str) -> bool:
        """Put our pinned program back on an interface that vanished and came back. Gives whether it was needed.

        Raises:
            ForeignProgramError: another program has taken the place meanwhile.
            KernelError: the kernel refused.
        """

    def off(self) -> OffState | None:
        """Whether the wall is meant to be off, see ``dataplane.switch``; None: it filters."""

    def turn_on(self) -> bool:
        """Filter again. Gives whether it was off.

        Raises:
            KernelError: the kernel refused.
        """

    def renew(self, name: str) -> str | None:
        """Take our program off an interface and put it on anew, for another mode. Gives the mode; None: not ours.

        Raises:
            ForeignProgramError, KernelError: as :meth:`reattach`.
        """

    def listen(self, name: str) -> bool:
        """Put the program for what this host sends back on an interface. Gives whether it was needed.

        Raises:
            KernelError: the kernel refused.
        """

    @property
    def vitals(self) -> Vitals:
        """What it says of itself when asked whether all is as it should be."""

    def verdicts(self) -> Mapping[str, Mapping[Reason, Count]]:
        """Totals since load, by interface name and reason. Reasons never seen are left out."""

    def observed(self) -> Mapping[str, Mapping[Reason, Count]]:
        """What of :meth:`verdicts` was no drop: it passed, for its reason only observes."""

    def sources(self) -> MeterSnapshot:
        """The source meters (numpy)."""

    def prefixes(self) -> MeterSnapshot:
        """The /24 and /48 meters (numpy)."""

    @property
    def rules(self) -> RuleMap:
        """The fingerprint rules."""

    def samples(self) -> list[Sample]:
        """Packets that were sampled since the last call, oldest first; nothing at the first call, which begins it.

        One reader at a time: what was given is gone.
        """

    def lanes(self) -> Mapping[Lane, LaneCount]:
        """Each lane's totals since load; all zero where lanes are off."""

    @property
    def cookies(self) -> bool:
        """Whether connection requests over budget are answered with SYN cookies."""

    @property
    def cookies_possible(self) -> bool:
        """Whether the loaded program can send any: its config wanted them, and the kernel has them."""

    def set_cookies(self, on: bool) -> bool:
        """Begin or end answering with SYN cookies. Gives whether it does now.

        Begun once ``net.ipv4.tcp_syncookies`` is 2: then each listener is answered for as soon as the stack itself has
        sent a cookie for it, and as long as it goes on to.
        """

    def set_budgets(self, lanes: LanesConfig, proof: ProofConfig) -> None:
        """Put budgets, and how long proof holds, in force: at once, with no load."""

    def set_ports(self, tcp: Collection[int], udp: Collection[int], admin: Collection[int] = ()) -> None:
        """Say on which local ports somebody listens, and which TCP ports are doors for administrators."""

    def note_flows(self, flows: Iterable[Flow]) -> int:
        """Tell of flows that the kernel has sockets for, so that they are known. Gives how many there were."""

    def proven(self, keys: Keys) -> Bools:
        """Which of these sources completed a handshake lately.

        Args:
            keys: source keys (``dataplane.keys``), shape ``(n,)``.

        Returns:
            Shape ``(n,)``.
        """

    def known(self, flows: Sequence[Flow]) -> list[bool]:
        """Which of these flows are this host's, as beyond a budget they would pass for that."""

    def vouch(self, keys: Iterable[int]) -> None:
        """Keep these sources known for as long as an answer to our UDP is: beyond a budget their packets pass.

        For those whom this host must not cut off. They do not count as having completed a handshake.

        Args:
            keys: source keys.
        """

    def bar(self, keys: Iterable[int]) -> None:
        """For a few seconds handshakes of these sources do not count beyond a budget; their known flows still do.

        Args:
            keys: source keys.
        """

    def watch_events(self) -> list[WatchEvent]:
        """Quiet events since the last call; nothing at the first call, which begins it. One reader at a time."""

    def rest(self) -> None:
        """Nothing is read for a while: let go of memory that large tables are mapped to, until they are used again."""

    def close(self) -> None:
        """Let go of every file descriptor and mapping. The wall stays up."""
