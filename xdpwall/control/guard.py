# SPDX-License-Identifier: Apache-2.0
"""What must not be banned: the allowlist, protected addresses, and prefixes so short that a slip cuts off the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xdpwall.control.database import AllowEntry
from xdpwall.control.prefixmap import PrefixMap
from xdpwall.control.protection import Kind, Protected
from xdpwall.errors import ProtectedError, RefusedError
from xdpwall.model import Prefix


class Guard:
    """The allowlist and the protected addresses.

    Allowlisted packets pass in the kernel before any ban is looked up. Protected ones (own addresses, gateways,
    resolvers, peers of live admin sessions) do not: they are merely never banned (``control.protector``).

    Args:
        min_prefix_v4: IPv4 prefixes shorter than this are refused.
        min_prefix_v6: the same for IPv6.
    """

    def __init__(self, min_prefix_v4: int = 8, min_prefix_v6: int = 16) -> None:
        self.min_prefix_v4 = min_prefix_v4
        self.min_prefix_v6 = min_prefix_v6
        self.allow: PrefixMap[AllowEntry] = PrefixMap()
        self._protected: PrefixMap[Protected] = PrefixMap()

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
        for found, who in (*self._protected.covering(prefix), *self._protected.inside(prefix)):
            raise ProtectedError(
                f"{prefix} is not banned: {_relation(prefix, found)} {found}: {who.why}",
                hint=_way_out(prefix, who),
            )

    def allowed_by(self, prefix: Prefix) -> AllowEntry | None:
        """The widest entry of the allowlist that covers the whole of ``prefix``."""
        entries = [entry for _, entry in self.allow.covering(prefix)]
        return entries[-1] if entries else None

    def protect(self, addresses: Mapping[Prefix, Protected]) -> bool:
        """Replace all protected addresses. Gives whether others are protected now."""
        before = dict(self._protected.items())
        if before == dict(addresses):
            return False
        self._protected.clear()
        for prefix, entry in addresses.items():
            self._protected.put(prefix, entry)
        return before.keys() != addresses.keys()

    @property
    def protected(self) -> dict[Prefix, Protected]:
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


def _way_out(prefix: Prefix, entry: Protected) -> str:
    if prefix != entry.prefix and prefix.length < len(prefix.packed) * 8 and prefix.contains(entry.prefix):
        return "ban the narrower prefixes around it"
    if entry.kind is Kind.ADMIN:
        return (
            "if that is an intruder: end the session, name the address in protect.never, reload, then ban it"
        )
    return "this host would cut itself or its operators off"


def _relation(prefix: Prefix, other: Prefix) -> str:
    if prefix == other:
        return "it is"
    return "it covers" if prefix.contains(other) else "it lies in"
