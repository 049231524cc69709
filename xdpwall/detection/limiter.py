# SPDX-License-Identifier: Apache-2.0
"""Token buckets over rates: who went over a limit, told once."""

from __future__ import annotations

import numpy as np

from xdpwall.detection.finding import Finding, Scope
from xdpwall.detection.keys import Keys, Mask, SkipKeys, no_keys, prefix_of, skip_mask, source_of
from xdpwall.detection.limits import KINDS, Kind, Limits
from xdpwall.detection.rates import Amounts, Rates

_LEAST_S = 0.1
"""What a key that began a moment ago sent is told as if it took this long at least, or a rate would say nothing."""
_ONE_PACKET = np.array([[8 * 9_018 if kind is Kind.BPS else 1] for kind in KINDS], np.float64)
"""No bucket is smaller than this: one packet, for bits a jumbo frame."""


class Limiter:
    """The limits of one scope.

    Each key has a bucket for each kind. What it sends fills the bucket, the limit drains it, and a bucket that runs
    over trips: the token bucket upside down. In one tick of ``t`` seconds a bucket of limit ``L`` goes from ``u`` to
    ``max(0, u + sent - L * t)``, and trips above ``L * burst_s``. For a key that began within the tick, ``s`` seconds
    ago, it is at least ``sent - L * s``: its bucket was empty when it began. So a steady sender at six times the limit
    trips after a fifth of the burst time, one below the limit never does, and a page load of a burst's worth at once
    does not either. Against counting packet by packet this is at most one tick's worth (``L * t``) late, never early.

    A bucket that is empty needs no memory: only keys above a limit, or still draining, are kept.

    Args:
        scope: what the keys of the rates are.
        limits: per second; may be replaced by :meth:`set_limits`.
        calm_share: a key that is over calms down below this share of every limit ...
        hold_s: ... for this many seconds on end. Only then it can be reported again.
        max_keys: how many keys are remembered at most. When more are above their limits, those that are over stay,
            then those with the fullest buckets. A key that is dropped starts with an empty bucket.
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
        self._prefix_of = source_of if scope is Scope.SOURCE else prefix_of
        self._scope = scope
        self._calm_share = calm_share
        self._hold_ns = round(hold_s * 1e9)
        self._max_keys = max_keys
        self._keys = no_keys()
        self._fill: Amounts = np.empty((len(KINDS), 0))
        self._over: Mask = np.empty(0, np.bool_)
        self._calm_ns = np.empty(0, np.int64)
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Put other limits in force from the next tick on. Who is over stays over."""
        per_kind = np.array(limits.per_kind(), np.float64)
        self._active = [kind for kind, limit in zip(KINDS, per_kind, strict=True) if limit]
        per_kind[per_kind == 0] = np.inf
        self._limits = per_kind[:, None]
        self._depth = np.maximum(self._limits * limits.burst_s, _ONE_PACKET)
        self._least_s = min(_LEAST_S, limits.burst_s)

    def observe(self, rates: Rates, skip_keys: SkipKeys = None) -> list[Finding]:
        """Take in one tick.

        Args:
            rates: of this scope's meters.
            skip_keys: banned and allowlisted keys: never reported, and forgotten, so that one that is let go again
                starts afresh.

        Returns:
            Those that went over in this tick, the worst first. A key that is over is not told again until it was calm.
        """
        if rates.dt_ns <= 0:
            return []
        above = [rates.keys_above(kind, self._limits[KINDS.index(kind), 0]) for kind in self._active]
        keys = np.unique(np.concatenate([self._keys, *above]))
        if not len(keys):
            return []
        self._spread(keys)
        drained = self._limits * (rates.dt_ns / 1e9)
        sent = rates.of(keys, KINDS)
        self._fill += sent - drained
        np.maximum(self._fill, sent - self._limits * rates.seconds_of(keys), out=self._fill)
        np.maximum(self._fill, 0, out=self._fill)
        sent = self._keep(self._over | self._fill.any(axis=0), sent)
        sent = self._keep(~skip_mask(skip_keys, self._keys), sent)
        findings = self._trip(rates, sent)
        self._calm(rates.dt_ns, sent, drained)
        self._shed()
        return findings

    def release(self, keys: Keys) -> None:
        """Forget these: for one whose ban could not be written, so that it is found again if it goes on."""
        self._keep(~np.isin(self._keys, keys))

    @property
    def over(self) -> Keys:
        """Keys that are over now: found, and neither calm nor skipped since."""
        return self._keys[self._over]

    @property
    def tracked(self) -> int:
        """How many keys are remembered."""
        return len(self._keys)

    def _trip(self, rates: Rates, sent: Amounts) -> list[Finding]:
        """Mark and report what runs over. A bucket that only drains (limits were lowered) does not."""
        tripped = self._fill > self._depth
        np.minimum(self._fill, self._depth, out=self._fill)
        fresh = np.flatnonzero(tripped.any(axis=0) & ~self._over)
        if not len(fresh):
            return []
        seconds = np.maximum(rates.seconds_of(self._keys[fresh]), min(rates.dt_ns / 1e9, self._least_s))
        per_second = sent[:, fresh] / seconds
        factors = np.where(tripped[:, fresh], per_second / self._limits, 0)
        worst, worst_factor = factors.argmax(axis=0), factors.max(axis=0)
        real = np.flatnonzero(worst_factor > 1)
        order = real[np.argsort(-worst_factor[real], kind="stable")]
        fresh, worst, per_second = fresh[order], worst[order], per_second[:, order]
        self._over[fresh] = True
        measured = np.rint(per_second[worst, np.arange(len(worst))])
        limits = self._limits[worst, 0]
        columns = (self._keys[fresh], worst, measured, limits)
        return [
            Finding(
                scope=self._scope,
                prefix=self._prefix_of(key),
                key=key,
                kind=KINDS[kind],
                rate=int(rate),
                limit=int(limit),
                mono_ns=rates.mono_ns,
            )
            for key, kind, rate, limit in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _calm(self, dt_ns: int, sent: Amounts, drained: Amounts) -> None:
        """Let go of those that were quiet for long enough."""
        calm = (sent < drained * self._calm_share).all(axis=0)
        self._calm_ns += dt_ns
        self._calm_ns[~calm | ~self._over] = 0
        self._keep(self._calm_ns < self._hold_ns)

    def _spread(self, keys: Keys) -> None:
        """Make room for these keys, which hold all those remembered."""
        places = keys.searchsorted(self._keys)
        fill = np.zeros((len(KINDS), len(keys)))
        fill[:, places] = self._fill
        over = np.zeros(len(keys), np.bool_)
        over[places] = self._over
        calm_ns = np.zeros(len(keys), np.int64)
        calm_ns[places] = self._calm_ns
        self._keys, self._fill, self._over, self._calm_ns = keys, fill, over, calm_ns

    def _keep(self, mask: Mask, sent: Amounts | None = None) -> Amounts:
        """Forget all others. Gives what is left of ``sent``."""
        if not mask.all():
            places = np.flatnonzero(mask)
            self._keys, self._fill = self._keys[places], self._fill[:, places]
            self._over, self._calm_ns = self._over[places], self._calm_ns[places]
            sent = None if sent is None else sent[:, places]
        return np.empty((len(KINDS), 0)) if sent is None else sent

    def _shed(self) -> None:
        """Keep within the bound."""
        surplus = len(self._keys) - self._max_keys
        if surplus > 0:
            worth = (self._fill / self._depth).max(axis=0) + self._over
            mask = np.ones(len(self._keys), np.bool_)
            mask[np.argpartition(worth, surplus - 1)[:surplus]] = False
            self._keep(mask)
