# SPDX-License-Identifier: Apache-2.0
"""The shape of what is told of protected addresses, as in ``control.results``."""

from __future__ import annotations

from typing import TypedDict


class ProtectedResult(TypedDict):
    """One protected address: never banned, and passed beyond a lane's budget (not ``own``), but not allowlisted.

    ``kind``: ``own``, ``gateway``, ``router``, ``admin``, ``resolver``, ``ntp`` or ``dhcp``. ``source``: where it
    was found.
    ``until_ms``: when it ends, once nobody is logged in from there any more; else null.
    """

    prefix: str
    kind: str
    reason: str
    source: str
    since_ms: int
    until_ms: int | None
