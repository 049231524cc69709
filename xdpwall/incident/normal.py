# SPDX-License-Identifier: Apache-2.0
"""What is normal here: averages of quiet seconds. So "unusual" means something on busy and on still hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEARNED_SECONDS = 60.0
"""Below this much quiet time nothing is called unusual: nobody knows yet."""


class Normal:
    """Exponential averages by name.

    In the beginning it is the plain average of what was seen; once that is as long as ``learn_ms``, older seconds
    fade with that time constant.

    Args:
        learn_ms: the time constant, milliseconds.
    """

    def __init__(self, learn_ms: int) -> None:
        self.learn_ms = learn_ms
        self._means: dict[str, float] = {}
        self._seconds = 0.0

    @property
    def learned(self) -> bool:
        """Whether enough quiet time was seen."""
        return self._seconds >= LEARNED_SECONDS

    def take(self, rates: Mapping[str, float], seconds: float) -> None:
        """Learn from a quiet span. A name that is missing counted nothing.

        Args:
            rates: per second.
            seconds: how long they held.
        """
        self._seconds = min(self._seconds + seconds, 10 * self.learn_ms / 1000)
        weight = min(1.0, seconds / min(self._seconds, max(seconds, self.learn_ms / 1000)))
        for name in self._means.keys() | rates.keys():
            mean = self._means.get(name, 0.0)
            self._means[name] = mean + weight * (rates.get(name, 0.0) - mean)

    def mean(self, name: str) -> float:
        """Its average, 0 while nothing is known."""
        return self._means.get(name, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the database."""
        return {"seconds": round(self._seconds, 1), "means": {k: round(v, 2) for k, v in self._means.items()}}

    def recall(self, data: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_json` gave before a restart."""
        self._seconds = float(data["seconds"])
        self._means = {str(name): float(mean) for name, mean in data["means"].items()}
