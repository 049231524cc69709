# SPDX-License-Identifier: Apache-2.0
"""What hides under a flood: scans (slow ones too), probing of admin ports, logins by strangers, new outbound peers.

Fed with single events that the data path tells apart from the flood, at a low rate. Memory is bounded: the sources that
were heard of least lately are forgotten first. Pure: times come with the events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, TypeVar

from xdpwall.incident.facts import text
from xdpwall.incident.model import Diversion

K = TypeVar("K")
MOST_SOURCES = 20_000
MOST_LISTED = 64
"""Ports and targets that a finding lists by name; it counts all of them."""
MOST_OF_A_KIND = 25
"""Findings of a kind that are listed one by one."""
ADMIN_TRIES = 3
"""Connection requests to admin ports from one source before they are called probing."""
_REMEMBERED_PEERS = 50_000
_SETTLED_MS = 600_000
"""A finding that moved no more for this long is over: the next one of the kind is new."""


class Kind(IntEnum):
    """What an event says. The numbers are those of the kernel's ``enum watch_kind``."""

    CLOSED = 1
    """A TCP connection request to a port where nobody listens."""
    ADMIN = 2
    """One to an admin port."""
    CLOSED_UDP = 3
    """UDP to a port where nobody listens."""
    LOGIN = 4
    """A handshake on an admin port was completed."""
    OUTBOUND = 5
    """This host opened a connection."""
    OUTBOUND_UDP = 6
    """This host began to talk by UDP."""


class Event(Protocol):
    """One event. Addresses are packed, 4 or 16 bytes; ports are numbers; ``at_ms`` is Unix milliseconds."""

    @property
    def at_ms(self) -> int:
        """When."""

    @property
    def kind(self) -> int:
        """One of :class:`Kind`; others are passed over."""

    @property
    def peer(self) -> bytes:
        """The far side."""

    @property
    def local(self) -> bytes:
        """Our side."""

    @property
    def local_port(self) -> int:
        """Our port."""

    @property
    def peer_port(self) -> int:
        """The far side's port."""


@dataclass(frozen=True, slots=True)
class DiversionRules:
    """From the config, section ``incident``."""

    scan_ports: int = 8
    scan_window_ms: int = 600_000
    admin_ports: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Trail:
    """What one source did lately: when it last tried each port and each address."""

    ports: OrderedDict[int, int] = field(default_factory=OrderedDict)
    targets: OrderedDict[bytes, int] = field(default_factory=OrderedDict)
    admin: OrderedDict[int, int] = field(default_factory=OrderedDict)
    admin_tries: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Finding:
    kind: str
    source: str
    at_ms: int
    until_ms: int
    ports: dict[int, None]
    targets: dict[str, None]
    count: int
    why: str = ""

    def frozen(self) -> Diversion:
        return Diversion(
            self.kind,
            self.source,
            self.at_ms,
            self.until_ms,
            tuple(sorted(self.ports))[:MOST_LISTED],
            tuple(self.targets)[:MOST_LISTED],
            self.count,
            self.why,
        )


class DiversionLane:
    """Looks at events, remembers trails, and gives findings.

    Args:
        rules: thresholds.
        spared: whether an address (packed) is of ours or allowlisted: it is never a finding.
    """

    def __init__(self, rules: DiversionRules, spared: Callable[[bytes], bool] = lambda _: False) -> None:
        self.rules = rules
        self._spared = spared
        self._trails: OrderedDict[bytes, _Trail] = OrderedDict()
        self._known_admins: OrderedDict[bytes, int] = OrderedDict()
        self._known_peers: OrderedDict[bytes, int] = OrderedDict()
        self._findings: OrderedDict[tuple[str, str], _Finding] = OrderedDict()
        self._new_peers: list[int] = []
        self._quiet_peers_per_min = 0.0
        self._fresh: list[_Finding] = []

    def take(self, events: Iterable[Event], *, alarmed: bool) -> list[Diversion]:
        """Look at these. Gives findings that are new; those that only grew are in :meth:`findings`.

        Args:
            events: oldest first.
            alarmed: an incident is open: new outbound peers count as findings then.
        """
        self._fresh = []
        for event in events:
            if event.kind in (Kind.CLOSED, Kind.CLOSED_UDP, Kind.ADMIN):
                self._tried(event)
            elif event.kind == Kind.LOGIN:
                self._login(event)
            elif event.kind in (Kind.OUTBOUND, Kind.OUTBOUND_UDP):
                self._outbound(event, alarmed=alarmed)
        return [finding.frozen() for finding in self._fresh]

    def learn_quiet(self, seconds: float) -> None:
        """A quiet span passed: fold its new outbound peers into what is normal."""
        per_min = len(self._new_peers) * 60 / max(seconds, 1.0)
        self._quiet_peers_per_min += min(1.0, seconds / 3600) * (per_min - self._quiet_peers_per_min)
        self._new_peers.clear()

    def findings(self, since_ms: int) -> tuple[Diversion, ...]:
        """All that moved at or after this time, oldest first; of each kind the biggest, and the rest in one line."""
        kinds: dict[str, list[_Finding]] = {}
        for finding in self._findings.values():
            if finding.until_ms >= since_ms:
                kinds.setdefault(finding.kind, []).append(finding)
        found: list[Diversion] = []
        for kind, group in kinds.items():
            group.sort(key=lambda finding: finding.count, reverse=True)
            found += [finding.frozen() for finding in group[:MOST_OF_A_KIND]]
            if rest := group[MOST_OF_A_KIND:]:
                found.append(_folded(kind, rest))
        return tuple(sorted(found, key=lambda entry: entry.at_ms))

    def recall(self, known: Iterable[Diversion]) -> None:
        """Take over the findings of an incident that was open before a restart."""
        for entry in known:
            finding = _Finding(
                entry.kind, entry.source, entry.at_ms, entry.until_ms, dict.fromkeys(entry.ports),
                dict.fromkeys(entry.targets), entry.count, entry.why,
            )  # fmt: skip
            self._findings[entry.kind, entry.source] = finding

    def trusted(self) -> list[str]:
        """Addresses that logged in on admin ports, for the database: they are no strangers after a restart."""
        return [address.hex() for address in self._known_admins]

    def trust(self, addresses: Iterable[str]) -> None:
        """The inverse of :meth:`trusted`."""
        for address in addresses:
            self._known_admins[bytes.fromhex(address)] = 0

    def _tried(self, event: Event) -> None:
        if self._spared(event.peer):
            return
        trail = self._trail(event.peer)
        horizon = event.at_ms - self.rules.scan_window_ms
        _touch(trail.ports, event.local_port, event.at_ms, horizon)
        _touch(trail.targets, event.local, event.at_ms, horizon)
        source, target = text(event.peer), text(event.local)
        window = round(self.rules.scan_window_ms / 1000)
        if len(trail.ports) >= self.rules.scan_ports:
            finding = self._extend("port_scan", source, event, target) or self._grow(
                "port_scan", source, trail.ports.values(), trail.ports, [target]
            )
            finding.count = max(finding.count, len(finding.ports))
            finding.why = f"tried {len(finding.ports)} ports that are closed or for admins, within {window} s"
        if len(trail.targets) >= self.rules.scan_ports:
            finding = self._extend("host_sweep", source, event, target) or self._grow(
                "host_sweep",
                source,
                trail.targets.values(),
                trail.ports,
                [text(name) for name in trail.targets],
            )
            finding.count = max(finding.count, len(finding.targets))
            finding.why = f"tried {len(finding.targets)} addresses of ours, within {window} s"
        if event.kind == Kind.ADMIN:
            _touch(trail.admin, event.local_port, event.at_ms, horizon)
            trail.admin_tries = [at for at in trail.admin_tries[-1_000:] if at > horizon] + [event.at_ms]
            if len(trail.admin_tries) >= ADMIN_TRIES:
                finding = self._extend("admin_probe", source, event, target) or self._grow(
                    "admin_probe", source, trail.admin_tries, trail.admin, [target]
                )
                finding.count = max(finding.count + 1, len(trail.admin_tries))
                finding.why = f"{finding.count} connection requests to admin ports"

    def _login(self, event: Event) -> None:
        known = event.peer in self._known_admins
        if self._spared(event.peer) or (known and ("admin_login", text(event.peer)) not in self._findings):
            return
        _touch(self._known_admins, event.peer, event.at_ms, 0, most=10_000)
        finding = self._grow(
            "admin_login", text(event.peer), [event.at_ms], [event.local_port], [text(event.local)]
        )
        finding.count += 1
        finding.why = (
            f"{finding.count} completed handshakes on admin ports, by a source that was not seen there before; "
            "whether it got in, the service's own log tells"
        )

    def _outbound(self, event: Event, *, alarmed: bool) -> None:
        if event.peer in self._known_peers:
            self._known_peers.move_to_end(event.peer)
            key = ("outbound", text(event.peer))
            if key not in self._findings:
                return
        elif not alarmed:
            _touch(self._known_peers, event.peer, event.at_ms, 0, most=_REMEMBERED_PEERS)
            self._new_peers.append(event.at_ms)
            del self._new_peers[:-10_000]
            return
        _touch(self._known_peers, event.peer, event.at_ms, 0, most=_REMEMBERED_PEERS)
        self._new_peers = [at for at in self._new_peers[-10_000:] if at > event.at_ms - 60_000] + [
            event.at_ms
        ]
        if len(self._new_peers) <= 5 * self._quiet_peers_per_min:
            return  # this host meets new peers all the time
        finding = self._grow(
            "outbound", text(event.peer), [event.at_ms], [event.peer_port], [text(event.local)]
        )
        finding.count += 1
        finding.why = f"{finding.count} flows that this host opened to a peer it had not talked to before"

    def _trail(self, peer: bytes) -> _Trail:
        trail = self._trails.get(peer)
        if trail is None:
            trail = self._trails[peer] = _Trail()
            if len(self._trails) > MOST_SOURCES:
                self._trails.popitem(last=False)
        else:
            self._trails.move_to_end(peer)
        return trail

    def _extend(self, kind: str, source: str, event: Event, target: str) -> _Finding | None:
        """One more event of a finding that goes on: a scan of 65,000 ports must not be gone through at each packet."""
        finding = self._findings.get((kind, source))
        if finding is None or event.at_ms - finding.until_ms > _SETTLED_MS:
            return None
        finding.until_ms = max(finding.until_ms, event.at_ms)
        if len(finding.ports) < 65_536:
            finding.ports[event.local_port] = None
        if len(finding.targets) < 4_096:
            finding.targets[target] = None
        return finding

    def _grow(
        self, kind: str, source: str, times: Iterable[int], ports: Iterable[int], targets: Iterable[str]
    ) -> _Finding:
        stamps = list(times)
        key = (kind, source)
        finding = self._findings.get(key)
        if finding is None or min(stamps) - finding.until_ms > _SETTLED_MS:
            finding = _Finding(kind, source, min(stamps), max(stamps), {}, {}, 0)
            self._findings[key] = finding
            self._findings.move_to_end(key)
            if len(self._findings) > MOST_SOURCES:
                self._findings.popitem(last=False)
            self._fresh.append(finding)
        finding.until_ms = max(finding.until_ms, *stamps)
        for port in ports:
            if len(finding.ports) < 65_536:
                finding.ports[port] = None
        for target in targets:
            if len(finding.targets) < 4_096:
                finding.targets[target] = None
        return finding


def _folded(kind: str, rest: list[_Finding]) -> Diversion:
    ports = sorted({port for finding in rest for port in finding.ports})
    return Diversion(
        kind,
        f"{len(rest)} more sources",
        min(finding.at_ms for finding in rest),
        max(finding.until_ms for finding in rest),
        tuple(ports[:MOST_LISTED]),
        (),
        sum(finding.count for finding in rest),
        "so many sources do the same that this may be part of the flood itself",
    )


def _touch(book: OrderedDict[K, int], key: K, at_ms: int, horizon_ms: int, most: int = 4_096) -> None:
    """Note when a key was last met; forget those of before the horizon, and the oldest beyond ``most``."""
    book[key] = at_ms
    book.move_to_end(key)
    while book and (len(book) > most or next(iter(book.values())) < horizon_ms):
        book.popitem(last=False)
