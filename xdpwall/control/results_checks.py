# SPDX-License-Identifier: Apache-2.0
"""The shape of what ``status`` says of the checks."""

from __future__ import annotations

from typing import TypedDict


class TroubleResult(TypedDict):
    """One thing that is wrong, since when (Unix time), and of which check."""

    check: str
    text: str
    since_ms: int


class ChecksResult(TypedDict):
    """What the controller checks. ``repairs``: how often something was put right since it started, by check."""

    passed: list[str]
    failed: list[str]
    troubles: list[TroubleResult]
    repairs: dict[str, int]
