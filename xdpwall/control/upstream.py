# SPDX-License-Identifier: Apache-2.0
"""Servers that this host depends on: resolvers, time servers, DHCP servers. Read from where each program keeps them.

Names are not looked up: under attack that would have to wait for the very resolvers that are to be protected. A server
that is given by its name is not found here; its answers pass all the same, as answers to what this host asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xdpwall.control.protection import Found, Kind, single

_MOST_BYTES = 1 << 20
_RESOLV = (
    "etc/resolv.conf",
    "run/systemd/resolve/resolv.conf",  # what 127.0.0.53 hides
    "run/NetworkManager/no-stub-resolv.conf",
)
_TIMESYNCD = (
    "etc/systemd/timesyncd.conf",
    "etc/systemd/timesyncd.conf.d/*.conf",
    "run/systemd/timesyncd.conf.d/*.conf",
)
_NTP = (
    "etc/chrony.conf", "etc/chrony/chrony.conf", "etc/chrony/conf.d/*.conf", "etc/chrony/sources.d/*.sources",
    "run/chrony-dhcp/*.sources", "var/run/chrony-dhcp/*.sources", "etc/ntp.conf", "etc/ntpsec/ntp.conf",
)  # fmt: skip
_KEYED = (  # systemd's key=value files
    "run/systemd/netif/leases/*", "run/systemd/netif/links/*", "var/lib/NetworkManager/internal-*.lease",
)  # fmt: skip
_DHCLIENT = (
    "var/lib/dhcp/dhclient*.leases",
    "var/lib/dhclient/*.lease",
    "var/lib/NetworkManager/dhclient-*.lease",
)
_DHCPCD = ("var/lib/dhcpcd/*.lease", "var/lib/dhcpcd5/*.lease")
_KEYS = {
    "SERVER_ADDRESS": (Kind.DHCP, "the DHCP server of this host"),
    "NTP": (Kind.TIME, "a time server of this host"),
    "DNS": (Kind.RESOLVER, "a resolver of this host"),
    "ROUTER": (Kind.GATEWAY, "a gateway of this host"),
}
_BOOTP_BYTES = 236
_DHCP_COOKIE = b"\x63\x82\x53\x63"  # RFC 2131
_OPTION_END, _OPTION_PAD, _OPTION_SERVER = 255, 0, 54


@dataclass
class Upstream:
    """What was found. ``unreadable``: files that are there and that this user may not read."""

    found: list[Found] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def upstream(root: Path = Path("/")) -> Upstream:
    """Look at all places.

    Args:
        root: the folder that they are below.
    """
    result = Upstream()
    for patterns, read in (
        (_RESOLV, _resolvers),
        (_TIMESYNCD, _timesyncd),
        (_NTP, _ntp),
        (_KEYED, _keyed),
        (_DHCLIENT, _dhclient),
    ):
        for name, text in _texts(root, patterns, result.unreadable):
            result.found += _pieces(read(text), name)
    for name, raw in _files(root, _DHCPCD, result.unreadable):
        result.found += _pieces(_dhcpcd(raw), name)
    return result


_Pairs = Iterator[tuple[Kind, str, str]]


def _resolvers(text: str) -> _Pairs:
    """resolv.conf(5)."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield Kind.RESOLVER, "a resolver of this host", words[1]


def _timesyncd(text: str) -> _Pairs:
    """timesyncd.conf(5)."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("NTP", "FallbackNTP"):
            for word in value.split():
                yield Kind.TIME, "a time server of this host", word


def _ntp(text: str) -> _Pairs:
    """chrony.conf(5), ntp.conf(5)."""
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("server", "pool", "peer"):
            for word in words[1:2] if words[1:2] not in (["-4"], ["-6"]) else words[2:3]:
                yield Kind.TIME, "a time server of this host", word


def _keyed(text: str) -> _Pairs:
    """Leases and links of systemd-networkd, leases of NetworkManager."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key in _KEYS:
            kind, why = _KEYS[key]
            for word in value.split():
                yield kind, why, word


def _dhclient(text: str) -> _Pairs:
    """dhclient.leases(5): the last lease of each interface is the one in force."""
    last: dict[str, str] = {}
    interface = ""
    for line in text.splitlines():
        words = line.strip().rstrip(";").split()
        if words[:1] == ["interface"]:
            interface = words[-1]
        elif words[:2] == ["option", "dhcp-server-identifier"] and len(words) > 2:
            last[interface] = words[2]
    for address in last.values():
        yield Kind.DHCP, "the DHCP server of this host", address


def _dhcpcd(raw: bytes) -> _Pairs:
    """A lease of dhcpcd is the server's answer as it came (RFC 2131)."""
    at = _BOOTP_BYTES + 4
    if raw[_BOOTP_BYTES:at] != _DHCP_COOKIE:
        return
    while at + 1 < len(raw) and raw[at] != _OPTION_END:
        if raw[at] == _OPTION_PAD:
            at += 1
            continue
        size = raw[at + 1]
        if raw[at] == _OPTION_SERVER and size == 4 and at + 6 <= len(raw):
            yield Kind.DHCP, "the DHCP server of this host", socket.inet_ntoa(raw[at + 2 : at + 6])
        at += 2 + size


def _pieces(pairs: _Pairs, name: str) -> Iterator[Found]:
    for kind, why, text in pairs:
        prefix = single(text.strip("[]").partition("#")[0])
        if prefix is not None:
            yield Found(prefix, kind, why, name)


def _texts(root: Path, patterns: tuple[str, ...], unreadable: list[str]) -> Iterator[tuple[str, str]]:
    for name, raw in _files(root, patterns, unreadable):
        yield name, raw.decode("utf-8", "replace")


def _files(root: Path, patterns: tuple[str, ...], unreadable: list[str]) -> Iterator[tuple[str, bytes]]:
    for pattern in patterns:
        try:
            places = sorted(root.glob(pattern))
        except OSError:
            unreadable.append(str(root / pattern))
            continue
        for path in places:
            try:
                if path.is_file():
                    with path.open("rb") as file:
                        yield str(path), file.read(_MOST_BYTES)
            except PermissionError:
                unreadable.append(str(path))
            except OSError:
                continue  # it went away meanwhile
