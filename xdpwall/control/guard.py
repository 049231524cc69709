# SPDX-License-Identifier: Apache-2.0
"""What must not be banned: the allowlist, protected addresses, and prefixes so short that a slip cuts off the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xdpwall.control.database import AllowEntry
from xdpwall.control.prefixmap import PrefixMap
from xdpwall.errors import ProtectedError, RefusedError
from xdpwall.model import Prefix


class Guard:
    """The allowlist and the protected addresses.

    Allowlisted packets pass in the kernel before any ban is looked up. Protected ones (own addresses, gateways,
    resolvers, peers of live admin sessions) do not: they are merely never banned.

    Args:
        min_prefix_v4: IPv4 prefixes shorter than this are refused.
        min_prefix_v6: the same for IPv6.
    """

    def __init__(self, min_prefix_v4: int = 8, min_prefix_v6: int = 16) -> None:
        self.min_prefix_v4 = min_prefix_v4
        self.min_prefix_v6 = min_prefix_v6
        self.allow: PrefixMap[AllowEntry] = PrefixMap()
        self._protected: PrefixMap[str] = PrefixMap()

    def check(self, prefix: Prefix) -> None:
        """Whether this prefix may be banned.

        Raises:
            ProtectedError: it shares an address with an allowlist entry or a protected address; says which.
            RefusedError: it is too short.
        """
        least = self.min_prefix_v4 if prefix.version == 4 else self.min_prefix_v6
        if prefix.length < least:
            raise RefusedError(
                f"{prefix} is too wide to ban: IPv{prefix.version} prefixes from /{least} on are taken",
                hint=f"bans.min_prefix_v{prefix.version} in the configuration sets the limit",
            )
        entry = self._meets_allowed(prefix)
        if entry is not None:
            raise ProtectedError(
                f"{prefix} is not banned: {_relation(prefix, entry.prefix)} {entry.prefix}, which is allowlisted "
                + ("in the configuration" if entry.origin == "config" else "by an operator"),
                hint="take it out of [allow] in the configuration first"
                if entry.origin == "config"
                else f"lift it first: xdpwall allow del {entry.prefix}",
            )
        for found, why in (*self._protected.covering(prefix), *self._protected.inside(prefix)):
            raise ProtectedError(
                f"{prefix} is not banned: {_relation(prefix, found)} {found}, {why}",
                hint="ban the narrower prefixes around it"
                if prefix != found and prefix.contains(found)
                else "this host would cut itself or its operators off",
            )

    def allowed_by(self, prefix: Prefix) -> AllowEntry | None:
        """The widest entry of the allowlist that covers the whole of ``prefix``."""
        entries = [entry for _, entry in self.allow.covering(prefix)]
        return entries[-1] if entries else None

    def protect(self, addresses: Mapping[Prefix, str]) -> bool:
        """Replace all protected addresses: each with what it is, for people. Gives whether anything changed."""
        if dict(self._protected.items()) == dict(addresses):
            return False
        self._protected.clear()
        for prefix, why in addresses.items():
            self._protected.put(prefix, why)
        return True

    @property
    def protected(self) -> dict[Prefix, str]:
        """The protected addresses, each with what it is."""
        return dict(self._protected.items())

    def spared(self) -> Iterable[Prefix]:
        """Everything that must not be banned: allowlist and protected addresses."""
        yield from (prefix for prefix, _ in self.allow.items())
        yield from (prefix for prefix, _ in self._protected.items())

    def _meets_allowed(self, prefix: Prefix) -> AllowEntry | None:
        for _, entry in self.allow.covering(prefix):
            return entry
        for _, entry in self.allow.inside(prefix):
            return entry
        return None


def _relation(prefix: Prefix, other: Prefix) -> str:
    if prefix == other:
        return "it is"
    return "it covers" if prefix.contains(other) else "it lies in"
