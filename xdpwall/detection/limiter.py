# SPDX-License-Identifier: Apache-2.0
"""Token buckets over rates: who went over a limit, told once."""

from __future__ import annotations

from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import Keys, SkipKeys
from xdpwall.detection.limits import Limits
from xdpwall.detection.rates import Rates


class Limiter:
    """The limits of one scope.

    Args:
        scope: what the keys of the rates are.
        limits: per second; may be replaced by :meth:`set_limits`.
        calm_share: a key that is over calms down below this share of every limit ...
        hold_s: ... for this many seconds on end. Only then it can be reported again.
        max_keys: how many keys are remembered at most. When more are over their rate, those with the fullest buckets
            stay.
    """

    def __init__(
        self,
        scope: Scope,
        limits: Limits,
        *,
        calm_share: float = 0.5,
        hold_s: float = 10.0,
        max_keys: int = 65_536,
    ) -> None:
        raise NotImplementedError

    def observe(self, rates: Rates, skip_keys: SkipKeys = None) -> list[Finding]:
        """Take in one tick.

        Args:
            rates: of this scope's meters.
            skip_keys: banned and allowlisted keys: never reported, and forgotten, so that one that is let go again
                starts afresh.

        Returns:
            Those that went over in this tick, the worst first. A key that is over is not told again until it was calm.
        """
        raise NotImplementedError

    def release(self, keys: Keys) -> None:
        """Forget these: for one whose ban could not be written, so that it is found again if it goes on."""
        raise NotImplementedError

    def set_limits(self, limits: Limits) -> None:
        """Put other limits in force from the next tick on. Who is over stays over."""
        raise NotImplementedError

    @property
    def over(self) -> Keys:
        """Keys that are over now: found, and neither calm nor skipped since."""
        raise NotImplementedError

    @property
    def tracked(self) -> int:
        """How many keys are remembered."""
        raise NotImplementedError
