# SPDX-License-Identifier: Apache-2.0
"""A set of prefixes of any length that answers for thousands of sources at once."""

from __future__ import annotations

from collections.abc import Iterable

from xdpwall.detection.keys import Keys, Mask
from xdpwall.model import Prefix


class PrefixSet:
    """Prefixes of both families: all bans that stand, or all that must never be banned."""

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        raise NotImplementedError

    def add(self, prefixes: Iterable[Prefix]) -> None:
        """Put these in."""
        raise NotImplementedError

    def remove(self, prefixes: Iterable[Prefix]) -> None:
        """Take these out; those that are not in are no error."""
        raise NotImplementedError

    def covers(self, prefix: Prefix) -> bool:
        """Whether a member holds all of this prefix."""
        raise NotImplementedError

    def overlaps(self, prefix: Prefix) -> bool:
        """Whether a member shares an address with this prefix."""
        raise NotImplementedError

    def covers_sources(self, keys: Keys) -> Mask:
        """Which of these sources lie in a member. A member longer than /64 counts for its whole /64."""
        raise NotImplementedError

    def covers_prefixes(self, keys: Keys) -> Mask:
        """Which of these /24 and /48 (keys of prefix meters) lie wholly in a member."""
        raise NotImplementedError

    def __contains__(self, prefix: object) -> bool:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError
