# SPDX-License-Identifier: Apache-2.0
"""The table of interfaces: a slot stays with its name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from xdpwall.dataplane.layout import INTERFACES
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.table import InterfaceEntry, InterfaceTable
from xdpwall.errors import RefusedError


@pytest.fixture
def table() -> InterfaceTable:
    return InterfaceTable(cast(MappedArray, SimpleNamespace(memory=bytearray(INTERFACES * 32))))


def test_empty(table: InterfaceTable) -> None:
    assert table.entries() == []
    assert table.find("eth0") is None
    assert table.slot_for("eth0") == 0


def test_a_slot_stays_with_its_name(table: InterfaceTable) -> None:
    for name in ("eth0", "eth1", "eth2"):
        table.set(table.slot_for(name), name, wanted=True, mode="native")
    table.set(table.slot_for("eth1"), "eth1", wanted=False, mode=None)
    assert table.slot_for("eth1") == 1
    assert table.slot_for("eth3") == 3
    assert table.entries() == [
        InterfaceEntry(0, "eth0", True, "native"),
        InterfaceEntry(1, "eth1", False, None),
        InterfaceEntry(2, "eth2", True, "native"),
    ]
    table.set(1, "eth1", wanted=True, mode="generic")
    assert table.find("eth1") == InterfaceEntry(1, "eth1", True, "generic")


def test_the_longest_name(table: InterfaceTable) -> None:
    """IFNAMSIZ less one is 15."""
    table.set(0, "a" * 15, wanted=True, mode="native")
    assert table.find("a" * 15) is not None


def test_full(table: InterfaceTable) -> None:
    for number in range(INTERFACES):
        table.set(table.slot_for(f"eth{number}"), f"eth{number}", wanted=True, mode="native")
    assert table.slot_for("eth3") == 3
    with pytest.raises(RefusedError, match="at most 16") as caught:
        table.slot_for("eth99")
    assert caught.value.hint
