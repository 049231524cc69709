# SPDX-License-Identifier: Apache-2.0
"""Collects whom this host must not cut off: itself, its next hops and servers, and whoever is logged in to it.

These are never banned, by nobody. They are not allowlisted: their packets are judged like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xdpwall.control import admin_sessions
from xdpwall.control.admin_sessions import Announced
from xdpwall.control.protection import Found, Kind, single
from xdpwall.control.upstream import upstream
from xdpwall.dataplane.addresses import own_addresses
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.routes import MOST_ROUTES, next_hops, routers
from xdpwall.dataplane.tcp_sockets import Connection, connections
from xdpwall.errors import KernelError
from xdpwall.model import Prefix

ANNOUNCED = "an administrator of xdpwall is logged in from there"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for.

    Args:
        admins, services: whether to look for these at all.
        never: addresses and prefixes that only count as this host's own.
        announced: sessions that said so themselves.
    """

    admins: bool = True
    services: bool = True
    never: tuple[Prefix, ...] = ()
    announced: Collection[Announced] = ()


@dataclass
class Evidence:
    """What one look found.

    ``used``: where logins were looked for. ``lost``: what could not be looked at, for people. ``alive``: connections of
    announced sessions that stand.
    """

    found: list[Found] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    alive: frozenset[Flow] = frozenset()


def collect(wanted: Wanted, root: Path = Path("/")) -> Evidence:
    """Look at everything, once. Takes some 10 ms, more with many processes or connections; never raises.

    Args:
        wanted: what to look for.
        root: the folder that files of services are below.
    """
    evidence = Evidence()
    if wanted.services:
        _try(evidence, "routes", _routes)
        _try(evidence, "neighbours", _routers)
        there = upstream(root)
        evidence.found += there.found
        evidence.lost += [f"{name} may not be read" for name in there.unreadable]
    if wanted.admins:
        _sessions(evidence, wanted)
    barred = wanted.never
    evidence.found = [p for p in evidence.found if not any(wide.contains(p.prefix) for wide in barred)]
    evidence.found += own(own_addresses())
    return evidence


def own(addresses: Iterable[Prefix]) -> list[Found]:
    """This host's own addresses as evidence."""
    return [Found(prefix, Kind.OWN, "an address of this host", "interfaces") for prefix in addresses]


def gateways(texts: Iterable[str]) -> list[Found]:
    """Default gateways as evidence."""
    found = ((single(text), text) for text in texts)
    return [Found(p, Kind.GATEWAY, "the default gateway", "routes") for p, _ in found if p is not None]


def _routes(evidence: Evidence) -> None:
    hops, whole = next_hops()
    for text, target in hops.items():
        prefix = single(text)
        if prefix is not None:
            why = "the default gateway" if target == "default" else f"the gateway to {target}"
            evidence.found.append(Found(prefix, Kind.GATEWAY, why, "routes"))
    if not whole:
        evidence.lost.append(f"only the first {MOST_ROUTES} routes were looked at")


def _routers(evidence: Evidence) -> None:
    for text in routers():
        prefix = single(text)
        if prefix is not None:
            evidence.found.append(Found(prefix, Kind.ROUTER, "a router on a link of this host", "neighbours"))


def _sessions(evidence: Evidence, wanted: Wanted) -> None:
    held: list[Connection] = []

    def listed() -> list[Connection]:
        if not held:
            held.extend(connections())
        return held

    if admin_sessions.SESSIONS.is_dir():
        evidence.used.append("systemd-logind")
        evidence.found += admin_sessions.of_logind()
    if any(Path(place).exists() for place in ("/run/utmp", "/var/run/utmp")):
        evidence.used.append("utmp")
        evidence.found += admin_sessions.of_utmp()
    if admin_sessions.sees_processes():
        evidence.used.append("sshd processes")
        _try(evidence, "connections", lambda into: into.found.extend(admin_sessions.of_sshd(listed)))
    evidence.used.append("SSH_CONNECTION")
    if wanted.announced:
        _try(evidence, "connections", lambda into: _announced(into, wanted.announced, listed))


def _announced(
    evidence: Evidence, announced: Collection[Announced], listed: Callable[[], list[Connection]]
) -> None:
    flows = {session.flow for session in announced}
    alive = {connection.flow for connection in listed() if connection.flow in flows}
    evidence.alive = frozenset(alive)
    for flow in alive:
        prefix = Prefix(flow.peer, len(flow.peer) * 8)
        evidence.found.append(Found(prefix, Kind.ADMIN, ANNOUNCED, "SSH_CONNECTION"))


def _try(evidence: Evidence, what: str, step: Callable[[Evidence], None]) -> None:
    try:
        step(evidence)
    except KernelError as error:
        evidence.lost.append(f"{what}: {error.message}")
