# SPDX-License-Identifier: Apache-2.0
"""Whom this host must not cut off: itself, its gateways, its resolvers, and whoever is logged in to it right now.

These are never banned, by nobody. They are not allowlisted: their packets are judged like all others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from xdpwall.errors import AddressError
from xdpwall.model import Prefix

RESOLV_CONF = Path("/etc/resolv.conf")
_LOOPBACK = (Prefix(b"\x7f\0\0\0", 8), Prefix(bytes(15) + b"\1", 128))


def protected(own: Iterable[Prefix], gateways: Iterable[str]) -> dict[Prefix, str]:
    """All addresses to protect, each with what it is.

    Args:
        own: this host's addresses.
        gateways: addresses of the default routes' next hops.
    """
    found = dict.fromkeys(own, "an address of this host")
    for texts, what in (
        (gateways, "the default gateway"),
        (resolvers(), "a resolver of this host"),
        (logged_in(os.environ), "where someone is logged in from"),
    ):
        for text in texts:
            prefix = _address(text)
            if prefix is not None:
                found.setdefault(prefix, what)
    return found


def resolvers(path: Path = RESOLV_CONF) -> list[str]:
    """The ``nameserver`` lines of resolv.conf(5)."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]


def logged_in(environ: Mapping[str, str]) -> list[str]:
    """Where sessions come from: those of utmp(5), and the ssh session that we were started from.

    A mere connection to the ssh port is not enough: anybody can make one.
    """
    hosts = [user.host for user in psutil.users() if user.host]
    hosts += environ.get("SSH_CONNECTION", "").split()[:1]
    return hosts


def _address(text: str) -> Prefix | None:
    try:
        prefix = Prefix.parse(text.partition("%")[0])
    except AddressError:
        return None  # a host name, or a display: not ours to resolve
    if "/" in text or any(loop.contains(prefix) for loop in _LOOPBACK):
        return None
    return prefix
