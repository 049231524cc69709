# SPDX-License-Identifier: Apache-2.0
"""From the figures of single rounds to those of the table. Pure.

A machine's pace drifts, by threefold where a neighbour is busy. Within a round all rows ran within seconds of each
other, so ratios are taken round by round, and the median is that of the ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and least of the rounds."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """From one value a round; at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, min(values))

    @property
    def relative(self) -> float:
        """Distance between the quartiles as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round."""
    return [value / other for value, other in zip(values, base, strict=True)]


def differences(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round."""
    return [value - other for value, other in zip(values, base, strict=True)]


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each begins one further on, and every other one goes backwards."""
    at = number % len(names)
    order = [*names[at:], *names[:at]]
    return order[::-1] if number % 2 else order
