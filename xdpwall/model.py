# SPDX-License-Identifier: Apache-2.0
"""The nouns that all parts share: prefix, ban, durations. No I/O and no clock in here."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from xdpwall.errors import AddressError

_V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """An IPv4 or IPv6 prefix in canonical form.

    Args:
        packed: the network address in network byte order, 4 or 16 bytes, host bits zero.
        length: prefix length in bits, 0 to 32 or 0 to 128.
    """

    packed: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Read ``192.0.2.0/24``, ``2001:db8::/32`` or a single address (then the whole of it: /32 or /128).

        IPv4-mapped IPv6 (``::ffff:192.0.2.1``) is read as the IPv4 address it stands for.

        Raises:
            AddressError: not an address, a bad length, or host bits that are set.
        """
        address, slash, tail = text.strip().partition("/")
        packed = _pack(address, text)
        limit = len(packed) * 8
        length = limit
        if slash:
            if not tail.isascii() or not tail.isdigit() or len(tail) > 3 or int(tail) > limit:
                raise AddressError(
                    f"{text!r}: the prefix length must be a whole number from 0 to {limit}",
                    hint="write it like 192.0.2.0/24 or 2001:db8::/32",
                )
            length = int(tail)
        if len(packed) == 16 and packed.startswith(_V4_MAPPED) and length >= 96:
            packed, length = packed[12:], length - 96
        prefix = cls.covering(packed, length)
        if prefix.packed != packed:
            raise AddressError(
                f"{text!r}: bits are set beyond the prefix length", hint=f"did you mean {prefix}?"
            )
        return prefix

    @classmethod
    def parse_source(cls, text: str) -> Prefix:
        """Like :meth:`parse`, but a lone IPv6 address means its /64: a host owns its /64, and bans follow sources.

        Raises:
            AddressError: as in :meth:`parse`.
        """
        prefix = cls.parse(text)
        if "/" not in text and len(prefix.packed) == 16:
            return cls.covering(prefix.packed, 64)
        return prefix

    @classmethod
    def covering(cls, packed: bytes, length: int) -> Prefix:
        """The prefix of this length that holds the address ``packed`` (4 or 16 bytes, network order)."""
        bits = len(packed) * 8
        number = int.from_bytes(packed, "big") >> (bits - length) << (bits - length)
        return cls(number.to_bytes(len(packed), "big"), length)

    @property
    def version(self) -> Literal[4, 6]:
        """IP version."""
        return 4 if len(self.packed) == 4 else 6

    @property
    def is_source(self) -> bool:
        """Whether this is exactly one source as the meters see it: an IPv4 /32 or an IPv6 /64."""
        return self.length == (32 if len(self.packed) == 4 else 64)

    @property
    def address(self) -> str:
        """The network address as text."""
        return socket.inet_ntop(socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6, self.packed)

    def contains(self, other: Prefix) -> bool:
        """Whether every address of ``other`` lies in this prefix."""
        if len(other.packed) != len(self.packed) or other.length < self.length:
            return False
        return Prefix.covering(other.packed, self.length).packed == self.packed

    def overlaps(self, other: Prefix) -> bool:
        """Whether the two share an address."""
        return self.contains(other) or other.contains(self)

    def without(self, hole: Prefix) -> list[Prefix]:
        """What of this prefix lies outside ``hole``: as few prefixes as possible, the widest first.

        All of it where the two share nothing, nothing where ``hole`` covers it.
        """
        if not self.overlaps(hole):
            return [self]
        bits = len(self.packed) * 8
        number = int.from_bytes(hole.packed, "big")
        return [
            Prefix.covering((number ^ 1 << (bits - length)).to_bytes(len(self.packed), "big"), length)
            for length in range(self.length + 1, hole.length + 1)
        ]

    def supernets(self) -> Iterator[Prefix]:
        """Every shorter prefix that holds this one, longest first."""
        for length in range(self.length - 1, -1, -1):
            yield Prefix.covering(self.packed, length)

    def __str__(self) -> str:
        if self.length == len(self.packed) * 8:
            return self.address
        return f"{self.address}/{self.length}"


def _pack(address: str, text: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_pton(family, address)
    except (OSError, ValueError, UnicodeEncodeError):
        raise AddressError(
            f"{text!r} is not an IP address or prefix",
            hint="write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32; host names are not taken",
        ) from None


class Origin(StrEnum):
    """Who asked for a ban."""

    AUTO = "auto"
    OPERATOR = "operator"
    FEED = "feed"
    KERNEL = "kernel"
    """Found in the kernel with no record of ours, and taken over."""


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban.

    Args:
        prefix: what is banned.
        created_ms: when, Unix milliseconds.
        expires_ms: until when, Unix milliseconds; None is for ever.
        reason: for people, for example ``"syn 812/s over 100/s"``.
        origin: who asked for it.
        strikes: how many times this prefix was banned before its record was forgotten, this time included.
    """

    prefix: Prefix
    created_ms: int
    expires_ms: int | None
    reason: str = ""
    origin: Origin = Origin.OPERATOR
    strikes: int = 1

    def remaining_ms(self, now_ms: int) -> int | None:
        """Milliseconds left, at least 0; None for ever."""
        return None if self.expires_ms is None else max(0, self.expires_ms - now_ms)

    def is_over(self, now_ms: int) -> bool:
        """Whether its time is up."""
        return self.expires_ms is not None and self.expires_ms <= now_ms


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
_UNITS_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_LONGEST_MS = 10 * 365 * 86_400_000
_LONGEST_TEXT = 100


def parse_duration_ms(text: str) -> int | None:
    """Read ``90s``, ``10m``, ``1h30m``, ``7d``, ``250ms`` into milliseconds; ``perm`` gives None.

    Raises:
        AddressError: another form, zero, or more than ten years.
    """
    cleaned = text.strip().lower()
    if cleaned == "perm":
        return None
    # Python itself refuses numbers of more than 4,300 digits, as a bug in whoever reads them.
    match = _DURATION.fullmatch(cleaned) if len(cleaned) <= _LONGEST_TEXT else None
    total = 0
    if match:
        total = sum(int(part) * unit for part, unit in zip(match.groups(), _UNITS_MS, strict=True) if part)
    if not total or total > _LONGEST_MS:
        raise AddressError(
            f"{text!r} is not a usable duration",
            hint="write it like 90s, 10m, 1h30m or 7d (ten years at most), or 'perm'",
        )
    return total


def format_duration_ms(milliseconds: int | None) -> str:
    """The inverse of :func:`parse_duration_ms`; the two largest units that matter, for example ``1h30m``."""
    if milliseconds is None:
        return "perm"
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    parts: list[str] = []
    rest = milliseconds
    for unit, name in zip(_UNITS_MS[:4], "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts[:2])
