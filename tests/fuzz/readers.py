# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes for what reads bytes."""

from __future__ import annotations


def run(dice: int, seconds: float) -> int:
    """Number of findings."""
    del dice, seconds
    return 0
