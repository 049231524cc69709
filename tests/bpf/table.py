# SPDX-License-Identifier: Apache-2.0
"""Tables of packets: a row says what a packet is, and what must become of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from tests.bpf.scene import DROP, PASS
from xdpwall.reasons import Reason


class Row(NamedTuple):
    """One packet and its fate."""

    name: str
    packet: bytes
    verdict: int
    reason: Reason


def passes(name: str, packet: bytes, reason: Reason = Reason.PASS) -> Row:
    """A packet that must pass."""
    return Row(name, packet, PASS, reason)


def drops(name: str, packet: bytes, reason: Reason) -> Row:
    """A packet that must be dropped."""
    return Row(name, packet, DROP, reason)


def rows(table: Iterable[Row]) -> pytest.MarkDecorator:
    """Parametrise a test over a table; a name must be unique."""
    listed = list(table)
    names = [row.name for row in listed]
    assert len(set(names)) == len(names), "a name stands twice"
    return pytest.mark.parametrize("row", listed, ids=names)


def about(packets: int, size: int) -> Any:
    """The bytes that a ban has counted of packets with ``size`` bytes in all: each is rounded to the nearest 16."""
    return pytest.approx(size, abs=8 * packets)
